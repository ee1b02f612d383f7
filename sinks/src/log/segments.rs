//! The segments of the log, for reading.
//!
//! Knows which segment holds which record and keeps files open. Every read is checked against the
//! record's checksum, so that damage is told and never served.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use imflow_kind::Bookmark;
use imflow_proto::record::Lsn;
use imflow_proto::wire;
use parking_lot::{Mutex, RwLock};
use prost::Message as _;

use super::LogError;
use super::base::Base;
use super::erase::Targets;
use super::files::{Files, LogFile};
use super::frame::{Frame, MESSAGE};
use super::scan::{Scan, Scanned};

/// Files kept open; at the limit all are closed and opened again as needed.
const OPEN_FILES: usize = 512;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub segment: u32,
    pub offset: u32,
    pub len: u32,
}

/// A record met while the log is read through.
#[derive(Clone, Copy)]
pub(crate) struct Visited<'a> {
    pub lsn: Lsn,
    pub place: Place,
    pub kind: u8,
    pub erased: bool,
    pub payload: &'a [u8],
}

impl<'a> Visited<'a> {
    pub(crate) fn new(scanned: &Scanned<'a>, segment: u32) -> Self {
        let Scanned { frame: Frame { lsn, kind, erased, payload, .. }, offset, len } = *scanned;
        Self { lsn, place: Place { segment, offset, len }, kind, erased, payload }
    }

    /// The message that it is.
    pub(crate) fn message(&self) -> Result<wire::Message, prost::DecodeError> {
        let mut message = wire::Message::decode(self.payload)?;
        if self.erased {
            note_erased(&mut message);
        }
        Ok(message)
    }
}

/// Says of a message that its content was erased.
pub(crate) fn note_erased(message: &mut wire::Message) {
    message.amended.get_or_insert_default().erased = true;
}

