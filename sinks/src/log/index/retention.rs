//! Takes the ids out of the tables that are older than `retain`: an index that kept them would grow
//! without end, and nobody asks for them any more.
//!
//! It follows the sealed segments from the oldest on, a few after each that was moved into the tables, so
//! that it keeps pace with the log and its work is bounded. The messages stay. A row that points to
//! another segment belongs to a later message under the same id and stays too.

use std::sync::Arc;
use std::time::Duration;

use imflow_kind::Clock;
use imflow_proto::{id, wire};
use prost::Message as _;

use super::tables::Table;
use super::{Index, ram};
use crate::log::LogError;
use crate::log::frame::MESSAGE;

/// Segments looked at in a step: more than one, so that what was left behind is caught up with.
const STEP: usize = 2;

pub(crate) struct Retention {
    index: Arc<Index>,
    clock: Arc<dyn Clock>,
    retain_ms: i64,
    /// Before this time no further segment is old enough.
    due_ms: i64,
}

impl Retention {
    pub(crate) fn new(index: Arc<Index>, clock: Arc<dyn Clock>, retain: Duration) -> Self {
        Self { index, clock, retain_ms: retain.as_millis() as i64, due_ms: i64::MIN }
    }

    /// Purges the oldest segments that are due, a few at most.
    pub(crate) fn step(&mut self) -> Result<(), LogError> {
        for _ in 0..STEP {
            if !self.purge_next()? {
                break;
            }
        }
        Ok(())
    }

    /// Purges the oldest segment that still has ids in the tables; `false`: it is not old enough, or
    /// there is none.
    fn purge_next(&mut self) -> Result<bool, LogError> {
        let now_ms = self.clock.now_ms() as i64;
        if now_ms < self.due_ms {
            return Ok(false);
        }
        let directory = &self.index.directory;
        let (purged, (applied, _)) = (directory.purged()?, directory.applied()?);
        let segments = self.index.segments.numbers();
        let next = segments.into_iter().find(|number| (purged + 1..=applied).contains(number));
        let Some(segment) = next else { return Ok(false) };
        let Contents { mut keys, newest_ms } = self.read(segment)?;
        let due_ms = newest_ms.saturating_add(self.retain_ms);
        if now_ms <= due_ms {
            self.due_ms = due_ms + 1;
            return Ok(false);
        }
        keys.sort_unstable();
        keys.dedup();
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.index.tables.get(Table::Ids, &key)?;
            let place = value.and_then(|value| ram::read_place(&value));
            rows.extend(place.filter(|place| place.segment == segment).map(|_| key.to_vec()));
        }
        if !rows.is_empty() {
            self.index.tables.remove(Table::Ids, &mut rows.into_iter())?;
        }
        directory.set_purged(segment)?;
        Ok(true)
    }

    fn read(&self, segment: u32) -> Result<Contents, LogError> {
        let mut contents = Contents { keys: Vec::new(), newest_ms: i64::MIN };
        let segments = &self.index.segments;
        segments.visit_segment(segment, self.index.progress.durable(), &mut |record| {
            if record.kind == MESSAGE {
                let message = wire::Message::decode(record.payload).map_err(|error| {
                    segments.damaged(segment, u64::from(record.place.offset), &error.to_string())
                })?;
                let (conversation, sender) = (&message.conversation_id, &message.sender_id);
                let key = id::index_key(conversation, sender, &message.client_msg_id);
                contents.keys.push(key.to_be_bytes());
                contents.newest_ms = contents.newest_ms.max(message.created_at);
            }
            Ok(())
        })?;
        Ok(contents)
    }
}

/// The messages of one segment.
struct Contents {
    keys: Vec<[u8; 16]>,
    newest_ms: i64,
}
