//! What is left of the records that were cut off the front of the log.
//!
//! The log is the truth, and everything else a fold of it; so whoever cuts must keep the fold of what
//! goes: the directory as the facts added up to it, and how far each conversation had come. `BASE` in the
//! log's folder, replaced whole before the first segment goes:
//! ```text
//! magic 8 | version u32 | crc32c u32 | segment u32 | lsn u64 | (key len u32, key, value len u32, value)*
//! ```
//! The rows are those of the index's directory. Making it takes memory for all of them, for a moment.

use std::ops::ControlFlow;
use std::sync::Arc;

use imflow_proto::record::Lsn;

use super::LogError;
use super::erase::Subject;
use super::files::Files;
use super::frame::{crc32c, u32_at, u64_at};
use super::index::{Directory, MemoryTables, Row, Table, Tables, read_segment};
use super::segments::Segments;

pub(crate) const NAME: &str = "BASE";
const MAGIC: &[u8; 8] = b"imflow\0B";
const VERSION: u32 = 1;
/// Bytes before what the checksum covers.
const PREFIX: usize = 16;
const HEAD: usize = PREFIX + 12;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// The last segment that was cut, and its last record.
    pub segment: u32,
    pub lsn: Lsn,
    pub rows: Vec<Row>,
}

impl Base {
    /// The base of a log; one of nothing when nothing was cut.
    pub(crate) fn load(files: &dyn Files) -> Result<Self, LogError> {
        let path = files.path(NAME);
        let bytes = files.read(NAME).map_err(LogError::io("read", path.clone()))?;
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        let damaged = |found: &str| LogError::Damaged { path, offset: 0, found: found.into() };
        if bytes.len() < HEAD || &bytes[..8] != MAGIC {
            return Err(damaged("it does not begin as the base of a log"));
        }
        let version = u32_at(&bytes, 8);
        if version != VERSION {
            return Err(LogError::Refused(format!(
                "`{}` has format version {version}, and this build reads version {VERSION}; start the build that wrote it",
                files.path(NAME)
            )));
        }
        if u32_at(&bytes, 12) != crc32c(&bytes[PREFIX..]) {
            return Err(damaged("its checksum does not match"));
        }
        let rows = rows(&bytes[HEAD..]).ok_or_else(|| damaged("a row in it is cut short"))?;
        Ok(Self { segment: u32_at(&bytes, PREFIX), lsn: u64_at(&bytes, PREFIX + 4), rows })
    }

    /// Keeps this base in place of the one before.
    pub(crate) fn store(&self, files: &dyn Files) -> Result<(), LogError> {
        let mut bytes = vec![0; HEAD];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[PREFIX..PREFIX + 4].copy_from_slice(&self.segment.to_le_bytes());
        bytes[PREFIX + 4..HEAD].copy_from_slice(&self.lsn.to_le_bytes());
        for part in self.rows.iter().flat_map(|(key, value)| [key, value]) {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let crc = crc32c(&bytes[PREFIX..]);
        bytes[12..PREFIX].copy_from_slice(&crc.to_le_bytes());
        files.replace(NAME, &bytes).map_err(LogError::io("write", files.path(NAME)))
    }

    /// Takes out of the base of a log what an erasure does.
    pub(crate) fn erase(files: &dyn Files, subject: &Subject) -> Result<(), LogError> {
        let mut base = Self::load(files)?;
        match Directory::erase_rows(subject, &mut base.rows) {
            true => base.store(files),
            false => Ok(()),
        }
    }

    /// Puts the rows into an index that was never told of them.
    pub(crate) fn fill(&self, tables: &dyn Tables) -> Result<(), LogError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        for rows in self.rows.chunks(1_000) {
            let put = |(key, value): &Row| (key.clone(), Some(value.clone()));
            tables.write(rows.iter().map(put).collect())?;
        }
        tables.persist()
    }

    /// The base of a log that lacks the segments up to `upto` as well.
    pub(crate) fn and(&self, segments: &Segments, upto: u32) -> Result<Self, LogError> {
        let tables: Arc<dyn Tables> = Arc::new(MemoryTables::default());
        self.fill(&*tables)?;
        let directory = Directory::new(Arc::clone(&tables));
        let mut lsn = self.lsn;
        let more = |number: &u32| *number > self.segment && *number <= upto;
        for number in segments.numbers().into_iter().filter(more) {
            let read = read_segment(segments, &directory, number, Lsn::MAX, &[])?;
            directory.set_written(read.last_written())?;
            directory.set_floors(read.last_seqs())?;
            directory.set_trimmed(number, read.newest_ms)?;
            directory.set_applied(number, read.last_lsn)?;
            lsn = read.last_lsn;
        }
        let mut rows = Vec::new();
        tables.scan(Table::Directory, b"", &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        Ok(Self { segment: upto, lsn, rows })
    }
}

fn rows(mut bytes: &[u8]) -> Option<Vec<Row>> {
    let mut take = || -> Option<Vec<u8>> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(part.to_vec())
    };
    let mut rows = Vec::new();
    while let Some(key) = take() {
        rows.push((key, take()?));
    }
    bytes.is_empty().then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::files::Memory;

    #[test]
    fn a_base_is_read_as_written_and_any_flipped_byte_shows() {
        let files = Memory::default();
        assert_eq!(Base::load(&files).expect("none"), Base::default());
        let rows = vec![(b"a".to_vec(), b"".to_vec()), (b"b".to_vec(), b"xyz".to_vec())];
        let base = Base { segment: 3, lsn: 77, rows };
        base.store(&files).expect("written");
        assert_eq!(Base::load(&files).expect("read"), base);
        let bytes = files.read(NAME).expect("read").expect("there");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            files.replace(NAME, &flipped).expect("written");
            Base::load(&files).expect_err("damaged or of another version");
        }
    }
}
