//! What the runtime recovers from: the log read through, the directory told as facts, the snapshots.

use std::sync::Arc;

use imflow_kind::{Bookmark, Durable, Gate, Journal, Logged, StoreError};
use imflow_proto::log::{CursorsMoved, Fact};
use imflow_proto::record::{Committed, CommittedFact, Lsn, Moved};
use prost::Message as _;

use super::LogError;
use super::frame::{CURSORS, FACT, MESSAGE};
use super::index::Index;
use super::segments::{Place, Visited};
use super::snapshots::Snapshots;

/// Of one read for a follower.
const READ_BYTES: usize = 1 << 20;

pub(crate) struct LogJournal {
    pub index: Arc<Index>,
    pub snapshots: Arc<Snapshots>,
    pub gate: Gate,
}

impl LogJournal {
    fn replay_durable(
        &self,
        after: Lsn,
        visit: &mut dyn FnMut(Durable<'_>),
    ) -> Result<(), LogError> {
        let segments = &self.index.segments;
        let first = segments.firsts().first().map_or(1, |(_, first)| *first);
        if after + 1 < first {
            return Err(LogError::Refused(format!(
                "the state of the operators is wanted from record {} on, and the log begins with record {first}, since `keep` or \
                 `keep_bytes` cut it: a snapshot is missing or damaged; restore the folder `snapshots` from a backup",
                after + 1
            )));
        }
        segments.visit(after, self.durable_lsn(), &mut |record| {
            let lsn = record.lsn;
            let unreadable = |error: prost::DecodeError| {
                let place = record.place;
                segments.damaged(place.segment, u64::from(place.offset), &error.to_string())
            };
            match record.kind {
                MESSAGE => {
                    let message = record.message().map_err(unreadable)?;
                    visit(Durable::Message(&Committed::recovered(lsn, message)));
                }
                CURSORS => {
                    let moves = CursorsMoved::decode(record.payload).map_err(unreadable)?;
                    visit(Durable::Moved(&Moved { lsn, moves: Arc::new(moves) }));
                }
                _ => {}
            }
            Ok(())
        })
    }
}

impl LogJournal {
    fn logged(&self, record: Visited<'_>) -> Result<Option<Logged>, LogError> {
        let damaged = |error: prost::DecodeError| {
            let Place { segment, offset, .. } = record.place;
            self.index.segments.damaged(segment, u64::from(offset), &error.to_string())
        };
        Ok(match record.kind {
            MESSAGE => {
                let message = record.message().map_err(damaged)?;
                Some(Logged::Message(Box::new(Committed::recovered(record.lsn, message))))
            }
            FACT => {
                let fact = Arc::new(Fact::decode(record.payload).map_err(damaged)?);
                Some(Logged::Fact(CommittedFact { lsn: record.lsn, fact }))
            }
            _ => None,
        })
    }
}

impl Journal for LogJournal {
    fn read_on(&self, bookmark: &mut Bookmark, limit: usize) -> Result<Vec<Logged>, StoreError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let segments = &self.index.segments;
        segments.read_on(bookmark, self.durable_lsn(), &mut |record| {
            bytes += record.payload.len();
            records.extend(self.logged(record)?);
            Ok(records.len() < limit && bytes < READ_BYTES)
        })?;
        Ok(records)
    }

    fn replay_facts(
        &self,
        upto: Lsn,
        visit: &mut dyn FnMut(CommittedFact),
    ) -> Result<(), StoreError> {
        let segments = &self.index.segments;
        segments.visit(0, upto.min(self.durable_lsn()), &mut |record| {
            if record.kind == FACT
                && let Some(Logged::Fact(fact)) = self.logged(record)?
            {
                visit(fact);
            }
            Ok(())
        })?;
        Ok(())
    }

    fn replay(&self, after: Lsn, visit: &mut dyn FnMut(Durable<'_>)) -> Result<(), StoreError> {
        Ok(self.replay_durable(after, visit)?)
    }

    fn facts(&self, visit: &mut dyn FnMut(Fact)) -> Result<(), StoreError> {
        self.index.caught_up()?;
        Ok(self.index.directory.facts(visit)?)
    }

    fn load_snapshot(&self, partition: u32) -> Result<Option<(Lsn, Vec<u8>)>, StoreError> {
        Ok(self.snapshots.load(partition, self.durable_lsn())?)
    }

    fn save_snapshot(&self, partition: u32, lsn: Lsn, bytes: Vec<u8>) {
        self.snapshots.save(partition, lsn, &bytes);
    }

    fn durable_lsn(&self) -> Lsn {
        self.index.progress.durable()
    }

    fn hold(&self, copy: &str, upto: Lsn) {
        self.index.holds.set(copy, upto);
    }

    fn gate(&self) -> Gate {
        self.gate.clone()
    }
}
