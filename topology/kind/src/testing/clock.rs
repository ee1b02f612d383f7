//! A clock that stands still until a test moves it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Clock;

/// Says what it was last set to, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `ms`.
    pub fn at(ms: u64) -> Self {
        Self(AtomicU64::new(ms))
    }

    /// Moves it to `ms`.
    pub fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
