//! Credit: the bound on what is under way in one worker of the conversation stage.
//!
//! A command takes a record and its bytes when it enters and gives them back when it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use imflow_kind::Gate;
use imflow_proto::ticket::Credit;
use imflow_proto::wire::{Error, ErrorCode};
use tokio::sync::Notify;

/// Commands under way in one worker.
pub(crate) const MAX_RECORDS: usize = 8_192;
/// Their bytes.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// The credit of one worker.
pub(crate) struct Credits {
    records: AtomicUsize,
    bytes: AtomicUsize,
    closing: AtomicBool,
    gate: Option<Gate>,
    returned: Notify,
}

impl Credits {
    pub fn new(gate: Option<Gate>) -> Arc<Self> {
        Arc::new(Self {
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            gate,
            returned: Notify::new(),
        })
    }

    /// Takes credit for one command; one that `writes` meets the log's gate first.
    pub fn take(self: &Arc<Self>, bytes: usize, writes: bool) -> Result<Box<dyn Credit>, Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::of(
                ErrorCode::ShuttingDown,
                "this node is stopping; reconnect and send again",
            ));
        }
        if writes && self.gate.as_ref().is_some_and(Gate::is_closed) {
            return Err(Gate::error());
        }
        let credit = Taken { credits: Arc::clone(self), bytes };
        let records = self.records.fetch_add(1, Ordering::AcqRel);
        let used = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        if records >= MAX_RECORDS || used + bytes > MAX_BYTES.max(bytes) {
            drop(credit);
            let sentence =
                "too many messages are under way on this node; wait a moment, then send again";
            return Err(Error::of(ErrorCode::Busy, sentence).retry_after(100));
        }
        Ok(Box::new(credit))
    }

    /// Resolves when some credit has come back.
    pub async fn returned(&self) {
        let wait = self.returned.notified();
        if self.records.load(Ordering::Acquire) < MAX_RECORDS
            && self.bytes.load(Ordering::Acquire) < MAX_BYTES
        {
            return;
        }
        let _ = tokio::time::timeout(std::time::Duration::from_millis(100), wait).await;
    }

    /// Refuses commands from now on.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Commands under way.
    pub fn under_way(&self) -> usize {
        self.records.load(Ordering::Acquire)
    }
}

struct Taken {
    credits: Arc<Credits>,
    bytes: usize,
}

impl Credit for Taken {}

impl Drop for Taken {
    fn drop(&mut self) {
        self.credits.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        let before = self.credits.records.fetch_sub(1, Ordering::AcqRel);
        // Waiters exist only near the limit; elsewhere this costs nothing.
        if before >= MAX_RECORDS / 2 || self.bytes >= MAX_BYTES / 16 {
            self.credits.returned.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_bounded_and_comes_back() {
        let credits = Credits::new(None);
        let taken: Vec<_> =
            (0..MAX_RECORDS).map(|_| credits.take(10, true).expect("within the limit")).collect();
        assert_eq!(credits.take(10, true).map(|_| ()).map_err(|e| e.code()), Err(ErrorCode::Busy));
        drop(taken);
        assert_eq!(credits.under_way(), 0);
        let big = credits.take(MAX_BYTES, true).expect("alone, anything goes");
        assert!(credits.take(1, true).is_err());
        drop(big);
        credits.close();
        assert_eq!(
            credits.take(1, true).map(|_| ()).map_err(|e| e.code()),
            Err(ErrorCode::ShuttingDown)
        );
    }
}
