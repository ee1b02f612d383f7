//! What travels between the nodes of the dataflow, in memory and unserialised.
//!
//! A batch is a `Vec<Record>`; a record is a tag and a pointer, so that moving, cloning and routing
//! one costs the same whatever it carries.

use std::sync::Arc;

pub use crate::device::{SessionEvent, SessionKey};
use crate::keys::Keys;
use crate::log::{CursorsMoved, Fact};
pub use crate::row::{FieldType, Partial, Row, Scalar, Schema};
pub use crate::submission::{IdForm, Reference, Referent, Submission, Target, Verdict};
use crate::ticket::{Credit, Ticket};
use crate::wire::{self, envelope::Body};

/// A position in the log: the number of the record, from 1.
pub type Lsn = u64;

/// The type of the records of a port; the compiler matches ports by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    Submission,
    Ordered,
    Committed,
    Rejection,
    Reply,
    Command,
    Change,
    Fact,
    Grant,
    SessionEvent,
    Online,
    Subscription,
    Presence,
    Query,
    Lookup,
    Found,
    Reference,
    Referent,
    Delivery,
    Mark,
    Moves,
    Moved,
    Nudge,
    Typing,
    Absent,
    FanoutStats,
    FanoutCost,
    Row,
    Partial,
}

impl RecordType {
    /// Whether somebody may wait for a reply to what the record stands for: wherever it ends, somebody must
    /// answer it.
    pub fn owes_reply(self) -> bool {
        matches!(
            self,
            Self::Submission
                | Self::Ordered
                | Self::Rejection
                | Self::Reply
                | Self::Command
                | Self::Change
                | Self::Query
                | Self::Mark
                | Self::Subscription
                | Self::Lookup
                | Self::Reference
                | Self::Committed
        )
    }
}

/// One record on an edge.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message as a device sent it.
    Submission(Arc<Submission>),
    /// A message with its seq, not yet durable.
    Ordered(Arc<Entry>),
    /// A durable message.
    Committed(Arc<Entry>),
    /// A command that was refused, with the reason.
    Rejection(Arc<Rejection>),
    /// An answer to a command.
    Reply(Arc<Reply>),
    /// A wish to change a conversation's facts.
    Command(Arc<Command>),
    /// A fact that was decided, not yet durable.
    Change(Arc<Change>),
    /// A durable fact.
    Fact(Arc<CommittedFact>),
    /// A change of one user's standing in one conversation.
    Grant(Arc<GrantChange>),
    /// A session began or ended.
    SessionEvent(Arc<SessionEvent>),
    /// A user came online or went offline.
    Online(OnlineChange),
    /// A session follows the presence of users.
    Subscription(Arc<Subscription>),
    /// A presence notice and the sessions that are told.
    Presence(Arc<PresenceChange>),
    /// A read: history, sync, list of conversations.
    Query(Arc<Query>),
    /// A submission whose clientMsgId must be looked up in the index.
    Lookup(Arc<Submission>),
    /// The answer of the index to a `Lookup`.
    Found(Arc<Found>),
    /// A submission that refers to a message which must be looked up.
    Reference(Arc<Submission>),
    /// The message that a `Reference` refers to.
    Referent(Arc<Referent>),
    /// An event and the users whose sessions get it.
    Delivery(Arc<Delivery>),
    /// A device says how far it, or its user, has come.
    Mark(Arc<Mark>),
    /// Cursors of one conversation that have moved, not yet durable.
    Moves(Arc<CursorsMoved>),
    /// The same, durable.
    Moved(Arc<Moved>),
    /// A device is asked to pull what it has not confirmed.
    Nudge(Arc<Nudge>),
    /// Somebody writes something.
    Typing(Arc<Typing>),
    /// A durable message and the members who have no live device.
    Absent(Arc<Absent>),
    /// One fan-out, for analysts.
    FanoutStats(FanoutStats),
    /// How long one fan-out took, told back to who decides how the next one goes.
    FanoutCost(Arc<FanoutCost>),
    /// A record that the file made up: fields by the schema of its port.
    Row(Arc<Row>),
    /// What one half of a split node tells the other; see [`Partial`].
    Partial(Partial),
}

