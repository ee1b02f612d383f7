//! What one session was pushed of one conversation: the last seq, and those that were passed over.
//!
//! A session is not pushed its own messages, so what was passed over must turn out to be its own. Only
//! those are kept, so a receipt is small when a session sends little.

use super::Promise;

#[derive(Debug, Default)]
pub(super) struct Receipt {
    last: u64,
    /// Ascending.
    passed: Vec<u64>,
}

impl Receipt {
    /// Takes a pushed seq; `Err` says which promise that breaks.
    pub(super) fn take(&mut self, seq: u64) -> Result<(), Promise> {
        if seq > self.last {
            self.passed.extend(self.last + 1..seq);
            self.last = seq;
            return Ok(());
        }
        match self.passed.binary_search(&seq) {
            Ok(index) => {
                self.passed.remove(index);
                Err(Promise::Order)
            }
            Err(_) => Err(Promise::Once),
        }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// What was not pushed, up to and including `end`.
    pub(super) fn missing(&self, end: u64) -> impl Iterator<Item = u64> {
        self.passed.iter().copied().chain(self.last + 1..=end)
    }
}
