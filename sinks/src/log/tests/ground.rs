//! Tables whose ground gives way: writes fail for want of room, a crash forgets what was not durable.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::log::index::{EachRow, Opener, Put, Row, Table};

/// What survives of the tables, and what goes wrong with them.
#[derive(Default)]
pub(super) struct Ground {
    durable: Mutex<Arc<MemoryTables>>,
    /// What was written to the directory and not made durable, in order.
    journal: Mutex<Vec<Vec<Put>>>,
    /// Writes that fail from now on before there is room again.
    pub(super) full_for: AtomicU32,
    /// The next opening finds bytes that it cannot make sense of.
    pub(super) damaged: AtomicBool,
}

impl Ground {
    /// The tables as a crash leaves them, when so many of the changes that were not durable survive.
    pub(super) fn crash(&self, survive: impl FnOnce(usize) -> usize) {
        let mut journal = self.journal.lock();
        let survive = survive(journal.len());
        for changes in journal.drain(..).take(survive) {
            self.durable.lock().write(changes).expect("memory takes all");
        }
    }

    fn check(&self) -> Result<(), LogError> {
        let left = |left: u32| left.checked_sub(1);
        match self.full_for.fetch_update(Ordering::AcqRel, Ordering::Acquire, left) {
            Ok(_) => Err(LogError::io("write", "index")(std::io::ErrorKind::StorageFull.into())),
            Err(_) => Ok(()),
        }
    }
}

pub(super) struct Folder(pub(super) Arc<Ground>);

impl Opener for Folder {
    fn check_room(&self) -> Result<(), LogError> {
        self.0.check()
    }

    fn open(&self) -> Result<Arc<dyn Tables>, LogError> {
        if self.0.damaged.load(Ordering::Acquire) {
            return Err(LogError::Index(fjall::Error::Unrecoverable));
        }
        self.0.journal.lock().clear();
        let live = self.0.durable.lock().copy();
        Ok(Arc::new(Fragile { live, refuses: AtomicBool::new(false), ground: Arc::clone(&self.0) }))
    }

    fn remove(&self) -> Result<(), LogError> {
        self.0.damaged.store(false, Ordering::Release);
        *self.0.durable.lock() = Arc::default();
        self.0.journal.lock().clear();
        Ok(())
    }
}

/// Tables that refuse all writes after one that failed, and keep only what was made durable.
struct Fragile {
    live: MemoryTables,
    refuses: AtomicBool,
    ground: Arc<Ground>,
}

impl Fragile {
    fn check(&self) -> Result<(), LogError> {
        if self.refuses.load(Ordering::Acquire) {
            return Err(LogError::Index(fjall::Error::Poisoned));
        }
        self.ground.check().inspect_err(|_| self.refuses.store(true, Ordering::Release))
    }
}

impl Tables for Fragile {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        self.live.get(table, key)
    }

    fn last_at_or_before(&self, table: Table, key: &[u8]) -> Result<Option<Row>, LogError> {
        self.live.last_at_or_before(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], each: EachRow<'_>) -> Result<(), LogError> {
        self.live.scan(table, from, each)
    }

    fn write(&self, changes: Vec<Put>) -> Result<(), LogError> {
        self.check()?;
        self.ground.journal.lock().push(changes.clone());
        self.live.write(changes)
    }

    fn ingest(&self, table: Table, rows: &mut dyn Iterator<Item = Row>) -> Result<(), LogError> {
        self.check()?;
        let rows: Vec<Row> = rows.collect();
        self.ground.durable.lock().ingest(table, &mut rows.iter().cloned())?;
        self.live.ingest(table, &mut rows.into_iter())
    }

    fn remove(
        &self,
        table: Table,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), LogError> {
        self.check()?;
        let keys: Vec<Vec<u8>> = keys.collect();
        self.ground.durable.lock().remove(table, &mut keys.iter().cloned())?;
        self.live.remove(table, &mut keys.into_iter())
    }

    fn persist(&self) -> Result<(), LogError> {
        self.check()?;
        self.ground.journal.lock().clear();
        *self.ground.durable.lock() = Arc::new(self.live.copy());
        Ok(())
    }
}