impl Record {
    /// The type of this record.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Submission(_) => RecordType::Submission,
            Self::Ordered(_) => RecordType::Ordered,
            Self::Committed(_) => RecordType::Committed,
            Self::Rejection(_) => RecordType::Rejection,
            Self::Reply(_) => RecordType::Reply,
            Self::Command(_) => RecordType::Command,
            Self::Change(_) => RecordType::Change,
            Self::Fact(_) => RecordType::Fact,
            Self::Grant(_) => RecordType::Grant,
            Self::SessionEvent(_) => RecordType::SessionEvent,
            Self::Online(_) => RecordType::Online,
            Self::Subscription(_) => RecordType::Subscription,
            Self::Presence(_) => RecordType::Presence,
            Self::Query(_) => RecordType::Query,
            Self::Lookup(_) => RecordType::Lookup,
            Self::Found(_) => RecordType::Found,
            Self::Reference(_) => RecordType::Reference,
            Self::Referent(_) => RecordType::Referent,
            Self::Delivery(_) => RecordType::Delivery,
            Self::Mark(_) => RecordType::Mark,
            Self::Moves(_) => RecordType::Moves,
            Self::Moved(_) => RecordType::Moved,
            Self::Nudge(_) => RecordType::Nudge,
            Self::Typing(_) => RecordType::Typing,
            Self::Absent(_) => RecordType::Absent,
            Self::FanoutStats(_) => RecordType::FanoutStats,
            Self::FanoutCost(_) => RecordType::FanoutCost,
            Self::Row(_) => RecordType::Row,
            Self::Partial(_) => RecordType::Partial,
        }
    }
}

/// Who speaks: what a token or an administrator's key granted to one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Unique on this node while the process lives; 0 for the control API.
    pub number: u64,
    pub user_id: Arc<str>,
    pub device_id: Arc<str>,
    pub scopes: Scopes,
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scopes {
    /// `send`: may send messages.
    pub send: bool,
    /// `read`: may read history and lists.
    pub read: bool,
    /// `create`: may create conversations and change their members.
    pub create: bool,
    /// The control API: may do anything, in the name of any user.
    pub admin: bool,
}

/// A message with its place in its conversation. One allocation from there on: the log gives it its place
/// in the log, the fan-out shares it. What was recovered has no ticket and no session.
#[derive(Clone, Debug)]
pub struct Entry {
    /// 0 until it is durable.
    pub lsn: Lsn,
    pub ticket: Option<Ticket>,
    pub session: Option<Arc<Session>>,
    pub message: wire::Message,
    pub keys: Keys,
}

/// An entry that is durable.
pub type Committed = Entry;

impl Entry {
    /// What is found in the log.
    pub fn recovered(lsn: Lsn, message: wire::Message) -> Self {
        let keys = Keys::of_message(&message);
        Self { lsn, ticket: None, session: None, message, keys }
    }

    /// The ack of this message, first or repeated.
    pub fn ack(&self) -> wire::Ack {
        wire::Ack {
            server_msg_id: self.message.server_msg_id,
            seq: self.message.seq,
            status: wire::AckStatus::Ok.into(),
            created_at: self.message.created_at,
        }
    }
}

/// What was refused.
#[derive(Clone, Debug)]
pub enum Refused {
    Submission(Arc<Submission>),
    Command(Arc<Command>),
    Query(Arc<Query>),
    Mark(Arc<Mark>),
}

/// A refused command and the reason.
#[derive(Clone, Debug)]
pub struct Rejection {
    pub refused: Refused,
    pub error: wire::Error,
}

impl Rejection {
    /// The ticket of what was refused.
    pub fn ticket(&self) -> &Ticket {
        match &self.refused {
            Refused::Submission(submission) => &submission.ticket,
            Refused::Command(command) => &command.ticket,
            Refused::Query(query) => &query.ticket,
            Refused::Mark(mark) => &mark.ticket,
        }
    }
}

/// An answer to a command.
#[derive(Clone, Debug)]
pub struct Reply {
    pub ticket: Ticket,
    pub body: Body,
}

/// A wish to change a conversation's facts.
#[derive(Clone, Debug)]
pub struct Command {
    pub ticket: Ticket,
    pub session: Arc<Session>,
    pub conversation_id: String,
    pub wish: Wish,
}

