//! Dataflow time: milliseconds from an injected clock, and a step within the millisecond.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const STEP_BITS: u32 = 20;

/// The time of one epoch: `ms << 20 | step`, never backwards. Timely sees the bare `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The first instant of a millisecond since the Unix epoch.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms << STEP_BITS)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn ms(self) -> u64 {
        self.0 >> STEP_BITS
    }

    /// The time of the next epoch at wall time `ms`: that millisecond, or one step on when the clock
    /// has not moved (or has gone back).
    pub fn next(self, ms: u64) -> Self {
        Self(Self::from_ms(ms).0.max(self.0 + 1))
    }

    /// The first instant `ms` milliseconds after this one's millisecond.
    pub const fn after_ms(self, ms: u64) -> Self {
        Self::from_ms(self.ms() + ms)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.ms(), self.0 & ((1 << STEP_BITS) - 1))
    }
}

/// Where milliseconds come from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Default)]
pub struct VirtualClock(AtomicU64);

impl VirtualClock {
    /// A clock that stands at `ms`.
    pub fn at(ms: u64) -> Self {
        Self(AtomicU64::new(ms))
    }

    /// Moves the clock to `ms`; it never goes back.
    pub fn advance_to(&self, ms: u64) {
        self.0.fetch_max(ms, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
