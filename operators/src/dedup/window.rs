//! The ids that were committed last, of all partitions together.
//!
//! Two generations, each of half the window: when the newer one is full, the older one is forgotten as
//! a whole and the newer one takes its place. So nothing is removed one by one. What is forgotten leaves a
//! flag at its partition.

use imflow_proto::{Fingerprint, FingerprintMap};

use super::original::Original;

pub(super) struct Window {
    half: usize,
    newer: Generation,
    older: Generation,
    /// By partition, whether an id of it was ever forgotten.
    forgot: Vec<bool>,
}

struct Generation {
    originals: FingerprintMap<Original>,
    /// By partition, whether an id of it is here.
    holds: Vec<bool>,
}

impl Generation {
    fn new(partitions: usize) -> Self {
        Self { originals: FingerprintMap::default(), holds: vec![false; partitions] }
    }
}

impl Window {
    pub(super) fn new(max: usize, partitions: usize) -> Self {
        Self {
            half: (max / 2).max(1),
            newer: Generation::new(partitions),
            older: Generation::new(partitions),
            forgot: vec![false; partitions],
        }
    }

    pub(super) fn get(&self, message: Fingerprint) -> Option<&Original> {
        self.newer.originals.get(&message).or_else(|| self.older.originals.get(&message))
    }

    /// Whether an id of the partition may have been committed though it is not here.
    pub(super) fn forgot(&self, partition: usize) -> bool {
        self.forgot[partition]
    }

    /// Whether an id of the partition was ever committed.
    pub(super) fn knew(&self, partition: usize) -> bool {
        self.forgot[partition] || self.newer.holds[partition] || self.older.holds[partition]
    }

    /// Ids of the partition were committed that are not here.
    pub(super) fn note_forgotten(&mut self, partition: usize) {
        self.forgot[partition] = true;
    }

    /// Keeps a message, in place of an earlier one under its id.
    pub(super) fn insert(&mut self, partition: usize, message: Fingerprint, original: Original) {
        if self.newer.originals.len() >= self.half {
            self.turn();
        }
        self.newer.originals.insert(message, original);
        self.newer.holds[partition] = true;
    }

    /// Forgets the older generation and begins a new one in its memory.
    fn turn(&mut self) {
        std::mem::swap(&mut self.newer, &mut self.older);
        self.newer.originals.clear();
        for (held, forgot) in self.newer.holds.iter_mut().zip(&mut self.forgot) {
            *forgot |= std::mem::take(held);
        }
    }
}
