//! Keeps the newest snapshot of each partition's state.
//!
//! `NN.snap`: magic 8 | partition u32 | crc32c u32 | lsn u64 | state. Written by one thread (or at once,
//! where files are in memory), replaced whole. A snapshot only saves time: one that cannot be used is ignored with a warning, and the log
//! is replayed from its start. What waits to be written is one snapshot a partition, the newest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use imflow_proto::record::Lsn;
use parking_lot::{Condvar, Mutex};

use super::LogError;
use super::files::Files;
use super::frame::{crc32c, u32_at, u64_at};

const MAGIC: &[u8; 8] = b"imflow\0S";
/// Bytes before what the checksum covers.
const PREFIX: usize = 16;
const HEAD: usize = PREFIX + 8;

pub(crate) struct Snapshots {
    files: Arc<dyn Files>,
    pending: Mutex<Pending>,
    changed: Condvar,
    /// The record up to which each partition's snapshot holds its state.
    kept: Mutex<BTreeMap<u32, Lsn>>,
    /// Nobody runs [`Snapshots::run`].
    at_once: bool,
    /// The last one could not be written.
    is_failing: AtomicBool,
}

#[derive(Default)]
struct Pending {
    newest: BTreeMap<u32, Vec<u8>>,
    stopping: bool,
}

impl Snapshots {
    /// Snapshots that [`Snapshots::run`] writes on a thread of its own.
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            pending: Mutex::default(),
            changed: Condvar::new(),
            kept: Mutex::default(),
            at_once: false,
            is_failing: AtomicBool::new(false),
        }
    }

    /// Snapshots that are written by whoever saves them.
    pub(crate) fn written_at_once(files: Arc<dyn Files>) -> Self {
        Self { at_once: true, ..Self::new(files) }
    }

    /// Hands a snapshot to the writer.
    pub(crate) fn save(&self, partition: u32, lsn: Lsn, state: &[u8]) {
        let mut bytes = Vec::with_capacity(HEAD + state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&partition.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&lsn.to_le_bytes());
        bytes.extend_from_slice(state);
        if self.at_once {
            return self.write(partition, bytes);
        }
        self.pending.lock().newest.insert(partition, bytes);
        self.changed.notify_all();
    }

    /// The newest usable snapshot of a partition that is not ahead of the log.
    pub(crate) fn load(
        &self,
        partition: u32,
        durable: Lsn,
    ) -> Result<Option<(Lsn, Vec<u8>)>, LogError> {
        let name = name(partition);
        let path = self.files.path(&name);
        let Some(mut bytes) = self.files.read(&name).map_err(LogError::io("read", path.clone()))?
        else {
            return Ok(None);
        };
        let Some(lsn) = lsn_of(&bytes).filter(|_| u32_at(&bytes, 8) == partition) else {
            tracing::warn!(
                "the snapshot `{path}` is damaged and ignored; the start takes longer and nothing is lost"
            );
            return Ok(None);
        };
        if lsn > durable {
            tracing::warn!(
                "the snapshot `{path}` is of record {lsn}, the log ends at record {durable}; it is ignored"
            );
            return Ok(None);
        }
        self.kept.lock().insert(partition, lsn);
        bytes.drain(..HEAD);
        Ok(Some((lsn, bytes)))
    }

    /// Writes what is handed over, until told to stop; then writes the rest.
    pub(crate) fn run(&self) {
        loop {
            let mut pending = self.pending.lock();
            let Some((partition, bytes)) = pending.newest.pop_first() else {
                if pending.stopping {
                    return;
                }
                self.changed.wait(&mut pending);
                continue;
            };
            drop(pending);
            self.write(partition, bytes);
        }
    }

    fn write(&self, partition: u32, mut bytes: Vec<u8>) {
        let crc = crc32c(&bytes[PREFIX..]);
        bytes[12..PREFIX].copy_from_slice(&crc.to_le_bytes());
        let name = name(partition);
        if let Err(error) = self.files.replace(&name, &bytes) {
            // What fails for one partition mostly fails for all: a line for the first says so.
            if !self.is_failing.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "cannot write the snapshot `{}`: {error}; the last one stays, and of further ones only that they are written again is told",
                    self.files.path(&name)
                );
            }
            return;
        }
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("snapshots are written again");
        }
        self.kept.lock().insert(partition, u64_at(&bytes, PREFIX));
    }

    /// The record up to which all partitions' state is in snapshots.
    pub(crate) fn covered(&self, partitions: u32) -> Lsn {
        let kept = self.kept.lock();
        (0..partitions)
            .map(|partition| kept.get(&partition).copied().unwrap_or(0))
            .min()
            .unwrap_or(0)
    }

    /// Ends [`Snapshots::run`]
    pub(crate) fn stop(&self) {
        self.pending.lock().stopping = true;
        self.changed.notify_all();
    }
}

/// The record that a whole snapshot is the state of.
pub(crate) fn lsn_of(bytes: &[u8]) -> Option<Lsn> {
    let whole = bytes.len() >= HEAD
        && &bytes[..8] == MAGIC
        && u32_at(bytes, 12) == crc32c(&bytes[PREFIX..]);
    whole.then(|| u64_at(bytes, PREFIX))
}

fn name(partition: u32) -> String {
    format!("{partition:02}.snap")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::files::Memory;

    fn written(states: &[(u32, Lsn, &[u8])]) -> (Arc<Memory>, Snapshots) {
        let files = Arc::new(Memory::default());
        let snapshots = Snapshots::new(files.clone());
        for (partition, lsn, state) in states {
            snapshots.save(*partition, *lsn, state);
        }
        snapshots.stop();
        snapshots.run();
        (files, snapshots)
    }

    #[test]
    fn the_newest_snapshot_is_kept() {
        let (_, snapshots) = written(&[(7, 10, b"old"), (7, 20, b"new"), (8, 5, b"")]);
        assert_eq!(snapshots.load(7, 100).expect("read"), Some((20, b"new".to_vec())));
        assert_eq!(snapshots.load(8, 100).expect("read"), Some((5, Vec::new())));
        assert_eq!(snapshots.load(9, 100).expect("read"), None);
    }

    #[test]
    fn a_snapshot_that_is_damaged_or_ahead_of_the_log_is_ignored() {
        let (files, snapshots) = written(&[(7, 20, b"state")]);
        assert_eq!(snapshots.load(7, 19).expect("read"), None);
        let mut bytes = files.read("07.snap").expect("read").expect("there");
        bytes[HEAD] ^= 1;
        files.replace("07.snap", &bytes).expect("written");
        assert_eq!(snapshots.load(7, 100).expect("read"), None);
    }
}