/// The end of a mute that has none but being lifted.
pub const UNTIL_LIFTED: i64 = i64::MAX;

/// What a command wants. An absent conversation is only good for `Create`.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    Create {
        kind: wire::ConversationType,
        name: String,
        members: Vec<wire::MemberInfo>,
        history_since_join: bool,
    },
    ChangeMembers {
        set: Vec<wire::MemberInfo>,
        remove: Vec<String>,
    },
    /// Until when, in milliseconds since the Unix epoch; 0 lifts it, [`UNTIL_LIFTED`] has no end.
    Mute {
        user_id: String,
        until: i64,
    },
    Ban {
        user_id: String,
        banned: bool,
    },
    /// Takes out of the log what a user has said; `None`: all that the conversation holds. For the control
    /// API alone.
    Erase {
        user_id: Option<String>,
    },
    /// The level of a user; empty: none. For the control API alone, and of no conversation.
    SetLevel {
        user_id: String,
        level: String,
    },
    /// How the messages of a conversation come to its members. For the control API alone.
    PinFanout {
        mode: wire::FanoutMode,
    },
}

/// Longest fact, encoded. Every log takes a fact of this size; a command that would make a longer one is
/// refused before it is decided, so that what was decided is never refused.
pub const MAX_FACT_BYTES: usize = 256 << 10;

/// A decided fact on its way to the log, with the answer that its command gets once it counts.
#[derive(Clone, Debug)]
pub struct Change {
    pub ticket: Ticket,
    pub fact: Arc<Fact>,
    pub answer: Body,
}

/// A durable fact. On recovery there is no reply to give.
#[derive(Clone, Debug)]
pub struct CommittedFact {
    pub lsn: Lsn,
    pub fact: Arc<Fact>,
}

/// A user's standing in a conversation, effective: what the facts add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    pub role: wire::Role,
    /// Muted until this time, in milliseconds since the Unix epoch; 0 = not muted.
    pub muted_until: i64,
    pub banned: bool,
}

/// A change of one user's standing in one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantChange {
    pub conversation_id: Arc<str>,
    /// The conversation's own row has no user.
    pub subject: GrantSubject,
}

/// Whose standing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantSubject {
    /// The conversation came to be.
    Conversation { kind: wire::ConversationType },
    /// `None`: the user has no standing any more.
    User { user_id: Arc<str>, grant: Option<Grant> },
}

/// A user came online or went offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineChange {
    pub user_id: Arc<str>,
    pub online: bool,
    /// As in [`PresenceChange::last_active_at`].
    pub last_active_at: i64,
}

/// A session replaces the set of users whose presence it follows; an empty set ends it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// `None` when the session ended and nobody waits for an answer.
    pub ticket: Option<Ticket>,
    pub session: Arc<Session>,
    pub user_ids: Vec<String>,
    /// Conversations whose members are to be followed too, until somebody who knows them has put the members
    /// into `user_ids`.
    pub conversation_ids: Vec<String>,
}

/// A presence notice and the sessions (by number) that are told.
#[derive(Clone, Debug, PartialEq)]
pub struct PresenceChange {
    pub user_id: Arc<str>,
    pub online: bool,
    /// When the user was last heard of elsewhere, in milliseconds since the Unix epoch; 0: this node knows
    /// better, or nobody does.
    pub last_active_at: i64,
    pub sessions: Arc<[u64]>,
}

/// A read off the message path.
#[derive(Clone, Debug)]
pub struct Query {
    pub ticket: Ticket,
    pub session: Arc<Session>,
    pub ask: Ask,
}

/// What a query asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    History(wire::History),
    Sync(wire::Sync),
    Resume(wire::Resume),
    Timeline(wire::Timeline),
    Search(wire::Search),
    Cursors(wire::ListCursors),
    Conversations(wire::ListConversations),
    /// One conversation; whether the session may see it was decided before.
    Conversation(String),
    /// For a service: what a user wrote and the log no longer keeps.
    Written(Written),
}

/// The messages of one user that have left the log, by conversation and seq, behind a place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    pub user_id: String,
    pub after_conversation: String,
    pub after_seq: u64,
}