pub(crate) type Visit<'v> = &'v mut dyn FnMut(Visited<'_>) -> Result<(), LogError>;

pub(crate) struct Segments {
    files: Arc<dyn Files>,
    /// The first LSN of each segment that was begun.
    known: RwLock<BTreeMap<u32, Lsn>>,
    open: Mutex<BTreeMap<u32, Arc<dyn LogFile>>>,
    /// What is being erased.
    pub(crate) erasing: RwLock<Targets>,
}

/// The file name of a segment.
pub(crate) fn name(number: u32) -> String {
    format!("{number:08}.seg")
}

/// The number of the segment in a file of this name.
pub(crate) fn number(name: &str) -> Option<u32> {
    name.strip_suffix(".seg")?.parse().ok()
}

impl Segments {
    pub(crate) fn new(files: Arc<dyn Files>, known: BTreeMap<u32, Lsn>) -> Self {
        let (known, open, erasing) = (RwLock::new(known), Mutex::default(), RwLock::default());
        Self { files, known, open, erasing }
    }

    /// Makes a segment known whose first record has this LSN.
    pub(crate) fn begin(&self, number: u32, first_lsn: Lsn, file: Arc<dyn LogFile>) {
        self.known.write().insert(number, first_lsn);
        self.open.lock().insert(number, file);
    }

    /// The segments that were begun, oldest first.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.known.read().keys().copied().collect()
    }

    /// The segments that were begun and the first LSN of each, oldest first.
    pub(crate) fn firsts(&self) -> Vec<(u32, Lsn)> {
        self.known.read().iter().map(|(number, first)| (*number, *first)).collect()
    }

    /// The first LSN of a segment; 0 when it is not there.
    pub(crate) fn first_lsn(&self, number: u32) -> Lsn {
        self.known.read().get(&number).copied().unwrap_or(0)
    }

    /// Whether a segment is there.
    pub(crate) fn knows(&self, number: u32) -> bool {
        self.known.read().contains_key(&number)
    }

    /// What is left of the records before the first segment.
    pub(crate) fn base(&self) -> Result<Base, LogError> {
        Base::load(&*self.files)
    }

    /// Moves a segment that is written no more to another folder.
    pub(crate) fn move_out(&self, number: u32, folder: &Path) -> Result<bool, LogError> {
        let moved = self.files.move_out(&name(number), folder);
        let moved = moved.map_err(LogError::io("move to the archive", self.path(number)))?;
        if moved {
            // Whoever reads it now goes on with the old file.
            self.open.lock().remove(&number);
        }
        Ok(moved)
    }

    /// Drops a segment and what it holds.
    pub(crate) fn forget(&self, number: u32) -> Result<(), LogError> {
        self.known.write().remove(&number);
        self.open.lock().remove(&number);
        self.files.remove(&name(number)).map_err(LogError::io("remove", self.path(number)))
    }

    /// Reads one message.
    pub(crate) fn message(&self, place: Place) -> Result<wire::Message, LogError> {
        let mut bytes = vec![0; place.len as usize];
        let file = self.file(place.segment)?;
        file.read_at(&mut bytes, u64::from(place.offset))
            .map_err(LogError::io("read", self.path(place.segment)))?;
        match Frame::parse(&bytes) {
            Some(frame) if frame.kind == MESSAGE => {
                let (lsn, erased) = (frame.lsn, frame.erased);
                let payload = subslice(&bytes, frame.payload);
                let decoded = wire::Message::decode(Bytes::from(bytes).slice(payload));
                let mut message = decoded.map_err(|error| {
                    self.damaged(place.segment, u64::from(place.offset), &error.to_string())
                })?;
                // What is to be erased is read by nobody, though it may still be there.
                if self.erasing.read().strip(lsn, &mut message) || erased {
                    note_erased(&mut message);
                }
                Ok(message)
            }
            _ => Err(self.damaged(
                place.segment,
                u64::from(place.offset),
                "the checksum of the message here does not match",
            )),
        }
    }

    /// Visits the records with LSNs in `(after, upto]`, in order.
    pub(crate) fn visit(&self, after: Lsn, upto: Lsn, visit: Visit<'_>) -> Result<(), LogError> {
        let known = self.firsts();
        for (index, (number, first_lsn)) in known.iter().enumerate() {
            let ends_before = known.get(index + 1).is_some_and(|(_, next)| *next <= after + 1);
            if ends_before || *first_lsn > upto {
                continue;
            }
            self.visit_segment(*number, upto, &mut |record| {
                if record.lsn > after { visit(record) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    /// Visits the records behind a bookmark, up to the LSN `upto`, as long as `visit` wants more, and moves
    /// the bookmark behind the last one.
    pub(crate) fn read_on(
        &self,
        bookmark: &mut Bookmark,
        upto: Lsn,
        visit: &mut dyn FnMut(Visited<'_>) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        while bookmark.lsn < upto {
            let Some((number, first_lsn, last)) = self.holds(bookmark.lsn + 1, upto) else {
                return Ok(()); // what was there was dropped, and nothing follows it
            };
            let file = self.file(number)?;
            let mut scan = match bookmark.place {
                Some((segment, at)) if segment == number => Scan::at(&*file, at, bookmark.lsn + 1),
                _ => Scan::new(&*file, first_lsn),
            };
            while scan.position().1 <= last {
                let (offset, lsn) = scan.position();
                let step = scan.next().map_err(LogError::io("read", self.path(number)))?;
                let Some(record) = step else {
                    return Err(self.missing(number, offset, lsn, last));
                };
                if lsn <= bookmark.lsn {
                    continue;
                }
                let more = visit(Visited::new(&record, number))?;
                *bookmark = Bookmark { lsn, place: Some((number, scan.position().0)) };
                if !more {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The segment that holds a record, or the first behind it: its number, its first LSN and its last one
    /// that is not beyond `upto`.
    fn holds(&self, lsn: Lsn, upto: Lsn) -> Option<(u32, Lsn, Lsn)> {
        let known = self.known.read();
        let at_or_before = known.iter().rev().find(|(_, first)| **first <= lsn);
        let (number, first) = at_or_before.or_else(|| known.iter().next())?;
        let next = known.range(number + 1..).next().map(|(_, first)| *first);
        let last = next.map_or(upto, |next| upto.min(next - 1));
        (*first <= upto).then_some((*number, *first, last))
    }

    fn missing(&self, number: u32, offset: u64, lsn: Lsn, last: Lsn) -> LogError {
        let found = format!(
            "record {lsn} should be here and cannot be read, though the log goes on to record {last}"
        );
        self.damaged(number, offset, &found)
    }

    /// Visits the records of one segment up to the LSN `upto`, all of which must be there: the next
    /// segment says where this one ends.
    pub(crate) fn visit_segment(
        &self,
        number: u32,
        upto: Lsn,
        visit: Visit<'_>,
    ) -> Result<(), LogError> {
        let (first_lsn, next) = {
            let known = self.known.read();
            let next = known.range(number + 1..).next().map(|(_, first)| *first);
            (known.get(&number).copied().unwrap_or(1), next)
        };
        let last = next.map_or(upto, |next| upto.min(next - 1));
        let file = self.file(number)?;
        let mut scan = Scan::new(&*file, first_lsn);
        while scan.position().1 <= last {
            let (offset, lsn) = scan.position();
            let step = scan.next().map_err(LogError::io("read", self.path(number)))?;
            let Some(record) = step else { return Err(self.missing(number, offset, lsn, last)) };
            visit(Visited::new(&record, number))?;
        }
        Ok(())
    }

    /// Puts other bytes in the place of a segment, as long as its records were: a reader has the old ones or the new
    /// ones.
    pub(crate) fn replace(&self, number: u32, bytes: &[u8]) -> Result<(), LogError> {
        let replaced = self.files.replace(&name(number), bytes);
        self.open.lock().remove(&number);
        replaced.map_err(LogError::io("write anew", self.path(number)))
    }

    /// The bytes of a segment up to `end`.
    pub(crate) fn bytes(&self, number: u32, end: usize) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; end];
        let read = self.file(number)?.read_at(&mut bytes, 0);
        read.map_err(LogError::io("read", self.path(number)))?;
        Ok(bytes)
    }

    /// The error for a record that is not what was written.
    pub(crate) fn damaged(&self, number: u32, offset: u64, found: &str) -> LogError {
        LogError::Damaged { path: self.path(number), offset, found: found.into() }
    }

    fn path(&self, number: u32) -> String {
        self.files.path(&name(number))
    }

    fn file(&self, number: u32) -> Result<Arc<dyn LogFile>, LogError> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let opened: io::Result<Arc<dyn LogFile>> = self.files.open(&name(number));
        let file = opened.map_err(LogError::io("open", self.path(number)))?;
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        open.insert(number, Arc::clone(&file));
        Ok(file)
    }
}

/// Where a part of some bytes stands in them.
fn subslice(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}
