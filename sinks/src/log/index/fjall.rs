//! The tables in fjall, in the folder `index` of the data directory.
//!
//! Messages, ids and amendments are only ever ingested, sorted and a segment at a time, past fjall's journal; the
//! directory goes through the journal. Nothing here is the only copy of anything.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use rustix::fs::FallocateFlags;

use super::ram::Row;
use super::reopen::Opener;
use super::tables::{EachRow, Put, Table, Tables};
use crate::log::LogError;

/// Blocks that fjall keeps in memory.
const CACHE_BYTES: u64 = 64 << 20;
/// Room on the disk below which the tables are not opened anew: they write while they open.
const ROOM: u64 = 16 << 20;

/// A row that says nothing.
const SWEPT: &[u8] = b"!swept";

/// The folder of the tables.
pub(crate) struct FjallFolder(pub PathBuf);

impl Opener for FjallFolder {
    fn check_room(&self) -> Result<(), LogError> {
        let path = self.0.join("room.tmp");
        let probe = || {
            let file = File::create(&path)?;
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, ROOM) {
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        let room = probe();
        let _ = fs::remove_file(&path);
        room.map_err(LogError::io("find room for the index in", path.display().to_string()))
    }

    fn open(&self) -> Result<Arc<dyn Tables>, LogError> {
        Ok(Arc::new(FjallTables::open(&self.0)?))
    }

    fn remove(&self) -> Result<(), LogError> {
        fs::remove_dir_all(&self.0).map_err(LogError::io("remove", self.0.display().to_string()))
    }
}

struct FjallTables {
    database: Database,
    messages: Keyspace,
    ids: Keyspace,
    amendments: Keyspace,
    directory: Keyspace,
}

impl FjallTables {
    /// Opens the tables, or makes them.
    fn open(folder: &Path) -> Result<Self, LogError> {
        let database =
            Database::builder(folder).cache_size(CACHE_BYTES).worker_threads(1).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (messages, ids) = (keyspace("messages")?, keyspace("ids")?);
        let (amendments, directory) = (keyspace("amendments")?, keyspace("directory")?);
        Ok(Self { database, messages, ids, amendments, directory })
    }

    fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Messages => &self.messages,
            Table::Ids => &self.ids,
            Table::Amendments => &self.amendments,
            Table::Directory => &self.directory,
        }
    }
}

impl Tables for FjallTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.keyspace(table).get(key)?.map(|value| value.to_vec()))
    }

    fn last_at_or_before(&self, table: Table, key: &[u8]) -> Result<Option<Row>, LogError> {
        let last = self.keyspace(table).range(..=key).next_back();
        let row = last.map(|row| row.into_inner()).transpose()?;
        Ok(row.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    fn scan(&self, table: Table, from: &[u8], each: EachRow<'_>) -> Result<(), LogError> {
        for row in self.keyspace(table).range(from..) {
            let (key, value) = row.into_inner()?;
            if each(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, changes: Vec<Put>) -> Result<(), LogError> {
        let mut batch = self.database.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.directory, key, value),
                None => batch.remove(&self.directory, key),
            }
        }
        Ok(batch.commit()?)
    }

    fn ingest(&self, table: Table, rows: &mut dyn Iterator<Item = Row>) -> Result<(), LogError> {
        let mut ingestion = self.keyspace(table).start_ingestion()?;
        for (key, value) in rows {
            ingestion.write(key, value)?;
        }
        Ok(ingestion.finish()?)
    }

    fn remove(
        &self,
        table: Table,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), LogError> {
        let mut ingestion = self.keyspace(table).start_ingestion()?;
        for key in keys {
            ingestion.write_tombstone(key)?;
        }
        Ok(ingestion.finish()?)
    }

    fn purge(&self) -> Result<(), LogError> {
        // A rotation drops what the journal and older versions of the tables hold, but only one with something in it.
        let turn = || {
            self.directory.insert(SWEPT, [])?;
            self.directory.rotate_memtable_and_wait()
        };
        turn()?;
        for keyspace in [&self.directory, &self.amendments] {
            keyspace.major_compact()?;
        }
        // The files that were compacted are of a version that the next turns leave behind.
        turn()?;
        Ok(turn()?)
    }

    fn persist(&self) -> Result<(), LogError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}
