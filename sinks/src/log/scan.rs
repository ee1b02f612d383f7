//! Reads a segment's records one after the other.
//!
//! Each must be whole and carry the next LSN; the scan stops at the first that is not and says where.
//! What that means is for the caller: the end of the log, a torn tail or damage.

use std::io;

use imflow_proto::record::Lsn;

use super::files::LogFile;
use super::frame::{Frame, HEAD, HEADER};

/// Read ahead.
const WINDOW: usize = 1 << 20;
/// Read ahead of who comes often, for little.
const SMALL_WINDOW: usize = 64 << 10;

pub(crate) struct Scan<'a> {
    file: &'a dyn LogFile,
    /// Where the next record begins.
    at: u64,
    /// The LSN that it must carry.
    next_lsn: Lsn,
    window: Vec<u8>,
    window_at: u64,
    ahead: usize,
}

/// A whole record and where it stands.
pub(crate) struct Scanned<'w> {
    pub frame: Frame<'w>,
    pub offset: u32,
    pub len: u32,
}

impl<'a> Scan<'a> {
    /// Starts behind the header of a segment whose first record has this LSN.
    pub(crate) fn new(file: &'a dyn LogFile, first_lsn: Lsn) -> Self {
        Self { ahead: WINDOW, ..Self::at(file, HEADER as u64, first_lsn) }
    }

    /// Goes on at a record whose offset and LSN are known.
    pub(crate) fn at(file: &'a dyn LogFile, at: u64, next_lsn: Lsn) -> Self {
        Self { file, at, next_lsn, window: Vec::new(), window_at: 0, ahead: SMALL_WINDOW }
    }

    /// Where the scan stands: offset and LSN of the next record.
    pub(crate) fn position(&self) -> (u64, Lsn) {
        (self.at, self.next_lsn)
    }

    /// The next record; `None` where no whole record with the next LSN follows.
    pub(crate) fn next(&mut self) -> io::Result<Option<Scanned<'_>>> {
        let left = self.file.size().saturating_sub(self.at);
        if left < HEAD as u64 {
            return Ok(None);
        }
        let length = match Frame::length(self.look(HEAD)?) {
            Some(length) if length as u64 <= left => length,
            _ => return Ok(None),
        };
        let (offset, wanted) = (self.at, self.next_lsn);
        self.look(length)?;
        let start = (self.at - self.window_at) as usize;
        let Some(frame) =
            Frame::parse(&self.window[start..start + length]).filter(|frame| frame.lsn == wanted)
        else {
            return Ok(None);
        };
        self.at += length as u64;
        self.next_lsn += 1;
        Ok(Some(Scanned { frame, offset: offset as u32, len: length as u32 }))
    }

    /// The next `length` bytes, which the caller knows to be inside the file.
    fn look(&mut self, length: usize) -> io::Result<&[u8]> {
        let end = self.window_at + self.window.len() as u64;
        if self.at < self.window_at || self.at + length as u64 > end {
            let size = (self.file.size() - self.at).min(length.max(self.ahead) as u64);
            self.window.resize(size as usize, 0);
            self.window_at = self.at;
            self.file.read_at(&mut self.window, self.at)?;
        }
        let start = (self.at - self.window_at) as usize;
        Ok(&self.window[start..start + length])
    }
}
