//! How many different values there are: exact for few, an estimate for many.
//!
//! Up to 512 values their hashes are kept; beyond that a HyperLogLog of 4,096 registers, whose standard
//! error is 1.6 %. What two parts add up to is what one would have come to.

use rapidhash::RapidHashSet;

const EXACT: usize = 512;
const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;

#[derive(Clone, Debug)]
pub(super) enum Distinct {
    Exact(RapidHashSet<u64>),
    Estimate(Box<[u8]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(RapidHashSet::default())
    }
}

impl Distinct {
    /// Takes the hash of a value.
    pub(super) fn add(&mut self, hash: u64) {
        match self {
            Self::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > EXACT {
                    let mut registers = vec![0; REGISTERS].into_boxed_slice();
                    hashes.iter().for_each(|hash| observe(&mut registers, *hash));
                    *self = Self::Estimate(registers);
                }
            }
            Self::Estimate(registers) => observe(registers, hash),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Exact(hashes)) => hashes.iter().for_each(|hash| self.add(*hash)),
            (Self::Exact(hashes), Self::Estimate(registers)) => {
                let mut registers = registers.clone();
                hashes.iter().for_each(|hash| observe(&mut registers, *hash));
                *self = Self::Estimate(registers);
            }
            (Self::Estimate(mine), Self::Estimate(others)) => {
                mine.iter_mut().zip(others).for_each(|(mine, other)| *mine = (*mine).max(*other));
            }
        }
    }

    pub(super) fn count(&self) -> i64 {
        match self {
            Self::Exact(hashes) => hashes.len() as i64,
            Self::Estimate(registers) => estimate(registers).round() as i64,
        }
    }
}

/// The first bits choose a register, which keeps the longest run of zeros seen in the rest.
fn observe(registers: &mut [u8], hash: u64) {
    let register = (hash >> (64 - PRECISION)) as usize;
    let rest = hash << PRECISION;
    let rank = (rest.leading_zeros().min(64 - PRECISION) + 1) as u8;
    registers[register] = registers[register].max(rank);
}

/// The improved estimator of Ertl (2017), which needs no correction tables.
fn estimate(registers: &[u8]) -> f64 {
    let longest = (64 - PRECISION) as usize;
    let mut histogram = vec![0.0; longest + 2];
    registers.iter().for_each(|rank| histogram[*rank as usize] += 1.0);
    let m = REGISTERS as f64;
    let mut z = m * tau(1.0 - histogram[longest + 1] / m);
    for rank in (1..=longest).rev() {
        z = 0.5 * (z + histogram[rank]);
    }
    z += m * sigma(histogram[0] / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before || !z.is_finite() {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_proto::record::Scalar;

    use super::*;
    use crate::hash::hash_of;

    fn of(values: std::ops::Range<i64>) -> Distinct {
        let mut distinct = Distinct::default();
        values.for_each(|value| distinct.add(hash_of(&Scalar::Int(value))));
        distinct
    }

    #[test]
    fn few_are_counted_exactly_and_many_within_five_percent() {
        for count in [0, 1, 512] {
            assert_eq!(of(0..count).count(), count);
        }
        for count in [513, 5_000, 12_000, 30_000, 200_000] {
            let error = (of(0..count).count() - count).abs() as f64 / count as f64;
            assert!(error < 0.05, "{count}: off by {error}");
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        for (middle, end) in [(100, 300), (400, 700), (300, 2_000), (3_000, 5_000)] {
            let mut parts = of(0..middle);
            parts.merge(&of(middle / 2..end));
            assert_eq!(parts.count(), of(0..end).count(), "{middle} of {end}");
        }
    }
}
