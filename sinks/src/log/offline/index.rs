//! Makes the index of a log anew.

use std::sync::Arc;

use super::OfflineLog;
use crate::log::LogError;
use crate::log::index::{FjallFolder, Policy, Reopening, Tables, rebuild};
use crate::log::recover::recover;
use crate::log::segments::Segments;

/// What was read for it.
#[derive(Debug)]
pub struct Rebuilt {
    pub segments: usize,
    pub records: u64,
}

impl OfflineLog {
    /// Removes the index and makes it anew, as a start without one would.
    ///
    /// # Errors
    /// When a service runs on the directory, the log is damaged, or the disk fails.
    pub fn rebuild_index(&self) -> Result<Rebuilt, LogError> {
        let _lock = self.lock()?;
        let segment = self.segments()?.last().map(|segment| segment.file.size());
        let Some(segment) = segment else {
            let text = format!("there is no segment in `{}`", self.data.join("log").display());
            return Err(LogError::Refused(text));
        };
        let found = recover(&*self.files, segment)?;
        self.remove_index()?;
        let index = self.data.join("index");
        let tables: Arc<dyn Tables> = Arc::new(Reopening::open(Box::new(FjallFolder(index)))?);
        let records = found.tail.next_lsn - 1;
        let segments = Segments::new(Arc::clone(&self.files) as _, found.known);
        rebuild(&segments, &tables, records, Policy::Ingest)?;
        tables.persist()?;
        Ok(Rebuilt { segments: segments.numbers().len(), records })
    }
}
