//! How far the tables are: rows of the directory that say what they hold and what has left them.
//!
//! ```text
//! f conversation -> the last seq that was cut off the log
//! !facts -> lsn of the last fact in here        !applied -> last segment in the tables, its last lsn
//! !format -> version of all rows, u64 (absent: 1)
//! !purged -> last segment whose ids have left the tables     !trimmed -> last one that was cut
//! !removed -> latest time of a message that was cut
//! ```

use imflow_proto::record::Lsn;

use super::directory::{Directory, FACTS, read_u64};
use super::tables::{self, Put, Table};
use crate::log::LogError;

const APPLIED: &[u8] = b"!applied";
const FORMAT: &[u8] = b"!format";
const PURGED: &[u8] = b"!purged";
const TRIMMED: &[u8] = b"!trimmed";
const REMOVED: &[u8] = b"!removed";

impl Directory {
    /// The LSN of the last fact that is in.
    pub(crate) fn facts_lsn(&self) -> Result<Lsn, LogError> {
        Ok(self.tables.get(Table::Directory, FACTS)?.map_or(0, |value| read_u64(&value)))
    }

    /// The last segment that the tables hold, and its last LSN; zeros when there is none.
    pub(crate) fn applied(&self) -> Result<(u32, Lsn), LogError> {
        let value = self.tables.get(Table::Directory, APPLIED)?;
        Ok(value
            .filter(|value| value.len() == 16)
            .map_or((0, 0), |value| (read_u64(&value[..8]) as u32, read_u64(&value[8..]))))
    }

    /// Notes that the tables hold this segment, durably.
    pub(crate) fn set_applied(&self, segment: u32, last_lsn: Lsn) -> Result<(), LogError> {
        let value = [u64::from(segment).to_le_bytes(), last_lsn.to_le_bytes()].concat();
        self.tables.write(vec![(APPLIED.to_vec(), Some(value))])?;
        self.tables.persist()
    }

    /// The version of the format of the tables' rows, if it is noted.
    pub(crate) fn format(&self) -> Result<Option<u64>, LogError> {
        let value = self.tables.get(Table::Directory, FORMAT)?;
        Ok(value.map(|value| read_u64(&value)))
    }

    /// Notes the version of the format of the tables' rows.
    pub(crate) fn set_format(&self, version: u64) -> Result<(), LogError> {
        self.tables.write(vec![(FORMAT.to_vec(), Some(version.to_le_bytes().to_vec()))])
    }

    /// The last segment whose ids have left the tables; 0 when there is none.
    pub(crate) fn purged(&self) -> Result<u32, LogError> {
        let value = self.tables.get(Table::Directory, PURGED)?;
        Ok(value.map_or(0, |value| read_u64(&value) as u32))
    }

    /// Notes that this segment's ids have left the tables. Losing the note costs doing it again.
    pub(crate) fn set_purged(&self, segment: u32) -> Result<(), LogError> {
        let value = u64::from(segment).to_le_bytes().to_vec();
        self.tables.write(vec![(PURGED.to_vec(), Some(value))])
    }

    /// The last segment whose rows have left the tables because it was cut; 0 when there is none.
    pub(crate) fn trimmed(&self) -> Result<u32, LogError> {
        let value = self.tables.get(Table::Directory, TRIMMED)?;
        Ok(value.map_or(0, |value| read_u64(&value) as u32))
    }

    /// The latest time of a message that was cut off the log; `None`: none was.
    pub(crate) fn removed_until(&self) -> Result<Option<i64>, LogError> {
        let value = self.tables.get(Table::Directory, REMOVED)?;
        // What was cut before this was noted may be of any time.
        let unknown = || Ok((self.trimmed()? > 0).then_some(i64::MAX));
        value.map_or_else(unknown, |value| Ok(Some(read_u64(&value) as i64)))
    }

    /// Notes that this segment's rows have left the tables, and the latest time of a message of it.
    pub(crate) fn set_trimmed(&self, segment: u32, newest_ms: i64) -> Result<(), LogError> {
        let known = self.tables.get(Table::Directory, REMOVED)?;
        // Along the log times rise, save where the clock was set back.
        let newest_ms = known.map_or(newest_ms, |known| newest_ms.max(read_u64(&known) as i64));
        let segment = u64::from(segment).to_le_bytes().to_vec();
        let newest_ms = newest_ms.to_le_bytes().to_vec();
        self.tables
            .write(vec![(TRIMMED.to_vec(), Some(segment)), (REMOVED.to_vec(), Some(newest_ms))])
    }

    /// The last seq of a conversation that was cut off the log; 0 when there is none.
    pub(crate) fn floor(&self, conversation_id: &str) -> Result<u64, LogError> {
        let value = self.tables.get(Table::Directory, &floor_key(conversation_id))?;
        Ok(value.map_or(0, |value| read_u64(&value)))
    }

    /// The highest seq of a conversation in the tables, or up to which its messages were cut off the log;
    /// 0 when there was none.
    pub(crate) fn last_seq(&self, conversation_id: &str) -> Result<u64, LogError> {
        match tables::last_seq(&*self.tables, conversation_id)? {
            0 => self.floor(conversation_id),
            seq => Ok(seq),
        }
    }

    /// Notes up to which seq conversations are being cut; they only rise.
    pub(crate) fn set_floors<'i>(
        &self,
        floors: impl Iterator<Item = (&'i str, u64)>,
    ) -> Result<(), LogError> {
        let row = |(id, seq): (&str, u64)| (floor_key(id), Some(seq.to_le_bytes().to_vec()));
        let rows: Vec<Put> = floors.map(row).collect();
        rows.chunks(1_000).try_for_each(|rows| self.tables.write(rows.to_vec()))
    }
}

fn floor_key(conversation_id: &str) -> Vec<u8> {
    [b"f", conversation_id.as_bytes()].concat()
}
