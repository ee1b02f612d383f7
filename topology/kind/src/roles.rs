//! Roles: what nodes are to each other beside the edges, found by node name.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use imflow_proto::log::{Cursors, Fact};
use imflow_proto::record::{Committed, CommittedFact, Lsn, Moved};
use imflow_proto::{Record, wire};

use crate::{Bookmark, Logged};

/// The name of a role, for checks and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// Connections that can be pushed to: [`Outboxes`].
    Outboxes,
    /// Reads of what is durable: [`Store`].
    Store,
    /// Recovery: [`Journal`].
    Journal,
    /// Reads of what has left the log: [`Archive`](crate::Archive).
    Archive,
    /// The newest messages of conversations: [`Latest`](crate::Latest).
    Latest,
    /// Finding messages by their words: [`crate::Search`].
    Search,
    /// Where users are: [`Routes`](crate::Routes).
    Routes,
}

/// Offers and finds roles by node name.
#[derive(Clone, Default)]
pub struct Roles(Arc<Mutex<HashMap<String, Vec<Offered>>>>);

type Offered = Box<dyn Any + Send + Sync>;

impl Roles {
    /// Offers `role` (an `Arc<dyn Role>`, or a concrete shared type) under a node's name.
    pub fn offer<R: Any + Send + Sync>(&self, node: &str, role: R) {
        let mut roles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roles.entry(node.to_owned()).or_default().push(Box::new(role));
    }

    /// Finds what was offered under a node's name as this type.
    pub fn find<R: Any + Clone>(&self, node: &str) -> Option<R> {
        let roles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roles.get(node)?.iter().find_map(|role| role.downcast_ref::<R>()).cloned()
    }
}

/// What the process runs, for those that show it: an outline of the topology as JSON, without secrets.
/// Offered under [`Topology::NAME`].
#[derive(Clone, Debug)]
pub struct Topology(pub Arc<str>);

impl Topology {
    /// No node of a file has such a name.
    pub const NAME: &'static str = ".topology";
}

/// The connections of a gateway. Offered as `Arc<dyn Outboxes>`.
pub trait Outboxes: Send + Sync {
    /// Answers and pushes, in order. Must not block; bounded by the credit of the commands behind it.
    fn deliver(&self, records: Vec<Record>);
}

/// A page of messages is closed at so many bytes, so that it fits a frame.
pub const PAGE_BYTES: usize = 512 << 10;

/// Reads of what is durable. Blocking: call it on a bounded pool. Offered as `Arc<dyn Store>`.
///
/// Reads are read-your-writes: what was committed before the call is seen.
pub trait Store: Send + Sync {
    /// Messages with seq in `(after_seq, after_seq + limit]`, and whether more follow. Each as later entries have
    /// made it: what was revoked has no content, neither there nor in the edits of it.
    ///
    /// # Errors
    /// When the disk fails, or a record's checksum does not match.
    fn messages(
        &self,
        conversation_id: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, StoreError>;

    /// The last `limit` messages with seq in `(after_seq, before_seq)`, and whether earlier ones of these are
    /// left out.
    ///
    /// # Errors
    /// As [`Store::messages`].
    fn last_messages(
        &self,
        conversation_id: &str,
        after_seq: u64,
        before_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, StoreError>;

    /// The last seq that was created before a time (milliseconds since the Unix epoch); 0 when there is none.
    ///
    /// # Errors
    /// As [`Store::messages`].
    fn seq_before(&self, conversation_id: &str, time_ms: i64) -> Result<u64, StoreError>;

    /// The cursors of a user in a conversation; what the user wrote counts as read.
    ///
    /// # Errors
    /// When the disk fails.
    fn cursors_of(&self, conversation_id: &str, user_id: &str) -> Result<Cursors, StoreError>;

    /// How far the members of a conversation have come, by user id, after `after` (exclusive), at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    fn cursors(
        &self,
        conversation_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<wire::CursorList, StoreError>;

    /// A conversation as `user_id` sees it; `None` when it does not exist.
    ///
    /// # Errors
    /// When the disk fails.
    fn conversation(
        &self,
        conversation_id: &str,
        user_id: &str,
    ) -> Result<Option<View>, StoreError>;

    /// The conversations of a user, by id, after `after` (exclusive), at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    fn conversations_of(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<wire::ConversationList, StoreError>;

    /// The ids of the conversations that a user reads, and the seq after which it reads each: at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    fn readable(&self, user_id: &str, limit: usize) -> Result<Vec<(String, u64)>, StoreError> {
        let (mut readable, mut after) = (Vec::new(), String::new());
        loop {
            let wanted = limit.saturating_sub(readable.len()).min(1_000);
            let page = self.conversations_of(user_id, &after, wanted)?;
            for info in page.items {
                let view = self.conversation(&info.conversation_id, user_id)?;
                after.clone_from(&info.conversation_id);
                readable.extend(view.map(|view| (info.conversation_id, view.reads_after())));
            }
            if !page.more || readable.len() >= limit {
                return Ok(readable);
            }
        }
    }

    /// The members of a conversation, by user id.
    ///
    /// # Errors
    /// When the disk fails.
    fn members(&self, conversation_id: &str) -> Result<Vec<wire::MemberInfo>, StoreError>;

    /// The last seq of a conversation whose message the store no longer keeps; 0 when it keeps all.
    ///
    /// # Errors
    /// When the disk fails.
    fn removed_up_to(&self, _conversation_id: &str) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// The latest time of a message that the store no longer keeps; `None`: it keeps all.
    ///
    /// # Errors
    /// When the disk fails.
    fn removed_until(&self) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    /// Messages that the store no longer keeps as an erasure has left them: with nothing that was said before it.
    ///
    /// # Errors
    /// When the disk fails.
    fn unerased(&self, messages: Vec<wire::Message>) -> Result<Vec<wire::Message>, StoreError> {
        Ok(messages)
    }

    /// The conversations that a user has ever written to and of which the store no longer keeps all, by id, after
    /// `after` (exclusive), at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    fn wrote_before(
        &self,
        _user_id: &str,
        _after: &str,
        _limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Makes of messages that the store no longer keeps what later entries have made of them: those that it
    /// has, and `others`, which it may have or not.
    ///
    /// # Errors
    /// As [`Store::messages`].
    fn amended(
        &self,
        _conversation_id: &str,
        messages: Vec<wire::Message>,
        _others: &[wire::Message],
    ) -> Result<Vec<wire::Message>, StoreError> {
        Ok(messages)
    }

    /// The level of a user; empty: none.
    ///
    /// # Errors
    /// When the disk fails.
    fn level(&self, user_id: &str) -> Result<String, StoreError> {
        let _ = user_id;
        Ok(String::new())
    }

    /// The next part of all that is there about a user, from a bookmark on, which is moved.
    ///
    /// # Errors
    /// When the disk fails.
    fn export(&self, user_id: &str, from: &mut Bookmark) -> Result<Exported, StoreError> {
        let _ = (user_id, from);
        Ok(Exported::default())
    }

    /// How far the last erasure of a user's or a conversation's content came; `None`: nobody asked for one.
    ///
    /// # Errors
    /// When the disk fails.
    fn erasure(&self, of: Erased<'_>) -> Result<Option<Erasure>, StoreError> {
        let _ = of;
        Ok(None)
    }
}

/// A part of what there is about a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// JSON objects, one a line.
    pub lines: String,
    pub more: bool,
}

