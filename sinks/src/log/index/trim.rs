//! Cuts old segments off the front of the log, index and all.
//!
//! A segment goes when all in it is older than `keep` and in the copies that hold it, or the log is larger than
//! `keep_bytes`; never before each partition has a snapshot behind it, which a restart then needs. In this order, so that a
//! crash at any moment leaves a log that opens: the base, which folds what goes; the floors of the
//! conversations, below which readers look no more; the rows of the index; the files. A start finishes
//! what was begun.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imflow_proto::record::Lsn;
use parking_lot::Mutex;

use super::age::Age;
use super::{Index, Table, ram, read_segment};
use crate::log::LogError;
use crate::log::base::Base;
use crate::log::files::Files;
use crate::log::snapshots::Snapshots;

/// How much of the log is kept; zeros: all of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    pub time: Duration,
    pub bytes: u64,
}

/// Copies that need what they have not got, and up to where each has all.
#[derive(Default)]
pub(crate) struct Holds(Mutex<BTreeMap<String, Lsn>>);

impl Holds {
    pub(crate) fn set(&self, copy: &str, upto: Lsn) {
        self.0.lock().insert(copy.to_owned(), upto);
    }

    /// Up to where all of them have all.
    fn least(&self) -> Lsn {
        self.0.lock().values().copied().min().unwrap_or(Lsn::MAX)
    }
}

/// Cuts are made for at least one of so many segments, as each writes the base anew.
const SHARE: usize = 16;

pub(crate) struct Trim {
    pub index: Arc<Index>,
    pub files: Arc<dyn Files>,
    pub snapshots: Arc<Snapshots>,
    pub age: Age,
    pub keep: Keep,
    pub partitions: u32,
    pub segment_bytes: u64,
}

impl Trim {
    /// Cuts what is due.
    pub(crate) fn step(&mut self) -> Result<(), LogError> {
        let Some(upto) = self.due()? else { return Ok(()) };
        let _cutting = self.index.cutting.lock();
        Base::load(&*self.files)?.and(&self.index.segments, upto)?.store(&*self.files)?;
        finish(&self.index, upto)?;
        tracing::info!("the log was cut up to segment {upto}, as `keep` and `keep_bytes` want it");
        Ok(())
    }

    /// The last segment to cut.
    fn due(&mut self) -> Result<Option<u32>, LogError> {
        if self.keep.time.is_zero() && self.keep.bytes == 0 {
            return Ok(None);
        }
        let covered = self.snapshots.covered(self.partitions);
        let (applied, _) = self.index.directory.applied()?;
        let held = self.index.holds.least();
        let firsts = self.index.segments.firsts();
        let (mut upto, mut count) = (None, 0);
        for pair in firsts.windows(2) {
            let ((number, _), (_, next_lsn)) = (pair[0], pair[1]);
            let bytes = (firsts.len() - count) as u64 * self.segment_bytes;
            let is_over = self.keep.bytes > 0 && bytes > self.keep.bytes;
            let goes = is_over || next_lsn - 1 <= held && self.is_old(number)?;
            if number > applied || next_lsn - 1 > covered || !goes {
                break;
            }
            (upto, count) = (Some(number), count + 1);
        }
        Ok(upto.filter(|_| count >= (firsts.len() / SHARE).max(1)))
    }

    /// Whether all messages of a segment are older than `keep`.
    fn is_old(&mut self, number: u32) -> Result<bool, LogError> {
        let keep = self.keep.time;
        Ok(!keep.is_zero() && self.age.is_past(keep, &self.index.segments, number)?)
    }
}

/// Takes what a base covers out of the index and off the disk.
pub(crate) fn finish(index: &Index, upto: u32) -> Result<(), LogError> {
    for number in index.segments.numbers().into_iter().filter(|number| *number <= upto) {
        if number > index.directory.trimmed()? {
            forget_rows(index, number)?;
        }
        index.segments.forget(number)?;
    }
    Ok(())
}

fn forget_rows(index: &Index, number: u32) -> Result<(), LogError> {
    // The facts and cursors in it are in the directory already, which passes over them.
    let read = read_segment(&index.segments, &index.directory, number, Lsn::MAX, &[])?;
    {
        let _writing = index.writing.lock();
        index.directory.set_floors(read.last_seqs())?;
    }
    index.tables.remove(Table::Messages, &mut read.message_rows().map(|(key, _)| key))?;
    // What was done to a message stands behind it; what was done in this segment was done to messages that go too.
    index.tables.remove(Table::Amendments, &mut read.amendment_rows().map(|(key, _)| key))?;
    let mut ids = Vec::new();
    for (key, _) in read.id_rows() {
        let place = index.tables.get(Table::Ids, &key)?.and_then(|value| ram::read_place(&value));
        // A row that points elsewhere belongs to a later message.
        ids.extend(place.filter(|place| place.segment == number).map(|_| key));
    }
    if !ids.is_empty() {
        index.tables.remove(Table::Ids, &mut ids.into_iter())?;
    }
    let _writing = index.writing.lock();
    index.directory.set_trimmed(number, read.newest_ms)?;
    index.tables.persist()
}
