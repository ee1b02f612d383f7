//! Ids as numbers: hashed once, where they enter, and compared as 128 bits from then on.
//!
//! The hash has secrets that this process draws when it starts. So nobody outside can make two ids
//! meet, and that two do by chance is less likely than a fault of the memory: equal fingerprints mean
//! equal ids. A fingerprint says nothing in another process; what is stored is the id itself.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::LazyLock;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// One hash for each half.
static SECRETS: LazyLock<[RapidSecrets; 2]> = LazyLock::new(|| {
    let first = RapidSecrets::random();
    [first, RapidSecrets::seed(first.seed ^ first.secrets[0].rotate_left(32))]
});

/// The fingerprint of an id, or of several in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u64; 2]);

impl Fingerprint {
    /// The fingerprint of one id.
    pub fn of(id: &str) -> Self {
        let [first, second] = &*SECRETS;
        Self([
            rapidhash_v3_seeded(id.as_bytes(), first),
            rapidhash_v3_seeded(id.as_bytes(), second),
        ])
    }

    /// The fingerprint of what this one is of, followed by what `next` is of.
    #[inline]
    pub fn then(self, next: Self) -> Self {
        let mix = |half: usize| {
            let secrets = &SECRETS[half].secrets;
            folded(self.0[half] ^ secrets[1], next.0[half] ^ secrets[2])
        };
        Self([mix(0), mix(1)])
    }
}

/// The product of two numbers in 128 bits, folded to 64.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Hash for Fingerprint {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// A map by fingerprint, which is its own hash.
pub type FingerprintMap<V> = HashMap<Fingerprint, V, BuildHasherDefault<AsItIs>>;

/// Loads what the map holds for a key, without waiting for it.
///
/// Look-ups in a map larger than the cache wait for the memory one after the other. Where a batch of
/// keys is known, a loop of these beforehand lets the processor wait for many of them at once.
#[inline]
pub fn warm<V>(map: &FingerprintMap<V>, key: &Fingerprint) {
    std::hint::black_box(map.get(key));
}

/// Hashes a number that is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not for texts; whole for whatever else is given by mistake.
        bytes.iter().for_each(|byte| self.0 = folded(self.0 ^ u64::from(*byte), !0));
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_ids_and_orders_have_different_fingerprints() {
        let ids = ["", "a", "b", "ab", "a/b", "alice", "alice-phone"];
        let mut met = FingerprintMap::default();
        for first in ids {
            met.insert(Fingerprint::of(first), first.to_owned());
            for second in ids {
                let both = Fingerprint::of(first).then(Fingerprint::of(second));
                assert_eq!(both, Fingerprint::of(first).then(Fingerprint::of(second)));
                met.insert(both, format!("{first} then {second}"));
            }
        }
        assert_eq!(met.len(), ids.len() + ids.len() * ids.len(), "{met:?}");
    }
}
