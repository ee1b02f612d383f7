//! Tables that can be opened anew while the service runs.
//!
//! A store on a disk takes no further write after one that failed, since what it holds is unknown then; a
//! full disk is enough. Reads go on. Opened anew it holds a prefix of what it was given; what is missing
//! is read from the log again before anybody sees the tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::ram::Row;
use super::tables::{CatchUp, EachRow, Put, Table, Tables};
use crate::log::LogError;

/// What opens the tables.
pub(crate) trait Opener: Send + Sync {
    /// Fails while there is no room to open the tables and to write to them.
    fn check_room(&self) -> Result<(), LogError>;
    fn open(&self) -> Result<Arc<dyn Tables>, LogError>;
    /// Removes tables that cannot be opened. The log holds all that they held.
    fn remove(&self) -> Result<(), LogError>;
}

pub(crate) struct Reopening {
    opener: Box<dyn Opener>,
    /// `None` while they are opened anew. Held for reading during each call, so that nobody has the old
    /// tables when the new ones are opened: no call may come from inside another.
    current: RwLock<Option<Arc<dyn Tables>>>,
    generation: AtomicU64,
}

impl Reopening {
    pub(crate) fn open(opener: Box<dyn Opener>) -> Result<Self, LogError> {
        let current = RwLock::new(Some(opener.open()?));
        Ok(Self { opener, current, generation: AtomicU64::new(0) })
    }

    fn with<T>(
        &self,
        call: impl FnOnce(&dyn Tables) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        match &*self.current.read() {
            Some(tables) => call(&**tables),
            None => Err(LogError::Reopening),
        }
    }

    fn reopened(&self) -> Result<Arc<dyn Tables>, LogError> {
        match self.opener.open() {
            Err(error) if !error.is_of_the_disk() => {
                tracing::warn!("{error}; it is removed and rebuilt from the log");
                self.opener.remove()?;
                self.opener.open()
            }
            opened => opened,
        }
    }
}

impl Tables for Reopening {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        self.with(|tables| tables.get(table, key))
    }

    fn last_at_or_before(&self, table: Table, key: &[u8]) -> Result<Option<Row>, LogError> {
        self.with(|tables| tables.last_at_or_before(table, key))
    }

    fn scan(&self, table: Table, from: &[u8], each: EachRow<'_>) -> Result<(), LogError> {
        self.with(|tables| tables.scan(table, from, each))
    }

    fn write(&self, changes: Vec<Put>) -> Result<(), LogError> {
        self.with(|tables| tables.write(changes))
    }

    fn ingest(&self, table: Table, rows: &mut dyn Iterator<Item = Row>) -> Result<(), LogError> {
        self.with(|tables| tables.ingest(table, rows))
    }

    fn remove(
        &self,
        table: Table,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), LogError> {
        self.with(|tables| tables.remove(table, keys))
    }

    fn persist(&self) -> Result<(), LogError> {
        self.with(|tables| tables.persist())
    }

    fn purge(&self) -> Result<(), LogError> {
        self.with(|tables| tables.purge())
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn reopen(&self, catch_up: CatchUp<'_>) -> Result<(), LogError> {
        // While there is no room, the old ones can at least be read.
        self.opener.check_room()?;
        *self.current.write() = None;
        self.generation.fetch_add(1, Ordering::AcqRel);
        let tables = self.reopened()?;
        catch_up(&tables)?;
        *self.current.write() = Some(tables);
        Ok(())
    }
}
