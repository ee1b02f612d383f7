//! Makes records durable in groups: the one writer of the log.
//!
//! Records are added until the group is full (1,000 records or the commit size) or none wait; then one
//! commit: one write, one sync, completions. What the index needs to follow is handed back. A write or
//! sync that fails ends the process: what the disk holds is unknown then, and only recovery can tell.
//! Who calls it, and when, is for the two forms of the sink.

use std::sync::Arc;
use std::time::Instant;

use imflow_proto::Record;
use imflow_proto::log::CursorsMoved;
use imflow_proto::record::{Change, CommittedFact, Entry, Moved};
use imflow_proto::wire::{Error, ErrorCode};

use super::completions::Completions;
use super::erase::Subject;
use super::frame::{self, CURSORS, FACT, HEADER, Header, MESSAGE, STARTS_COMMIT};
use super::index::{Group, Indexed};
use super::meters::LogMeters;
use super::progress::Progress;
use super::recover::Tail;
use super::segments::{Place, Segments};
use super::space::Space;
use super::{LogError, segments};

/// Records in one commit.
const COMMIT_RECORDS: usize = 1_000;

pub(crate) struct Committer {
    segments: Arc<Segments>,
    space: Arc<Space>,
    progress: Arc<Progress>,
    completions: Completions,
    meters: LogMeters,
    tail: Tail,
    /// Room for a header, then the frames of the commit.
    buffer: Vec<u8>,
    group: Vec<Waiting>,
    /// A record that begins the next group, as it has to stand first in a segment.
    next: Option<(usize, Record)>,
    /// The group begins a segment.
    begins: bool,
    failed: bool,
}

/// A record of the commit and where its frame stands in the buffer.
struct Waiting {
    worker: usize,
    offset: usize,
    len: usize,
    record: Encoded,
}

enum Encoded {
    Message(Arc<Entry>),
    Fact(Arc<Change>),
    Moves(Arc<CursorsMoved>),
}

impl Committer {
    pub(crate) fn new(
        segments: Arc<Segments>,
        space: Arc<Space>,
        progress: Arc<Progress>,
        completions: Completions,
        meters: LogMeters,
        tail: Tail,
    ) -> Self {
        let group = Vec::with_capacity(COMMIT_RECORDS);
        let buffer = vec![0; HEADER];
        let (next, begins, failed) = (None, false, false);
        Self {
            segments,
            space,
            progress,
            completions,
            meters,
            tail,
            buffer,
            group,
            next,
            begins,
            failed,
        }
    }

    /// Whether the group takes no more.
    pub(crate) fn is_full(&self) -> bool {
        self.next.is_some()
            || self.group.len() >= COMMIT_RECORDS
            || self.buffer.len() >= self.space.sizes.commit as usize
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.group.is_empty()
    }

    /// Makes the group durable and tells the dataflow; gives what the index has to follow. Ends the
    /// process when the log cannot be written.
    pub(crate) fn commit(&mut self) -> Option<Group> {
        self.try_commit().unwrap_or_else(|error| {
            tracing::error!(
                "{error}; the process ends, because only a restart can tell what the disk holds"
            );
            std::process::abort()
        })
    }

    /// As [`Committer::commit`], for those who end the process in their own way: after a failure nothing
    /// is ever committed again.
    pub(crate) fn try_commit(&mut self) -> Result<Option<Group>, LogError> {
        if self.group.is_empty() {
            return Ok(None);
        }
        if self.failed {
            let text = "an earlier commit failed; only a restart can tell what the disk holds";
            return Err(LogError::Refused(text.into()));
        }
        // Until the write has returned well, it has failed.
        self.failed = true;
        let began = Instant::now();
        let (segment, start) = self.write()?;
        let records = self.group.len() as u64;
        self.meters.committed(records, self.tail.next_lsn + records - 1, began.elapsed());
        self.failed = false;
        let group = self.publish(segment, start);
        if let Some((worker, record)) = self.next.take() {
            self.add(worker, record);
        }
        Ok(Some(group))
    }

