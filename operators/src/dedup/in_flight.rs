//! Messages that were let through and whose outcome is not known yet, each with the repeats that wait.
//!
//! Bounded by the credit of the commands behind them. Two bounds hold when credit does not (a command
//! whose deadline has passed gives its credit back): at most [`MAX_WAITING`] repeats of one message, and
//! at most [`MAX_IN_FLIGHT`] messages, where those without an outcome for [`LOST_AFTER_MS`] go first: an
//! edited dataflow has dropped them on the way.

use std::sync::Arc;

use imflow_proto::record::Submission;
use imflow_proto::{Fingerprint, FingerprintMap, Keys};

pub(super) const MAX_IN_FLIGHT: usize = 65_536;
pub(super) const MAX_WAITING: usize = 1_024;
const LOST_AFTER_MS: i64 = 600_000;

#[derive(Default)]
pub(super) struct InFlight(FingerprintMap<Entry>);

struct Entry {
    content: u64,
    since_ms: i64,
    waiting: Vec<Arc<Submission>>,
}

/// What became of a message that may be a repeat of one in flight.
pub(super) enum Joined {
    /// It waits for the first one's outcome.
    Waits,
    /// Another content under the same id.
    Conflict(Arc<Submission>),
    /// Too many wait already.
    Full(Arc<Submission>),
    /// Nothing is in flight under this key.
    Alone(Arc<Submission>),
}

impl InFlight {
    pub(super) fn join(&mut self, submission: Arc<Submission>) -> Joined {
        match self.0.get_mut(&submission.keys.message) {
            None => Joined::Alone(submission),
            Some(entry) if entry.content != submission.keys.content => Joined::Conflict(submission),
            Some(entry) if entry.waiting.len() >= MAX_WAITING => Joined::Full(submission),
            Some(entry) => {
                entry.waiting.push(submission);
                Joined::Waits
            }
        }
    }

    /// Notes a message that goes on; `false` when there is no room for it.
    pub(super) fn begin(&mut self, keys: &Keys, now_ms: i64) -> bool {
        if self.0.len() >= MAX_IN_FLIGHT {
            self.0.retain(|_, entry| {
                now_ms - entry.since_ms < LOST_AFTER_MS || !entry.waiting.is_empty()
            });
            if self.0.len() >= MAX_IN_FLIGHT {
                return false;
            }
        }
        let entry = Entry { content: keys.content, since_ms: now_ms, waiting: Vec::new() };
        self.0.insert(keys.message, entry);
        true
    }

    /// The message is durable: gives the repeats that waited.
    pub(super) fn committed(&mut self, message: Fingerprint) -> Vec<Arc<Submission>> {
        self.0.remove(&message).map_or_else(Vec::new, |entry| entry.waiting)
    }

    /// The message was refused and left no trace: gives the first repeat that still wants an answer,
    /// which takes its place.
    pub(super) fn refused(&mut self, keys: &Keys, now_ms: i64) -> Option<Arc<Submission>> {
        // A repeat with other content may have been refused earlier on the path; it was never in flight.
        let entry = self.0.get_mut(&keys.message).filter(|entry| entry.content == keys.content)?;
        entry.waiting.retain(|waiting| !waiting.ticket.is_answered());
        if entry.waiting.is_empty() {
            self.0.remove(&keys.message);
            return None;
        }
        entry.since_ms = now_ms;
        Some(entry.waiting.remove(0))
    }
}
