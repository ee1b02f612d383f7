//! What the disk alone can do: append and fdatasync in a loop, without a server.
//!
//! Runs in the same minute, on the same file system and with the same kind of file as the log (zeroed
//! before, so that a sync writes no metadata), so that the server's figures can be read as ratios.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::failure::{Context as _, Failure};
use crate::histogram::Histogram;
use crate::report::grouped;

/// One message's record, about: 256 B of text and what is around it.
const RECORD: usize = 512;
const FILE_BYTES: u64 = 64 << 20;
/// Most records in one write, as in the log.
const GROUP: usize = 1_000;

/// What one loop did.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawLoop {
    pub(crate) latencies: Histogram,
    elapsed: Duration,
}

impl RawLoop {
    /// Adds another run of the same loop.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.elapsed += other.elapsed;
    }

    pub(crate) fn summary(&self) -> String {
        let rate = self.latencies.count() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON);
        format!("{} records/s, {}", grouped(rate as u64), self.latencies.summary())
    }
}

/// A zeroed file that is written round and round.
pub(crate) struct RawFile {
    file: File,
    offset: u64,
    group: Vec<u8>,
}

impl RawFile {
    pub(crate) fn create(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("raw");
        let doing = || format!("preparing {} for the raw loop", path.display());
        let file = File::create(&path).context(doing)?;
        let zeros = vec![0; 1 << 20];
        for megabyte in 0..FILE_BYTES >> 20 {
            file.write_all_at(&zeros, megabyte << 20).context(doing)?;
        }
        file.sync_all().context(doing)?;
        Ok(Self { file, offset: 0, group: vec![0xA5; RECORD * GROUP] })
    }

    /// Records come due at a fixed rate; each write takes what is due. Latency counts from the due time.
    pub(crate) fn open_loop(&mut self, rate: u64, length: Duration) -> Result<RawLoop, Failure> {
        let mut latencies = Histogram::default();
        let begin = Instant::now();
        let due_at = |record: u64| Duration::from_nanos(record * 1_000_000_000 / rate.max(1));
        let total = rate * length.as_millis() as u64 / 1_000;
        let mut next = 0;
        while next < total {
            if let Some(wait) = due_at(next).checked_sub(begin.elapsed()) {
                std::thread::sleep(wait);
            }
            let now = begin.elapsed();
            let due = (next..total).take(GROUP).take_while(|record| due_at(*record) <= now).count()
                as u64;
            if due == 0 {
                continue;
            }
            self.append(due as usize)?;
            let done = begin.elapsed();
            (next..next + due)
                .for_each(|record| latencies.record((done - due_at(record)).as_nanos() as u64));
            next += due;
        }
        Ok(RawLoop { latencies, elapsed: begin.elapsed() })
    }

    /// One group after the other, as fast as they return.
    pub(crate) fn closed_loop(
        &mut self,
        group: usize,
        length: Duration,
    ) -> Result<RawLoop, Failure> {
        let mut latencies = Histogram::default();
        let begin = Instant::now();
        while begin.elapsed() < length {
            let before = Instant::now();
            self.append(group)?;
            let ns = before.elapsed().as_nanos() as u64;
            (0..group).for_each(|_| latencies.record(ns));
        }
        Ok(RawLoop { latencies, elapsed: begin.elapsed() })
    }

    fn append(&mut self, records: usize) -> Result<(), Failure> {
        let bytes = &self.group[..records.min(GROUP) * RECORD];
        if self.offset + bytes.len() as u64 > FILE_BYTES {
            self.offset = 0;
        }
        let doing = || "appending in the raw loop".to_owned();
        self.file.write_all_at(bytes, self.offset).context(doing)?;
        self.file.sync_data().context(doing)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_due_record_is_written_and_timed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = RawFile::create(folder.path()).expect("a file");
        let raw = file.open_loop(1_000, Duration::from_millis(50)).expect("writes");
        assert_eq!(raw.latencies.count(), 50);
    }
}
