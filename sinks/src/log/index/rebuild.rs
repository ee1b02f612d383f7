//! Brings the index up to the log at start: reads the segments that the tables do not hold.
//!
//! Normally that is the last one or two. When the tables were lost it is all of them, and they are made
//! anew. The last segment stays in RAM, as it will be written on.

use std::sync::Arc;

use bytes::Buf as _;
use imflow_proto::log::{CursorsMoved, Fact};
use imflow_proto::record::Lsn;
use imflow_proto::{Keys, wire};
use prost::Message as _;

use super::directory::Directory;
use super::ingester::{self, Policy};
use super::ram::RamSegment;
use super::tables::{self, Tables};
use crate::log::LogError;
use crate::log::frame::{CURSORS, FACT, MESSAGE};
use crate::log::segments::{Segments, Visited};

/// Reads what is missing up to the last durable record; gives the index of the last segment.
pub(crate) fn rebuild(
    segments: &Segments,
    tables: &Arc<dyn Tables>,
    durable: Lsn,
    policy: Policy,
) -> Result<RamSegment, LogError> {
    let directory = Directory::new(Arc::clone(tables));
    let (applied, applied_lsn) = directory.applied()?;
    let indexed = applied_lsn.max(directory.facts_lsn()?);
    if indexed > durable {
        return Err(LogError::Refused(format!(
            "the index holds record {indexed}, and the log ends at record {durable}: they are not of one service; \
             put the log back, or delete the folder `index` of the data directory, which is then rebuilt from the log"
        )));
    }
    let missing: Vec<u32> =
        segments.numbers().into_iter().filter(|number| *number > applied).collect();
    if missing.len() > 4 {
        tracing::info!(
            "the index lacks {} segments of the log; it is rebuilt from them",
            missing.len()
        );
    }
    let mut open = RamSegment::new(missing.first().copied().unwrap_or(applied + 1));
    for number in missing {
        if number != open.number {
            ingester::store(&open, &**tables, &directory, policy)?;
            open = RamSegment::new(number);
        }
        segments.visit_segment(number, durable, &mut |record| {
            apply(record, segments, (&directory, &**tables), &mut open)
        })?;
    }
    Ok(open)
}

fn apply(
    record: Visited<'_>,
    segments: &Segments,
    (directory, tables): (&Directory, &dyn Tables),
    open: &mut RamSegment,
) -> Result<(), LogError> {
    let mut payload = record.payload;
    let place = record.place;
    let unreadable = |error: prost::DecodeError| {
        segments.damaged(place.segment, u64::from(place.offset), &error.to_string())
    };
    match record.kind {
        MESSAGE => {
            let message = wire::Message::decode(&mut payload).map_err(unreadable)?;
            open.insert(&message, &Keys::of_message(&message), place);
        }
        FACT => {
            let fact = Fact::decode(&mut payload).map_err(unreadable)?;
            let last_seq = match open.last_seq(&fact.conversation_id) {
                Some(seq) => seq,
                None => tables::last_seq(tables, &fact.conversation_id)?,
            };
            directory.apply(record.lsn, &fact, last_seq)?;
        }
        CURSORS => {
            directory.advance(&CursorsMoved::decode(&mut payload).map_err(unreadable)?)?;
        }
        other => {
            let found =
                format!("record {} is of kind {other}, which this build does not know", record.lsn);
            return Err(segments.damaged(place.segment, u64::from(place.offset), &found));
        }
    }
    debug_assert!(!payload.has_remaining());
    open.last_lsn = record.lsn;
    Ok(())
}
