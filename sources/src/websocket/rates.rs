//! How often somebody may do something: token buckets, each one number.
//!
//! A bucket is the instant up to which its rate is used up (the generic cell rate algorithm). Who has
//! been still for long has it in the past, and a bucket in the past is as good as none: it is swept. So
//! memory goes with those who are active, and beyond [`MAX_BUCKETS`] newcomers pass unmeasured.

use std::hash::Hash;

use parking_lot::Mutex;
use rapidhash::RapidHashMap;

/// Buckets of one kind at a time.
pub(super) const MAX_BUCKETS: usize = 1 << 20;
const SHARDS: usize = 64;

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Microseconds that one of them uses up; 0: no limit.
    each_us: u64,
    /// How far ahead of now a bucket may be.
    burst_us: u64,
}

/// A bucket in the past.
pub(super) const STILL: u64 = 0;

impl Rate {
    /// `per_second` 0 is no limit. A bucket holds what `burst_ms` of the rate give, and at least one.
    pub(super) fn new(per_second: u64, burst_ms: u64) -> Self {
        let each_us = 1_000_000_u64.checked_div(per_second).map_or(0, |each| each.max(1));
        Self { each_us, burst_us: (burst_ms * 1_000).max(each_us) }
    }

    pub(super) fn is_limited(self) -> bool {
        self.each_us > 0
    }

    /// Takes one from `bucket` at `now_us`.
    ///
    /// # Errors
    /// The milliseconds to wait, when there is none.
    pub(super) fn take(self, bucket: &mut u64, now_us: u64) -> Result<(), u64> {
        let used = (*bucket).max(now_us) + self.each_us;
        match used.checked_sub(now_us + self.burst_us) {
            None | Some(0) => {
                *bucket = used;
                Ok(())
            }
            Some(over_us) => Err(over_us.div_ceil(1_000)),
        }
    }
}

/// A bucket for each key.
pub(super) struct Keyed<K> {
    rate: Rate,
    shards: Box<[Mutex<RapidHashMap<K, u64>>]>,
    hasher: rapidhash::fast::RandomState,
}

impl<K: Hash + Eq> Keyed<K> {
    pub(super) fn new(rate: Rate) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { rate, shards, hasher: rapidhash::fast::RandomState::new() }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.rate.is_limited()
    }

    /// Takes one of `key`.
    ///
    /// # Errors
    /// The milliseconds to wait.
    pub(super) fn take(&self, key: K, now_us: u64) -> Result<(), u64> {
        if !self.rate.is_limited() {
            return Ok(());
        }
        let mut buckets = self.shard(&key).lock();
        if let Some(bucket) = buckets.get_mut(&key) {
            return self.rate.take(bucket, now_us);
        }
        if buckets.len() >= MAX_BUCKETS / SHARDS {
            buckets.retain(|_, used| *used > now_us);
            if buckets.len() >= MAX_BUCKETS / SHARDS {
                return Ok(());
            }
        }
        self.rate.take(buckets.entry(key).or_insert(STILL), now_us)
    }

    /// Forgets the buckets that are in the past, in one of the shards; called in turn with 0, 1, ..
    pub(super) fn sweep(&self, turn: usize, now_us: u64) {
        let mut buckets = self.shards[turn % SHARDS].lock();
        buckets.retain(|_, used| *used > now_us);
        if buckets.capacity() > 4 * buckets.len() + 64 {
            buckets.shrink_to_fit();
        }
    }

    /// How many buckets there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, key: &K) -> &Mutex<RapidHashMap<K, u64>> {
        use std::hash::BuildHasher as _;
        &self.shards[(self.hasher.hash_one(key) >> 32) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_then_the_rate_does() {
        let rate = Rate::new(10, 500);
        let mut bucket = STILL;
        let now = 100 * SECOND;
        assert_eq!((0..5).filter(|_| rate.take(&mut bucket, now).is_ok()).count(), 5);
        assert_eq!(rate.take(&mut bucket, now), Err(100));
        assert_eq!(rate.take(&mut bucket, now + SECOND / 20), Err(50));
        assert_eq!(rate.take(&mut bucket, now + SECOND / 10), Ok(()));
        // Over ten seconds, at every millisecond: ten a second.
        let passed = (100..10_100).filter(|ms| rate.take(&mut bucket, now + ms * 1_000).is_ok());
        assert!((99..=101).contains(&passed.count()));
    }

    #[test]
    fn a_rate_of_nothing_limits_nothing_and_keeps_nothing() {
        let keyed = Keyed::new(Rate::new(0, 1_000));
        assert!((0..10_000).all(|key: u64| keyed.take(key % 3, 1).is_ok()));
        assert_eq!(keyed.len(), 0);
    }

    #[test]
    fn keys_do_not_use_up_each_others_buckets_and_the_still_are_swept() {
        let keyed = Keyed::new(Rate::new(1, 1_000));
        assert!(keyed.take("a", SECOND).is_ok() && keyed.take("b", SECOND).is_ok());
        assert_eq!(keyed.take("a", SECOND), Err(1_000));
        (0..SHARDS).for_each(|turn| keyed.sweep(turn, SECOND));
        assert_eq!(keyed.len(), 2);
        (0..SHARDS).for_each(|turn| keyed.sweep(turn, 2 * SECOND));
        assert_eq!(keyed.len(), 0);
    }

    #[test]
    fn beyond_the_bound_newcomers_pass_and_nothing_grows() {
        let keyed = Keyed::new(Rate::new(1, 1_000));
        for key in 0..(MAX_BUCKETS as u64 + MAX_BUCKETS as u64 / 4) {
            assert!(keyed.take(key, SECOND).is_ok());
        }
        assert!(keyed.len() <= MAX_BUCKETS);
    }
}
