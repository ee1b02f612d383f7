//! The sorted tables behind the index, and their form in memory.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use parking_lot::RwLock;

use super::ram::{self, Row};
use crate::log::LogError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Where a conversation's messages stand; see [`super::ram`].
    Messages,
    /// Where the message of a clientMsgId stands.
    Ids,
    /// What later entries have made of messages; see [`super::amendments`].
    Amendments,
    /// Conversations, members, mutes, bans, and how far the tables have followed the log.
    Directory,
}

/// A change of the directory: a key and its new value, or none.
pub(crate) type Put = (Vec<u8>, Option<Vec<u8>>);

/// Takes a row; says whether to go on.
pub(crate) type EachRow<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Brings tables up to the log.
pub(crate) type CatchUp<'c> = &'c dyn Fn(&Arc<dyn Tables>) -> Result<(), LogError>;

pub(crate) trait Tables: Send + Sync {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LogError>;
    /// The last row whose key is at most `key`.
    fn last_at_or_before(&self, table: Table, key: &[u8]) -> Result<Option<Row>, LogError>;
    /// Visits the rows from `from` on, in order.
    fn scan(&self, table: Table, from: &[u8], each: EachRow<'_>) -> Result<(), LogError>;
    /// Changes the directory, all or nothing; durable after [`Tables::persist`], in order before.
    fn write(&self, changes: Vec<Put>) -> Result<(), LogError>;
    /// Adds sorted rows; durable once it returns.
    fn ingest(&self, table: Table, rows: &mut dyn Iterator<Item = Row>) -> Result<(), LogError>;
    /// Removes rows, given sorted; durable once it returns.
    fn remove(&self, table: Table, keys: &mut dyn Iterator<Item = Vec<u8>>)
    -> Result<(), LogError>;
    /// Makes all changes of the directory durable.
    fn persist(&self) -> Result<(), LogError>;
    /// Takes what was removed or replaced off the disk.
    fn purge(&self) -> Result<(), LogError> {
        Ok(())
    }
    /// How often the tables were opened anew. What was read before may be missing after.
    fn generation(&self) -> u64 {
        0
    }
    /// Opens them anew after [`LogError::refuses_writes`]; `catch_up` writes what they forgot.
    fn reopen(&self, _catch_up: CatchUp<'_>) -> Result<(), LogError> {
        Ok(())
    }
}

/// The highest seq of a conversation that the tables know; 0 when it has no messages there.
pub(crate) fn last_seq(tables: &dyn Tables, conversation_id: &str) -> Result<u64, LogError> {
    let last =
        tables.last_at_or_before(Table::Messages, &ram::run_key(conversation_id, u64::MAX))?;
    let seq = last.and_then(|(key, value)| {
        Some(ram::run_start(conversation_id, &key)? + ram::run_len(&value) as u64 - 1)
    });
    Ok(seq.unwrap_or(0))
}

/// Visits the rows whose keys begin with `prefix`.
pub(crate) fn each_with_prefix(
    tables: &dyn Tables,
    table: Table,
    prefix: &[u8],
    each: EachRow<'_>,
) -> Result<(), LogError> {
    tables.scan(table, prefix, &mut |key, value| match key.starts_with(prefix) {
        true => each(key, value),
        false => ControlFlow::Break(()),
    })
}

/// Tables in memory, for simulated runs and tests.
#[derive(Default)]
pub(crate) struct MemoryTables([RwLock<BTreeMap<Vec<u8>, Vec<u8>>>; 4]);

impl MemoryTables {
    #[cfg(test)]
    pub(crate) fn copy(&self) -> Self {
        Self(std::array::from_fn(|table| RwLock::new(self.0[table].read().clone())))
    }

    fn table(&self, table: Table) -> &RwLock<BTreeMap<Vec<u8>, Vec<u8>>> {
        &self.0[table as usize]
    }
}

impl Tables for MemoryTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.table(table).read().get(key).cloned())
    }

    fn last_at_or_before(&self, table: Table, key: &[u8]) -> Result<Option<Row>, LogError> {
        let rows = self.table(table).read();
        let last = rows.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn scan(&self, table: Table, from: &[u8], each: EachRow<'_>) -> Result<(), LogError> {
        let rows = self.table(table).read();
        for (key, value) in rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            if each(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, changes: Vec<Put>) -> Result<(), LogError> {
        let mut rows = self.table(Table::Directory).write();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn ingest(&self, table: Table, rows: &mut dyn Iterator<Item = Row>) -> Result<(), LogError> {
        self.table(table).write().extend(rows);
        Ok(())
    }

    fn remove(
        &self,
        table: Table,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), LogError> {
        let mut rows = self.table(table).write();
        keys.for_each(|key| drop(rows.remove(&key)));
        Ok(())
    }

    fn persist(&self) -> Result<(), LogError> {
        Ok(())
    }
}
