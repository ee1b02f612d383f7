//! Moves sealed segments from RAM into the tables, one at a time and in order.
//!
//! A segment counts as moved when the tables hold its rows and the note that they do, durably; only
//! then it leaves RAM. A crash in between moves it again, to the same rows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::directory::Directory;
use super::ram::RamSegment;
use super::tables::{Table, Tables};
use super::{Cool, Index, Retention, Trim};
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
    index: Arc<Index>,
    space: Arc<Space>,
    policy: Policy,
    retention: Retention,
    pub(crate) trim: Trim,
    pub(crate) cool: Cool,
    /// Sealed segments that are kept in memory, oldest first.
    kept: VecDeque<u32>,
}

impl Ingester {
    pub(crate) fn new(
        index: Arc<Index>,
        space: Arc<Space>,
        policy: Policy,
        retention: Retention,
        trim: Trim,
        cool: Cool,
    ) -> Self {
        Self { index, space, policy, retention, trim, cool, kept: VecDeque::new() }
    }

    /// Takes segments until the indexer has ended.
    pub(crate) fn run(mut self, inbox: &flume::Receiver<Arc<RamSegment>>) {
        while let Ok(segment) = inbox.recv() {
            if !self.take(&segment) {
                return;
            }
        }
    }

    /// Takes one sealed segment; `false`: the service stops before it could be moved.
    pub(crate) fn take(&mut self, segment: &RamSegment) -> bool {
        match self.policy {
            Policy::Ingest => {
                let moved = self
                    .index
                    .insist(&self.space, "move a segment into the index", || self.move_in(segment));
                if moved {
                    self.purge();
                    self.trim();
                    self.cool();
                }
                moved
            }
            Policy::Keep(limit) => {
                self.kept.push_back(segment.number);
                if self.kept.len() > limit
                    && let Some(number) = self.kept.pop_front()
                {
                    self.forget(number);
                }
                true
            }
        }
    }

    /// Takes old ids out of the tables, a bounded number of them.
    pub(crate) fn purge(&mut self) {
        if let Err(error) = self.retention.step() {
            tracing::warn!(
                "{error}; ids older than `retain` stay in the index until the next segment is full"
            );
        }
    }

    /// Cuts the oldest segments, where they are not wanted any more.
    pub(crate) fn trim(&mut self) {
        if let Err(error) = self.trim.step() {
            tracing::warn!("{error}; the oldest segments stay until the next one is full");
        }
    }

    /// Moves old segments to the archive, if there is one.
    pub(crate) fn cool(&mut self) {
        if let Err(error) = self.cool.step() {
            tracing::error!(
                "{error}; old segments stay in the log's folder until the next one is full"
            );
        }
    }

    /// Moves one segment into the tables.
    pub(crate) fn move_in(&self, segment: &RamSegment) -> Result<(), LogError> {
        let generation = self.index.tables.generation();
        store_rows(segment, &*self.index.tables)?;
        {
            let _writing = self.index.writing.lock();
            if self.index.tables.generation() != generation {
                // The rows may have been forgotten; they are written again.
                return Err(LogError::Reopening);
            }
            self.index.directory.set_written(segment.last_written())?;
            self.index.directory.set_applied(segment.number, segment.last_lsn)?;
        }
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
    store_rows(segment, tables)?;
    directory.set_written(segment.last_written())?;
    directory.set_applied(segment.number, segment.last_lsn)
}

fn store_rows(segment: &RamSegment, tables: &dyn Tables) -> Result<(), LogError> {
    tables.ingest(Table::Messages, &mut segment.message_rows())?;
    tables.ingest(Table::Ids, &mut segment.id_rows())?;
    tables.ingest(Table::Amendments, &mut segment.amendment_rows())
}
