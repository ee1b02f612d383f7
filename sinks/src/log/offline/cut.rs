//! Cuts a log after a record, and keeps what it removes.
//!
//! In this order, so that a crash at any moment leaves a log that opens, or says what is missing, and a
//! second run finishes: copy, remove the segments behind from the last on, write zeros.

use std::path::PathBuf;

use imflow_proto::record::Lsn;

use super::{OfflineLog, walk};
use crate::log::files::{Disk, Files as _};
use crate::log::frame::HEADER;
use crate::log::{LogError, segments, snapshots, tail};

/// What a cut does.
#[derive(Debug)]
pub struct Cut {
    /// The last record that stays.
    pub to: Lsn,
    /// The last record that can be read now.
    pub last_lsn: Lsn,
    /// The file that is cut, and where.
    pub path: String,
    pub offset: u64,
    /// Begun segments behind it, which go.
    pub segments: Vec<String>,
    /// Snapshots of state that goes.
    pub snapshots: Vec<String>,
    /// Where copies of all that goes are kept.
    pub kept_in: PathBuf,
    number: u32,
}

impl OfflineLog {
    /// Finds what a cut after the record `to` does.
    ///
    /// # Errors
    /// When records up to it cannot be read, or there is nothing to cut.
    pub fn plan_cut(&self, to: Lsn) -> Result<Cut, LogError> {
        let segments = self.segments()?;
        let mut place = None;
        let walked = walk::walk(&segments, &mut |path, record| {
            let (offset, end) = (record.place.offset, record.place.offset + record.place.len);
            if record.lsn == to {
                place = Some((path.to_owned(), record.place.segment, u64::from(end)));
            } else if record.lsn == to + 1 && place.is_none() {
                place = Some((path.to_owned(), record.place.segment, u64::from(offset)));
            }
            Ok(true)
        })?;
        let damaged = walked.problems.iter().map(|problem| problem.at.lsn).find(|lsn| *lsn <= to);
        if let Some(lsn) = damaged {
            return Err(LogError::Refused(format!(
                "record {lsn} cannot be read, so the log can be cut after record {} at the most; see imflow log verify",
                lsn.saturating_sub(1)
            )));
        }
        let Some((path, number, offset)) = place else {
            return Err(self.cannot_cut(to, &walked));
        };
        if to >= walked.last_lsn && walked.problems.is_empty() {
            return Err(LogError::Refused(format!(
                "the log is whole and ends with record {}; there is nothing behind record {to} to cut",
                walked.last_lsn
            )));
        }
        let behind =
            segments.iter().filter(|segment| segment.number > number && segment.is_begun());
        let kept_in = self.data.join(format!("removed-after-{to}"));
        Ok(Cut {
            to,
            last_lsn: walked.last_lsn,
            path,
            offset: offset.max(HEADER as u64),
            segments: behind.map(|segment| segment.path.clone()).collect(),
            snapshots: self.snapshots_after(to)?,
            kept_in,
            number,
        })
    }

    /// Does what was planned.
    ///
    /// # Errors
    /// When a service runs on the directory, or the disk fails.
    pub fn cut(&self, cut: &Cut) -> Result<(), LogError> {
        let _lock = self.lock()?;
        let kept = Disk::open(cut.kept_in.clone())?;
        let segments = self.segments()?;
        let touched = segments.iter().filter(|segment| segment.number >= cut.number);
        for segment in touched.clone().filter(|segment| segment.is_begun()) {
            let name = segments::name(segment.number);
            let written = tail::written(&*segment.file, 0)
                .map_err(LogError::io("read", segment.path.clone()))?;
            kept.replace(&name, &written).map_err(LogError::io("write", kept.path(&name)))?;
        }
        let stored = self.stored_snapshots()?;
        for name in &cut.snapshots {
            let path = stored.path(name);
            let bytes = stored.read(name).map_err(LogError::io("read", path.clone()))?;
            kept.replace(name, &bytes.unwrap_or_default())
                .and_then(|()| stored.remove(name))
                .map_err(LogError::io("move away", path))?;
        }
        // It holds records that go; the next start makes it from those that stay.
        self.remove_index()?;
        for segment in touched.clone().rev().filter(|segment| segment.number > cut.number) {
            self.files
                .remove(&segments::name(segment.number))
                .map_err(LogError::io("remove", segment.path.clone()))?;
        }
        let cut_one = touched.clone().find(|segment| segment.number == cut.number);
        let Some(segment) = cut_one else { return Ok(()) };
        let length = segment.file.size() - cut.offset;
        tail::zero(&*segment.file, &segment.path, cut.offset, length as usize)
    }

    fn cannot_cut(&self, to: Lsn, walked: &walk::Walk) -> LogError {
        LogError::Refused(format!(
            "the log in `{}` has no record {to}: it holds the records {} to {}{}",
            self.data.display(),
            walked.first_lsn,
            walked.last_lsn,
            if walked.problems.is_empty() { "" } else { ", and damage; see imflow log verify" }
        ))
    }

    fn stored_snapshots(&self) -> Result<Disk, LogError> {
        Disk::open(self.data.join("snapshots"))
    }

    fn snapshots_after(&self, to: Lsn) -> Result<Vec<String>, LogError> {
        let stored = self.stored_snapshots()?;
        let mut after = Vec::new();
        for name in stored.list().map_err(LogError::io("list", stored.path("")))? {
            let bytes = stored.read(&name).map_err(LogError::io("read", stored.path(&name)))?;
            if bytes.is_some_and(|bytes| snapshots::lsn_of(&bytes).is_none_or(|lsn| lsn > to)) {
                after.push(name);
            }
        }
        Ok(after)
    }
}
