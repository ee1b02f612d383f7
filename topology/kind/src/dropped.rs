//! What was dropped at a bound: counted always, told seldom.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count of dropped records.
#[derive(Debug, Default)]
pub struct Dropped(AtomicU64);

impl Dropped {
    /// Counts `records` more. The number of all so far is to be told at the first and then at each
    /// doubling, so that a flood does not fill the output.
    pub fn add(&self, records: usize) -> Option<u64> {
        let before = self.0.fetch_add(records as u64, Ordering::Relaxed);
        let now = before + records as u64;
        (before == 0 || now.ilog2() > before.ilog2()).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_each_doubling_are_told() {
        let dropped = Dropped::default();
        let told: Vec<_> = (0..9).filter_map(|_| dropped.add(1)).collect();
        assert_eq!(told, [1, 2, 4, 8]);
        assert_eq!(dropped.add(100), Some(109));
    }
}
