//! What the runtime recovers from: the log read through, the directory told as facts, the snapshots.

use std::sync::Arc;

use imflow_kind::{Gate, Journal, StoreError};
use imflow_proto::log::Fact;
use imflow_proto::record::{Committed, Lsn};
use imflow_proto::wire;
use prost::Message as _;

use super::LogError;
use super::frame::MESSAGE;
use super::index::Index;
use super::snapshots::Snapshots;

pub(crate) struct LogJournal {
    pub index: Arc<Index>,
    pub snapshots: Arc<Snapshots>,
    pub gate: Gate,
}

impl LogJournal {
    fn replay_messages(
        &self,
        after: Lsn,
        visit: &mut dyn FnMut(Committed),
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
            if record.kind == MESSAGE {
                let message = wire::Message::decode(record.payload).map_err(|error| {
                    segments.damaged(
                        record.place.segment,
                        u64::from(record.place.offset),
                        &error.to_string(),
                    )
                })?;
                visit(Committed::recovered(record.lsn, message));
            }
            Ok(())
        })
    }
}

impl Journal for LogJournal {
    fn replay(&self, after: Lsn, visit: &mut dyn FnMut(Committed)) -> Result<(), StoreError> {
        Ok(self.replay_messages(after, visit)?)
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

    fn gate(&self) -> Gate {
        self.gate.clone()
    }
}
