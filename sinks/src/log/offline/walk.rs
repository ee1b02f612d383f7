//! Reads a log through and tells what is wrong with it, and where.

use imflow_proto::record::Lsn;
use imflow_proto::{Fingerprint, FingerprintMap, wire};
use prost::Message as _;

use super::{Position, Segment};
use crate::log::LogError;
use crate::log::frame::MESSAGE;
use crate::log::scan::Scan;
use crate::log::segments::Visited;
use crate::log::tail::{self, Rest};

/// What a log holds.
#[derive(Debug, Default)]
pub struct Walk {
    pub segments: usize,
    /// Segments that were zeroed ahead.
    pub spares: usize,
    pub messages: u64,
    /// Records that are no messages.
    pub others: u64,
    pub first_lsn: Lsn,
    pub last_lsn: Lsn,
    pub torn: Option<Torn>,
    pub problems: Vec<Problem>,
}

/// An unfinished write at the end of the log. A start cuts it: nobody was told of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Torn {
    pub at: Position,
    pub bytes: usize,
}

/// Damage, or an order that no log has.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub at: Position,
    pub found: String,
}

/// Takes a record; `false`: stop.
pub(super) type Each<'v> = &'v mut dyn FnMut(&str, Visited<'_>) -> Result<bool, LogError>;

/// Reads segments through. Damage ends the reading of its segment, not of the ones behind it.
pub(super) fn walk(segments: &[Segment], each: Each<'_>) -> Result<Walk, LogError> {
    let mut walk = Walk::default();
    let mut seqs = Seqs::default();
    let begun: Vec<(&Segment, Lsn)> =
        segments.iter().filter_map(|segment| walk.begun(segment)).collect();
    walk.first_lsn = begun.first().map_or(1, |(_, first)| *first);
    walk.last_lsn = walk.first_lsn - 1;
    for (index, (segment, first_lsn)) in begun.iter().enumerate() {
        let next = begun.get(index + 1).map(|(next, first)| (next.number, *first));
        let mut scan = Scan::new(&*segment.file, *first_lsn);
        loop {
            let lsn = scan.position().1;
            let step = scan.next().map_err(LogError::io("read", segment.path.clone()))?;
            let Some(record) = step else { break };
            let visited = Visited::new(&record, segment.number);
            walk.last_lsn = lsn;
            walk.count(segment, visited, &mut seqs);
            if !each(&segment.path, visited)? {
                return Ok(walk);
            }
        }
        walk.end(segment, scan.position(), next)?;
        if !walk.problems.is_empty() {
            // What follows a gap says nothing of the order.
            seqs = Seqs::default();
        }
    }
    Ok(walk)
}

/// Where the last whole record of a segment ends.
pub(super) fn end_of(segment: &Segment) -> Result<u64, LogError> {
    let first_lsn = match &segment.header {
        Ok(header) => header.map_or(1, |header| header.first_lsn),
        Err(found) => {
            let (path, found) = (segment.path.clone(), found.clone());
            return Err(LogError::Damaged { path, offset: 0, found });
        }
    };
    let mut scan = Scan::new(&*segment.file, first_lsn);
    while scan.next().map_err(LogError::io("read", segment.path.clone()))?.is_some() {}
    Ok(scan.position().0)
}

impl Walk {
    /// A segment that was begun, and its first LSN.
    fn begun<'s>(&mut self, segment: &'s Segment) -> Option<(&'s Segment, Lsn)> {
        match &segment.header {
            Ok(Some(header)) => {
                self.segments += 1;
                Some((segment, header.first_lsn))
            }
            Ok(None) => {
                self.spares += 1;
                None
            }
            Err(found) => {
                self.problem(segment, 0, 0, found.clone());
                None
            }
        }
    }

    fn count(&mut self, segment: &Segment, record: Visited<'_>, seqs: &mut Seqs) {
        if record.kind != MESSAGE {
            self.others += 1;
            return;
        }
        self.messages += 1;
        let found = match wire::Message::decode(record.payload) {
            Ok(message) => seqs.follows(&message).err(),
            Err(error) => Some(format!("the message here cannot be read: {error}")),
        };
        if let Some(found) = found {
            self.problem(segment, u64::from(record.place.offset), record.lsn, found);
        }
    }

    /// What stands behind the last record of a segment; `next`: number and first LSN of the one behind it.
    fn end(
        &mut self,
        segment: &Segment,
        (offset, lsn): (u64, Lsn),
        next: Option<(u32, Lsn)>,
    ) -> Result<(), LogError> {
        match next {
            Some((number, _)) if number != segment.number + 1 => {
                let found = format!("segment {} is missing behind this one", segment.number + 1);
                self.problem(segment, offset, lsn, found);
            }
            Some((number, first)) if first != lsn => {
                let found =
                    format!("it cannot be read, while segment {number} begins with record {first}");
                self.problem(segment, offset, lsn, found);
            }
            Some(_) => {}
            None => match tail::examine(&*segment.file, &segment.path, offset, lsn)? {
                Rest::Nothing => {}
                Rest::Torn(bytes) => {
                    let at = Position { lsn, path: segment.path.clone(), offset };
                    self.torn = Some(Torn { at, bytes });
                }
                Rest::Damaged(LogError::Damaged { found, .. }) => {
                    self.problem(segment, offset, lsn, found);
                }
                Rest::Damaged(error) => return Err(error),
            },
        }
        Ok(())
    }

    fn problem(&mut self, segment: &Segment, offset: u64, lsn: Lsn, found: String) {
        let at = Position { lsn, path: segment.path.clone(), offset };
        self.problems.push(Problem { at, found });
    }
}

/// The last seq of each conversation.
#[derive(Default)]
struct Seqs(FingerprintMap<u64>);

impl Seqs {
    /// Whether a message is the next of its conversation, as far as known.
    fn follows(&mut self, message: &wire::Message) -> Result<(), String> {
        let seq = message.seq;
        let last = self.0.insert(Fingerprint::of(&message.conversation_id), seq);
        match last {
            Some(last) if seq != last + 1 => Err(format!(
                "conversation {}: seq {seq} follows {last}; {} should",
                message.conversation_id,
                last + 1
            )),
            _ => Ok(()),
        }
    }
}
