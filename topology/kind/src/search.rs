//! The role of an index of words: finds messages by what their text says.
//!
//! An index only says where messages are that may fit. Whether one may be shown, and how it reads now, is
//! the store's to say; so an index that lags shows nothing that it should not.

use std::ops::{ControlFlow, Range};

use rapidhash::RapidHashMap;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// As a person wrote it.
    pub query: &'a str,
    /// Only of this sender; empty: of any.
    pub sender_id: &'a str,
    /// Only created from this time on (milliseconds since the Unix epoch), and before that; 0: any.
    pub after_time: i64,
    pub before_time: i64,
    /// Only with a smaller serverMsgId; 0: any.
    pub before: i64,
    pub within: Within<'a>,
}

/// The conversations that are searched.
#[derive(Clone, Copy, Debug, Default)]
pub enum Within<'a> {
    /// All that there are.
    #[default]
    All,
    /// One of them, after this seq.
    One(&'a str, u64),
    Some(&'a Readable),
}

/// Conversations by [`conversation_key`], and the seq after which each is read.
pub type Readable = RapidHashMap<u64, u64>;

/// The key of a conversation in an index, where it is kept on disk. Two may share one: what is found is
/// compared with the store.
pub fn conversation_key(conversation_id: &str) -> u64 {
    // 48 bits take less room in a column.
    rapidhash::v3::rapidhash_v3(conversation_id.as_bytes()) >> 16
}

/// Where a message is that may fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub conversation_id: String,
    pub seq: u64,
    pub server_msg_id: i64,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// What to go on before, when a search looked at as much as one may; the messages from there on
    /// were all looked at.
    pub stopped_at: Option<i64>,
    /// Whether all that was durable when the search began was in the index.
    pub complete: bool,
    /// The time of the last message in the index.
    pub indexed_up_to: i64,
}

/// Finds messages by their words. Blocking: call it on a bounded pool. Offered as `Arc<dyn Search>`.
pub trait Search: Send + Sync {
    /// Calls `visit` for messages that may fit, newest first by serverMsgId, until it breaks.
    ///
    /// # Errors
    /// When the query is none, or the index cannot be read.
    fn find(
        &self,
        wanted: &Wanted<'_>,
        visit: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<Searched, SearchError>;

    /// Where the words of a query stand in a text, in bytes and in order; `None` if it does not fit.
    fn spans(&self, query: &str, text: &str) -> Option<Vec<Range<usize>>>;
}

/// Why a search gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// What is wrong with the query, and what to do; for who asked.
    #[error("{0}")]
    Query(String),
    /// What failed, for the service's own log.
    #[error("{0}")]
    Index(String),
}
