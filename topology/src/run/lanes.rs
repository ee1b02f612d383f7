//! The bounded ingest of one instance: three lanes and a wake-up.
//!
//! Lanes are drained in their order: completions (of the log, of answers), then facts, then messages.
//! Messages are bounded by credit, completions by what went out; facts from other stages are bounded by
//! [`FACTS_LIMIT`]. A sender never blocks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use imflow_kind::{Applied, Dropped};
use imflow_proto::Record;

/// Batches in the facts lane above which another stage keeps its records and stops its own ingest.
pub(crate) const FACTS_LIMIT: usize = 4_096;

/// Records for one entry of an instance.
pub(crate) struct Batch {
    /// Index into [`crate::Plan::entries`]; `None` carries only `applied`.
    pub entry: Option<usize>,
    pub records: Vec<Record>,
    pub applied: Option<Applied>,
}

/// Which queue a batch waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Completions,
    Facts,
    Messages,
}

/// The queues of one instance, shared by all who feed it.
pub(crate) struct Lanes {
    senders: [flume::Sender<Batch>; 3],
    receivers: [flume::Receiver<Batch>; 3],
    /// Records that a lossy edge has dropped.
    dropped: Dropped,
    awake: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Lanes {
    pub fn new() -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| flume::unbounded()).unzip();
        let senders = senders.try_into().unwrap_or_else(|_| unreachable!("three lanes"));
        let receivers = receivers.try_into().unwrap_or_else(|_| unreachable!("three lanes"));
        Self {
            senders,
            receivers,
            dropped: Dropped::default(),
            awake: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }

    /// Queues a batch and wakes the instance.
    pub fn send(&self, lane: Lane, batch: Batch) {
        // The receivers live as long as the senders.
        let _ = self.senders[lane as usize].send(batch);
        self.wake();
    }

    /// Queues records in the facts lane, or drops and counts them when it is full.
    pub fn send_or_drop(&self, entry: usize, records: Vec<Record>) {
        if !self.facts_are_full() {
            return self.send(Lane::Facts, Batch { entry: Some(entry), records, applied: None });
        }
        if let Some(dropped) = self.dropped.add(records.len()) {
            tracing::warn!(dropped, "the global stage is behind: records for it are dropped");
        }
    }

    pub fn wake(&self) {
        // One unpark for each time the loop has gone to look, however many batches come in between.
        if !self.awake.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// The thread that [`Lanes::wake`] unparks.
    pub fn attach(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Called before draining: whatever comes after this wakes again.
    pub fn rearm(&self) {
        self.awake.swap(false, Ordering::AcqRel);
    }

    pub fn receive(&self, lane: Lane) -> Option<Batch> {
        self.receivers[lane as usize].try_recv().ok()
    }

    pub fn facts_are_full(&self) -> bool {
        self.receivers[Lane::Facts as usize].len() >= FACTS_LIMIT
    }
}