    /// Adds a record of a worker to the group, which must not be full.
    pub(crate) fn add(&mut self, worker: usize, record: Record) {
        // What is to be erased stands before the record that asks for it: in segments that nobody writes.
        if let Record::Change(change) = &record
            && Subject::of(&change.fact).is_some()
        {
            if !self.group.is_empty() {
                self.next = Some((worker, record));
                return;
            }
            self.begins = true;
        }
        let offset = self.buffer.len();
        let lsn = self.tail.next_lsn + self.group.len() as u64;
        let first = if self.group.is_empty() { STARTS_COMMIT } else { 0 };
        let (len, record) = match record {
            Record::Ordered(ordered) => (
                frame::append(&mut self.buffer, lsn, MESSAGE | first, &ordered.message),
                Encoded::Message(ordered),
            ),
            Record::Change(change) => (
                frame::append(&mut self.buffer, lsn, FACT | first, &*change.fact),
                Encoded::Fact(change),
            ),
            Record::Moves(moves) => (
                frame::append(&mut self.buffer, lsn, CURSORS | first, &*moves),
                Encoded::Moves(moves),
            ),
            other => {
                return tracing::error!(
                    "the log was given a record of type {:?} and dropped it; the compiler should have refused the edge",
                    other.record_type()
                );
            }
        };
        if len > self.space.sizes.longest_record() {
            self.buffer.truncate(offset);
            return refuse(&record, len, self.space.sizes.longest_record());
        }
        self.group.push(Waiting { worker, offset, len, record });
    }

    /// Writes the group durably; gives its segment and the offset that the buffer's start stands for.
    fn write(&mut self) -> Result<(u32, u64), LogError> {
        let frames = (self.buffer.len() - HEADER) as u64;
        let begins = std::mem::take(&mut self.begins) && self.tail.end > HEADER as u64;
        // Without a segment to spare the record stands where it would; its work waits until this one is full.
        if self.tail.end + frames > self.tail.file.size() || begins && self.space.has_spares() {
            self.roll();
        }
        let path = || segments::name(self.tail.segment);
        // A fresh segment's header goes with its first commit, in the same write.
        let fresh = self.tail.end == 0;
        let (bytes, at) =
            if fresh { (&self.buffer[..], 0) } else { (&self.buffer[HEADER..], self.tail.end) };
        self.tail
            .file
            .write_at(bytes, at)
            .map_err(LogError::io("write to the log's segment", path()))?;
        self.tail.file.sync().map_err(LogError::io("make durable the log's segment", path()))?;
        let start = if fresh { 0 } else { self.tail.end - HEADER as u64 };
        self.tail.end = start + self.buffer.len() as u64;
        self.space.note_left(self.tail.file.size() - self.tail.end);
        Ok((self.tail.segment, start))
    }

    /// Goes on in the next segment.
    fn roll(&mut self) {
        let (segment, file) = self.space.take();
        let header = Header { segment, first_lsn: self.tail.next_lsn };
        self.buffer[..HEADER].copy_from_slice(&header.to_bytes());
        self.segments.begin(segment, header.first_lsn, Arc::clone(&file));
        self.tail = Tail { segment, file, end: 0, next_lsn: self.tail.next_lsn };
    }

    /// Tells the dataflow that the group is durable; gives the group for the index.
    fn publish(&mut self, segment: u32, start: u64) -> Group {
        let mut indexed = Vec::with_capacity(self.group.len());
        let first = self.tail.next_lsn;
        let last = first + self.group.len() as u64 - 1;
        self.tail.next_lsn = last + 1;
        self.progress.set_durable(last);
        for (lsn, Waiting { worker, offset, len, record }) in (first..).zip(self.group.drain(..)) {
            match record {
                Encoded::Message(mut committed) => {
                    // Only where another node holds it too is this a copy.
                    Arc::make_mut(&mut committed).lsn = lsn;
                    self.completions.message(worker, Arc::clone(&committed));
                    let place =
                        Place { segment, offset: (start + offset as u64) as u32, len: len as u32 };
                    indexed.push(Indexed::Message(committed, place));
                }
                Encoded::Fact(change) => {
                    let fact = Arc::new(CommittedFact { lsn, fact: Arc::clone(&change.fact) });
                    self.completions.fact(worker, Arc::clone(&fact), &change);
                    indexed.push(Indexed::Fact(fact));
                }
                Encoded::Moves(moves) => {
                    let moved = Arc::new(Moved { lsn, moves });
                    self.completions.moved(worker, Arc::clone(&moved));
                    indexed.push(Indexed::Moved(moved));
                }
            }
        }
        self.completions.flush();
        self.buffer.truncate(HEADER);
        Group { segment, last_lsn: last, records: indexed }
    }
}

/// Answers what no segment can hold; the limits of commands keep it from happening.
fn refuse(record: &Encoded, len: usize, longest: usize) {
    let text = format!(
        "the record is {len} bytes long and the log takes at most {longest}; send less at once, or raise `segment` of the log"
    );
    tracing::error!("{text}");
    let ticket = match record {
        Encoded::Message(ordered) => ordered.ticket.as_ref(),
        Encoded::Fact(change) => Some(&change.ticket),
        // One holds at most 1,000 members, far from any segment's size.
        Encoded::Moves(_) => None,
    };
    if let Some(ticket) = ticket {
        ticket.refuse(Error::of(ErrorCode::TooLarge, text));
    }
}
