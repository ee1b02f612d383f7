//! The most frequent values: Misra and Gries, which merges.
//!
//! With `n` values asked for, up to `20 n` (at least 200) are counted exactly. Beyond that the count of a
//! value may be too low by the records divided by `10 n` (at least 100); so no value that is more frequent
//! than that is missed.

use std::sync::Arc;

use imflow_proto::record::Scalar;
use rapidhash::RapidHashMap;

const FEWEST: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct Top {
    wanted: usize,
    counts: RapidHashMap<Arc<str>, u64>,
}

impl Top {
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted, counts: RapidHashMap::default() }
    }

    pub(super) fn add(&mut self, value: &Arc<str>, times: u64) {
        match self.counts.get_mut(value) {
            Some(count) => *count += times,
            None => {
                self.counts.insert(Arc::clone(value), times);
                self.shrink();
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(value, times)| self.add(value, *times));
    }

    /// The most frequent first; equals by their texts.
    pub(super) fn values(&self) -> Scalar {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_unstable_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        Scalar::Strings(
            all.into_iter().take(self.wanted).map(|(value, _)| Arc::clone(value)).collect(),
        )
    }

    /// With twice as many values as are kept, takes from each what the first too many has.
    fn shrink(&mut self) {
        let kept = (10 * self.wanted).max(FEWEST);
        if self.counts.len() <= 2 * kept {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, excess, _) = counts.select_nth_unstable_by(kept, |a, b| b.cmp(a));
        let excess = *excess;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(excess);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_values_are_found_among_many_rare_ones() {
        let mut top = Top::new(2);
        for n in 0..50_000_u32 {
            let value = match n % 10 {
                0 | 1 => "first".to_owned(),
                2 => "second".to_owned(),
                _ => format!("rare-{n}"),
            };
            top.add(&value.into(), 1);
        }
        assert_eq!(top.values(), Scalar::Strings(["first".into(), "second".into()].into()));
        assert!(top.counts.len() <= 200);
    }
}
