//! The ids that were committed last, of all partitions together.
//!
//! Two generations, each of half the window: when the newer one is full, the older one is forgotten as
//! a whole and the newer one takes its place. So nothing is removed one by one. What a snapshot needs of
//! an id is written once, when it comes, in the form of the snapshot.

use imflow_proto::{Fingerprint, FingerprintMap};

use super::memory::Original;
use super::scope;
use crate::snapshot::{Reader, Writer};

pub(super) struct Window {
    half: usize,
    newer: Generation,
    older: Generation,
    /// By partition, whether an id of it was ever forgotten.
    forgot: Vec<bool>,
}

struct Generation {
    originals: FingerprintMap<Original>,
    /// By partition, the rows of a snapshot, in the order in which they came.
    rows: Vec<Writer>,
}

impl Generation {
    fn new(partitions: usize) -> Self {
        Self {
            originals: FingerprintMap::default(),
            rows: (0..partitions).map(|_| Writer::default()).collect(),
        }
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

    /// Keeps the message with this conversation, sender and clientMsgId, in place of an earlier one.
    pub(super) fn insert(
        &mut self,
        partition: usize,
        message: Fingerprint,
        ids: [&str; 3],
        original: Original,
    ) {
        if self.newer.originals.len() >= self.half {
            self.turn();
        }
        self.newer.originals.insert(message, original);
        self.newer.rows[partition]
            .joined(&ids, '/')
            .number(original.content)
            .number(original.server_msg_id as u64)
            .number(original.seq)
            .number(original.created_at as u64);
    }

    /// Forgets the older generation and begins a new one in its memory.
    fn turn(&mut self) {
        std::mem::swap(&mut self.newer, &mut self.older);
        self.newer.originals.clear();
        for (rows, forgot) in self.newer.rows.iter_mut().zip(&mut self.forgot) {
            *forgot |= !rows.is_empty();
            rows.clear();
        }
    }

    pub(super) fn export(&self, partition: usize, writer: &mut Writer) {
        writer.append(&self.older.rows[partition]).append(&self.newer.rows[partition]);
    }

    pub(super) fn import(
        &mut self,
        partition: usize,
        forgot: bool,
        reader: &mut Reader<'_>,
    ) -> Result<(), String> {
        self.forgot[partition] |= forgot;
        while !reader.is_empty() {
            let name = reader.text()?;
            let original = Original {
                content: reader.number()?,
                server_msg_id: reader.number()? as i64,
                seq: reader.number()?,
                created_at: reader.number()? as i64,
            };
            let message = scope::fingerprint(name)?;
            if self.get(message).is_none_or(|known| known.seq < original.seq) {
                self.insert(partition, message, scope::parts(name)?, original);
            }
        }
        Ok(())
    }
}
