//! Messages beyond the log: a copy of it that can be read, for what `keep` has taken from the log itself.

use std::collections::BTreeMap;
use std::ops::Range;

use imflow_proto::wire::{Message, Place};

use crate::StoreError;

/// Where a message stands among those of all conversations: its time, its conversation, its seq.
pub fn place_of(message: &Message) -> (i64, &str, u64) {
    (message.created_at, &message.conversation_id, message.seq)
}

/// The same of a place.
pub fn place_key(place: &Place) -> (i64, &str, u64) {
    (place.created_at, &place.conversation_id, place.seq)
}

/// The side of a place that is wanted, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

impl Side {
    /// Whether a message stands on this side of a place.
    pub fn has(self, message: (i64, &str, u64), place: &Place) -> bool {
        match self {
            Self::Before => message < place_key(place),
            Self::After => message > place_key(place),
        }
    }

    /// Puts the nearest first, and keeps so many.
    pub fn nearest(self, messages: &mut Vec<Message>, limit: usize) {
        messages.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
        if self == Self::Before {
            messages.reverse();
        }
        messages.truncate(limit);
    }
}

/// What is wanted of each conversation: seqs, by its id.
pub type Spans = BTreeMap<String, Range<u64>>;

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

    /// The messages of these spans on one side of a place, over all conversations, nearest first, at most
    /// `limit`. `user_id` is whose they are, for a copy that keeps who reads what.
    ///
    /// # Errors
    /// As [`Archive::first`].
    fn timeline(
        &self,
        _user_id: &str,
        spans: &Spans,
        (side, place): (Side, &Place),
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        timeline_by_conversation(self, spans, (side, place), limit)
    }

    /// What a user wrote in a conversation, of a range of seqs, by rising seq, at most `limit`.
    ///
    /// # Errors
    /// As [`Archive::first`].
    fn written(
        &self,
        conversation_id: &str,
        user_id: &str,
        seqs: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        written_among_all(self, conversation_id, user_id, seqs, limit)
    }
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

/// [`Archive::timeline`] by asking about each conversation by itself.
///
/// # Errors
/// As [`Archive::first`].
pub fn timeline_by_conversation<A: Archive + ?Sized>(
    archive: &A,
    spans: &Spans,
    (side, place): (Side, &Place),
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut found = Vec::new();
    for (id, span) in spans {
        // Those of another conversation that have the time of the place stand all on one side of it.
        let from = archive.seq_before(id, place.created_at, span.end)?;
        let upto = archive.seq_before(id, place.created_at.saturating_add(1), span.end)?;
        let rest = match side {
            Side::After => span.start.max(from + 1)..span.end,
            Side::Before => span.start..span.end.min(upto + 1),
        };
        if rest.is_empty() {
            continue;
        }
        let wanted = limit.saturating_add(upto.saturating_sub(from) as usize);
        found.extend(match side {
            Side::After => archive.first(id, rest, wanted)?,
            Side::Before => archive.last(id, rest, wanted)?,
        });
        found.retain(|message| side.has(place_of(message), place));
        side.nearest(&mut found, limit);
    }
    Ok(found)
}

/// [`Archive::written`] by looking at what everybody wrote.
///
/// # Errors
/// As [`Archive::first`].
pub fn written_among_all<A: Archive + ?Sized>(
    archive: &A,
    conversation_id: &str,
    user_id: &str,
    seqs: Range<u64>,
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let (mut written, mut rest) = (Vec::new(), seqs);
    while written.len() < limit {
        let part = archive.first(conversation_id, rest.clone(), 500)?;
        let Some(last) = part.last() else { break };
        rest.start = last.seq + 1;
        written.extend(part.into_iter().filter(|message| message.sender_id == user_id));
    }
    written.truncate(limit);
    Ok(written)
}
