//! Moves sealed segments from RAM into the tables, one at a time and in order.
//!
//! A segment counts as moved when the tables hold its rows and the note that they do, durably; only
//! then it leaves RAM. A crash in between moves it again, to the same rows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Index;
use super::directory::Directory;
use super::ram::RamSegment;
use super::tables::{Table, Tables};
use crate::log::LogError;
use crate::log::space::Space;

/// What becomes of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Its rows go into the tables.
    Ingest,
    /// Simulated runs keep so many of them in memory and forget older ones, files and all.
    Keep(usize),
}

pub(crate) struct Ingester {
    pub index: Arc<Index>,
    pub space: Arc<Space>,
    pub policy: Policy,
    pub inbox: flume::Receiver<Arc<RamSegment>>,
}

impl Ingester {
    /// Moves segments until the indexer has ended.
    pub(crate) fn run(self) {
        let mut kept = VecDeque::new();
        while let Ok(segment) = self.inbox.recv() {
            let moved = match self.policy {
                Policy::Ingest => {
                    self.space.insist("move a segment into the index", || self.take_in(&segment))
                }
                Policy::Keep(limit) => {
                    kept.push_back(segment.number);
                    if kept.len() > limit
                        && let Some(number) = kept.pop_front()
                    {
                        self.forget(number);
                    }
                    true
                }
            };
            if !moved {
                return;
            }
        }
    }

    /// Moves one segment.
    pub(crate) fn take_in(&self, segment: &RamSegment) -> Result<(), LogError> {
        store(segment, &*self.index.tables, &self.index.directory, Policy::Ingest)?;
        self.index.ram.write().drop_segment(segment.number);
        Ok(())
    }

    fn forget(&self, number: u32) {
        self.index.ram.write().drop_segment(number);
        if let Err(error) = self.index.segments.forget(number) {
            tracing::warn!("{error}");
        }
    }
}

/// Writes a segment's rows and the note that they are there.
pub(crate) fn store(
    segment: &RamSegment,
    tables: &dyn Tables,
    directory: &Directory,
    policy: Policy,
) -> Result<(), LogError> {
    if policy != Policy::Ingest {
        return Ok(());
    }
    tables.ingest(Table::Messages, &mut segment.message_rows())?;
    tables.ingest(Table::Ids, &mut segment.id_rows())?;
    directory.set_applied(segment.number, segment.last_lsn)
}
