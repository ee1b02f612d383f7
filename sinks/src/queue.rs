//! The bounded queue between workers, which never wait, and the thread of a sink that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use imflow_kind::Dropped;
use imflow_proto::Record;

/// The near end. A batch without records closes it.
#[derive(Clone)]
pub(crate) struct Queue {
    batches: flume::Sender<Vec<Record>>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
    dropped: Arc<Dropped>,
}

impl Queue {
    /// A queue of so many records. Whoever takes them from the far end also counts them off
    /// [`Queue::waiting`], once they are done.
    pub(crate) fn new(limit: usize) -> (Self, flume::Receiver<Vec<Record>>) {
        // Unbounded by itself; `offer` and `is_full` bound the records in it.
        let (batches, inbox) = flume::unbounded();
        (Self { batches, waiting: Arc::default(), limit, dropped: Arc::default() }, inbox)
    }

    /// How many records wait.
    pub(crate) fn waiting(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting)
    }

    /// Queues records, or drops and counts them.
    pub(crate) fn offer(&self, sink: &str, records: Vec<Record>) {
        let count = records.len();
        if self.waiting.fetch_add(count, Ordering::AcqRel) + count > self.limit {
            self.waiting.fetch_sub(count, Ordering::AcqRel);
            if let Some(dropped) = self.dropped.add(count) {
                tracing::warn!(sink, dropped, "the sink is behind: records are dropped");
            }
            return;
        }
        self.send(records);
    }

    /// Queues records whatever waits: for a sender that asks [`Queue::is_full`] and then sends no more.
    #[cfg(feature = "kafka")]
    pub(crate) fn put(&self, records: Vec<Record>) {
        self.waiting.fetch_add(records.len(), Ordering::AcqRel);
        self.send(records);
    }

    fn send(&self, records: Vec<Record>) {
        if !records.is_empty() {
            let _ = self.batches.send(records); // the thread lives until it is told to end
        }
    }

    /// Whether as many wait as may.
    #[cfg(feature = "kafka")]
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Acquire) >= self.limit
    }

    pub(crate) fn close(&self) {
        let _ = self.batches.send(Vec::new());
    }
}
