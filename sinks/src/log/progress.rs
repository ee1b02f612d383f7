//! How far the log is durable, and how far the index has followed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use imflow_proto::record::Lsn;
use parking_lot::{Condvar, Mutex};

use super::LogError;

#[derive(Debug)]
pub(crate) struct Progress {
    durable: AtomicU64,
    indexed: AtomicU64,
    /// Writers of the index that wait for the disk.
    stuck: AtomicUsize,
    waiting: Mutex<()>,
    moved: Condvar,
}

impl Progress {
    /// Both at the end of the recovered log.
    pub(crate) fn at(lsn: Lsn) -> Self {
        Self {
            durable: lsn.into(),
            indexed: lsn.into(),
            stuck: AtomicUsize::new(0),
            waiting: Mutex::new(()),
            moved: Condvar::new(),
        }
    }

    pub(crate) fn durable(&self) -> Lsn {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn indexed(&self) -> Lsn {
        self.indexed.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable(&self, lsn: Lsn) {
        self.durable.store(lsn, Ordering::Release);
    }

    pub(crate) fn set_indexed(&self, lsn: Lsn) {
        self.indexed.store(lsn, Ordering::Release);
        // Taking the lock orders this store before the check of whoever is about to wait.
        drop(self.waiting.lock());
        self.moved.notify_all();
    }

    /// A writer of the index waits for the disk.
    pub(crate) fn note_stuck(&self) {
        self.stuck.fetch_add(1, Ordering::AcqRel);
    }

    /// What [`Progress::note_stuck`] noted is over.
    pub(crate) fn note_works(&self) {
        self.stuck.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Acquire) > 0
    }

    /// Waits until what is durable now can be found.
    pub(crate) fn caught_up(&self, limit: Duration) -> Result<(), LogError> {
        let durable = self.durable();
        if self.indexed() >= durable {
            return Ok(());
        }
        let until = Instant::now() + limit;
        let mut waiting = self.waiting.lock();
        while self.indexed() < durable {
            if self.moved.wait_until(&mut waiting, until).timed_out() && self.indexed() < durable {
                return Err(LogError::Behind {
                    indexed: self.indexed(),
                    durable,
                    waited_ms: limit.as_millis(),
                });
            }
        }
        Ok(())
    }
}
