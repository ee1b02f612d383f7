//! Messages beyond the log: a copy of it that can be read, for what `keep` has taken from the log itself.

use std::ops::Range;

use imflow_proto::wire::Message;

use crate::StoreError;

/// A copy that can be read. Calls wait for another system, so they are made off the message path, by threads
/// that nothing else needs. Offered as `Arc<dyn Archive>`.
///
/// It holds every entry as it came; what later ones made of it is for the reader to fold. It may lack some:
/// what it no longer keeps.
pub trait Archive: Send + Sync {
    /// The first messages with a seq in the range, by rising seq, at most `limit`.
    ///
    /// # Errors
    /// When the other system does not answer.
    fn first(
        &self,
        conversation_id: &str,
        seqs: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// The last messages with a seq in the range, by rising seq, at most `limit`.
    ///
    /// # Errors
    /// As [`Archive::first`].
    fn last(
        &self,
        conversation_id: &str,
        seqs: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;

    /// The last seq before `end` of a message that was created before a time (milliseconds since the Unix
    /// epoch); 0 when it has none.
    ///
    /// # Errors
    /// As [`Archive::first`].
    fn seq_before(&self, conversation_id: &str, time_ms: i64, end: u64) -> Result<u64, StoreError>;

    /// The entries before the seq `end` that act on one of these messages, in any order, at most `limit`.
    ///
    /// # Errors
    /// As [`Archive::first`].
    fn about(
        &self,
        conversation_id: &str,
        targets: &[u64],
        end: u64,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError>;
}

/// A copy of the newest messages of conversations, asked before an [`Archive`]. Calls wait as there. Offered as
/// `Arc<dyn Latest>`.
///
/// It may lag behind, lack any of them and forget whole conversations; what it gives is as it came.
pub trait Latest: Send + Sync {
    /// Some of the newest messages of a conversation, by rising seq.
    ///
    /// # Errors
    /// When the other system does not answer.
    fn latest(&self, conversation_id: &str) -> Result<Vec<Message>, StoreError>;
}
