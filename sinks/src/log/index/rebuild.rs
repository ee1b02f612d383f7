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
use super::tables::Tables;
use crate::log::LogError;
use crate::log::frame::{CURSORS, FACT, MESSAGE};
use crate::log::segments::{Segments, Visited};

/// The version of the format of the tables' rows.
const VERSION: u64 = 1;

/// Reads what is missing up to the last durable record; gives the index of the last segment.
pub(crate) fn rebuild(
    segments: &Segments,
    tables: &Arc<dyn Tables>,
    durable: Lsn,
    policy: Policy,
) -> Result<RamSegment, LogError> {
    let directory = begun(segments, tables)?;
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
        }
        open = read_segment(segments, &directory, number, durable, &[])?;
    }
    Ok(open)
}

/// Reads a segment; its facts and cursors go into the directory, unless they are in already. `before`: the
/// segments just before it that the tables do not hold, oldest first.
pub(crate) fn read_segment(
    segments: &Segments,
    directory: &Directory,
    number: u32,
    durable: Lsn,
    before: &[RamSegment],
) -> Result<RamSegment, LogError> {
    let mut read = RamSegment::new(number);
    segments.visit_segment(number, durable, &mut |record| {
        apply(record, segments, (directory, before), &mut read)
    })?;
    Ok(read)
}

/// The directory of these tables; new ones begin with the base of the log.
fn begun(segments: &Segments, tables: &Arc<dyn Tables>) -> Result<Directory, LogError> {
    let directory = Directory::new(Arc::clone(tables));
    let (base, format) = (segments.base()?, directory.format()?);
    if let Some(format) = format.filter(|format| *format > VERSION) {
        return Err(LogError::Refused(format!(
            "the index has format version {format}, and this build reads version {VERSION}; start the build that wrote it, \
             or delete the folder `index` of the data directory, which is then rebuilt from the log"
        )));
    }
    let (applied, _) = directory.applied()?;
    if applied == 0 && directory.facts_lsn()? <= base.lsn {
        base.fill(&**tables)?;
    } else if applied < base.segment {
        return Err(LogError::Refused(format!(
            "the index holds the log up to segment {applied}, and the log was cut up to segment {}: it is of an earlier \
             time; delete the folder `index` of the data directory, which is then rebuilt from the log",
            base.segment
        )));
    }
    // Not at each start: one with a full disk has to work, for reads.
    if format.is_none() {
        directory.set_format(VERSION)?;
    }
    Ok(directory)
}

/// Brings tables that were opened anew up to the log. The segments from `in_ram` on need no rows, since
/// they are in RAM; what they hold beside messages is applied again.
pub(crate) fn catch_up(
    segments: &Segments,
    tables: &Arc<dyn Tables>,
    in_ram: u32,
    durable: Lsn,
) -> Result<(), LogError> {
    let directory = begun(segments, tables)?;
    let (applied, _) = directory.applied()?;
    let mut before = Vec::new();
    for number in segments.numbers().into_iter().filter(|number| *number > applied) {
        let segment = read_segment(segments, &directory, number, durable, &before)?;
        if number < in_ram {
            ingester::store(&segment, &**tables, &directory, Policy::Ingest)?;
        } else {
            before.push(segment);
        }
    }
    Ok(())
}

fn apply(
    record: Visited<'_>,
    segments: &Segments,
    (directory, before): (&Directory, &[RamSegment]),
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
            let id = &fact.conversation_id;
            let in_ram = before.iter().rev().find_map(|segment| segment.last_seq(id));
            let last_seq = match open.last_seq(id).or(in_ram) {
                Some(seq) => seq,
                None => directory.last_seq(id)?,
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
