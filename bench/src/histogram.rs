//! Latencies in constant memory, within 1% of the true value.

use std::time::Duration;

/// Buckets in each power of two.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = ((64 - STEP_BITS + 1) as usize) * STEPS as usize;

/// A distribution of nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, ns: u64) {
        self.buckets[bucket_of(ns)] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The smallest value that this share of all values does not exceed: 0.99 for p99.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_bound(index).min(self.max));
            }
        }
        Duration::from_nanos(self.max)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }

    /// `p50 0.81 ms, p99 2.10 ms, p99.9 4.02 ms`.
    pub(crate) fn summary(&self) -> String {
        if self.count == 0 {
            return "no samples".to_owned();
        }
        let [p50, p99, p999] = [0.50, 0.99, 0.999].map(|share| show(self.quantile(share)));
        format!("p50 {p50}, p99 {p99}, p99.9 {p999}")
    }
}

/// A duration with three digits that matter.
pub(crate) fn show(duration: Duration) -> String {
    match duration.as_nanos() as f64 {
        ns if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.1} us", ns / 1e3),
    }
}

/// Values below `STEPS` have buckets of their own; above, each power of two has `STEPS` buckets.
fn bucket_of(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let power = u64::from(63 - ns.leading_zeros() - STEP_BITS);
    let step = (ns >> power) - STEPS;
    ((power + 1) * STEPS + step) as usize
}

fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let (power, step) = (index / STEPS - 1, index % STEPS);
    let end = u128::from(STEPS + step + 1) << power;
    u64::try_from(end - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_percent() {
        let mut histogram = Histogram::default();
        (1..=100_000u64).for_each(|n| histogram.record(n * 1_000));
        for share in [0.5, 0.99, 0.999] {
            let (expected, found) = (share * 1e8, histogram.quantile(share).as_nanos() as f64);
            assert!(
                (found - expected).abs() / expected < 0.01,
                "{share}: {found} instead of {expected}"
            );
        }
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(100));
    }

    #[test]
    fn every_value_has_a_bucket_that_holds_it() {
        for ns in [0, 1, 127, 128, 129, 255, 256, 1_000_000, u64::MAX - 1, u64::MAX] {
            assert!(upper_bound(bucket_of(ns)) >= ns, "{ns}");
        }
    }

    #[test]
    fn merged_halves_are_the_whole() {
        let (mut odd, mut even, mut all) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for n in 0..1_000u64 {
            if n % 2 == 0 {
                even.record(n)
            } else {
                odd.record(n)
            }
            all.record(n);
        }
        odd.merge(&even);
        assert_eq!((odd.count(), odd.p99()), (all.count(), all.p99()));
    }
}