impl Ask {
    /// The one conversation that is asked about; empty for questions about several.
    pub fn conversation_id(&self) -> &str {
        match self {
            Self::History(history) => &history.conversation_id,
            Self::Conversation(id) => id,
            Self::Cursors(list) => &list.conversation_id,
            Self::Search(search) => &search.conversation_id,
            Self::Sync(_)
            | Self::Resume(_)
            | Self::Timeline(_)
            | Self::Conversations(_)
            | Self::Written(_) => "",
        }
    }
}

/// What the index knows of a submission's clientMsgId.
#[derive(Clone, Debug)]
pub struct Found {
    pub submission: Arc<Submission>,
    /// The message that was committed under this id before; or the error that the sender gets because
    /// the index cannot tell.
    pub original: Result<Option<Arc<wire::Message>>, wire::Error>,
}

/// An event and the users whose sessions on this node get it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub event: Event,
    pub to: Arc<[Arc<str>]>,
    /// The session that caused it and already has its reply.
    pub except: u64,
    pub band: Band,
}

/// How urgent a delivery is; the first is served most. Source: SPEC G8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Band {
    /// Notices of the system and control.
    P0,
    /// One-to-one conversations and small groups.
    P1,
    /// Groups of more than 1,000 members.
    P2,
    /// Media in such groups.
    P3,
}

impl Band {
    pub const COUNT: usize = 4;
    pub const ALL: [Self; Self::COUNT] = [Self::P0, Self::P1, Self::P2, Self::P3];
}

/// What is pushed.
#[derive(Clone, Debug)]
pub enum Event {
    Message(Arc<Entry>),
    ConversationChanged(Arc<wire::ConversationChanged>),
    Recalled(Arc<wire::Recalled>),
    Receipt(Arc<wire::Receipt>),
    Status(Arc<wire::Status>),
    /// In place of messages, which are pulled.
    Notify(Arc<wire::Notify>),
    /// Worth nothing a moment later.
    Typing(Arc<wire::TypingNotice>),
}

impl Event {
    /// The conversation that it is of.
    pub fn conversation_id(&self) -> &str {
        match self {
            Self::Message(entry) => &entry.message.conversation_id,
            Self::ConversationChanged(changed) => &changed.conversation_id,
            Self::Receipt(receipt) => &receipt.conversation_id,
            Self::Recalled(recalled) => &recalled.conversation_id,
            Self::Status(status) => &status.conversation_id,
            Self::Notify(notify) => &notify.conversation_id,
            Self::Typing(typing) => &typing.conversation_id,
        }
    }
}

/// A session's user writes something in a conversation.
#[derive(Debug)]
pub struct Typing {
    pub session: Arc<Session>,
    pub conversation_id: String,
    /// Its share of the ingest. Nobody waits for a reply.
    pub credit: Option<Box<dyn Credit>>,
}

/// A device says how far it, or its user, has come in a conversation.
#[derive(Clone, Debug)]
pub struct Mark {
    pub ticket: Ticket,
    pub session: Arc<Session>,
    pub conversation_id: String,
    pub seq: u64,
    /// The last seq of the conversation; known once `seq` is held to it.
    pub last_seq: u64,
    pub kind: MarkKind,
}

/// Which cursor a mark moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// The device's: messages have come.
    Delivered,
    /// The user's: they have been read.
    Read,
}

/// Cursors that have moved, durable.
#[derive(Clone, Debug)]
pub struct Moved {
    pub lsn: Lsn,
    pub moves: Arc<CursorsMoved>,
}

/// One session is asked to pull what it has not confirmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Nudge {
    pub session: Arc<Session>,
    pub notify: wire::Notify,
}

/// A durable message and the members of its conversation who have no live device, its sender left out.
#[derive(Clone, Debug)]
pub struct Absent {
    pub entry: Arc<Entry>,
    pub users: Arc<[Arc<str>]>,
}

/// One fan-out, for analysts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanoutStats {
    pub conversation_type: wire::ConversationType,
    /// Whether the message itself is pushed; else its receivers are told to pull.
    pub direct: bool,
    pub recipients: u32,
    pub bytes: u32,
    /// From the time of the message (when it was ordered) to its fan-out, in milliseconds.
    pub cost_ms: u32,
}

/// How long a fan-out took, from its decision until every outbox had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanoutCost {
    pub conversation_id: Arc<str>,
    pub recipients: u32,
    pub cost_ms: u32,
}