/// Whose content is erased.
#[derive(Clone, Copy, Debug)]
pub enum Erased<'a> {
    User(&'a str),
    Conversation(&'a str),
}

/// How far an erasure came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Milliseconds since the Unix epoch.
    pub asked_at: i64,
    pub finished: bool,
    /// Segments of the log that were not looked through yet.
    pub segments_left: u64,
}

/// A conversation as one user sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// `role` is unset for others than members, and for the banned.
    pub info: wire::ConversationInfo,
    pub banned: bool,
    /// The last seq before the user became a member; 0 for others than members.
    pub joined_after: u64,
}

impl View {
    /// The user reads the messages after this seq.
    pub fn reads_after(&self) -> u64 {
        if self.info.history_since_join { self.joined_after } else { 0 }
    }
}

/// A read that failed: what and where, for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The caller answers INTERNAL.
    #[error("{0}")]
    Failed(String),
    /// Another system did not answer: the same read may succeed later.
    #[error("{0}")]
    Away(String),
    /// It lies where this reader does not look; another does.
    #[error("it has left the log, and the archive is not looked into here")]
    Beyond,
}

/// What recoverable state is a fold of.
#[derive(Clone, Copy, Debug)]
pub enum Durable<'a> {
    Message(&'a Committed),
    Moved(&'a Moved),
}

impl<'a> Durable<'a> {
    /// Its position in the log.
    pub fn lsn(self) -> Lsn {
        match self {
            Self::Message(committed) => committed.lsn,
            Self::Moved(moved) => moved.lsn,
        }
    }

    /// The conversation that it belongs to.
    pub fn conversation_id(self) -> &'a str {
        match self {
            Self::Message(committed) => &committed.message.conversation_id,
            Self::Moved(moved) => &moved.moves.conversation_id,
        }
    }
}

/// What the runtime recovers from. Offered as `Arc<dyn Journal>`.
pub trait Journal: Send + Sync {
    /// Calls `visit` for every durable message and move of cursors after `after`, in log order.
    ///
    /// # Errors
    /// When a record before the log's end cannot be read.
    fn replay(&self, after: Lsn, visit: &mut dyn FnMut(Durable<'_>)) -> Result<(), StoreError>;

    /// Calls `visit` with facts that add up to all durable facts: one `created` for each conversation
    /// with its present members, then its mutes and bans.
    ///
    /// # Errors
    /// When they cannot be read.
    fn facts(&self, visit: &mut dyn FnMut(Fact)) -> Result<(), StoreError>;

    /// The newest snapshot of a partition, as given to [`Journal::save_snapshot`].
    ///
    /// # Errors
    /// When it cannot be read; a damaged one is ignored with a warning and costs a longer replay.
    fn load_snapshot(&self, partition: u32) -> Result<Option<(Lsn, Vec<u8>)>, StoreError>;

    /// Keeps a snapshot that is the fold of all records up to `lsn`. Must not block.
    fn save_snapshot(&self, partition: u32, lsn: Lsn, bytes: Vec<u8>);

    /// Reads the durable records behind a bookmark, in log order, at most `limit` and about 1 MiB, and moves
    /// the bookmark behind them. It may move without a record: not all that the log holds is for others.
    ///
    /// # Errors
    /// As [`Journal::replay`].
    fn read_on(&self, bookmark: &mut Bookmark, limit: usize) -> Result<Vec<Logged>, StoreError>;

    /// Calls `visit` for every durable fact up to `upto`, in log order.
    ///
    /// # Errors
    /// As [`Journal::replay`].
    fn replay_facts(
        &self,
        upto: Lsn,
        visit: &mut dyn FnMut(CommittedFact),
    ) -> Result<(), StoreError>;

    /// The last durable position.
    fn durable_lsn(&self) -> Lsn;

    /// A copy has all up to `upto`, and needs what follows: `keep` removes nothing behind it. Said again
    /// whenever it has moved.
    fn hold(&self, _copy: &str, _upto: Lsn) {}

    /// The data directory's gate, closed while the log cannot take more.
    fn gate(&self) -> crate::Gate;
}
