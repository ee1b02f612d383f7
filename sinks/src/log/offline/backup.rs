//! Copies a log to another folder, also beside a service that runs, and back.
//!
//! A backup is the log up to a record, its fence, and snapshots of state no later than that:
//! ```text
//! DIR/log/META, BASE, *.seg    DIR/snapshots/*.snap    DIR/BACKUP
//! ```
//! Sealed segments change only where something is erased in them; then they are copied again. The running one is read to its last whole record and then synced, so
//! that all of the backup is durable in the service too. Snapshots are copied first, so none is ahead of
//! the log. The index is not copied: a restore makes it anew. A later backup to the same folder copies
//! what is new; `BACKUP` is written last, and without it a folder is no backup.

use std::path::Path;

use imflow_proto::record::Lsn;

use super::{OfflineLog, Segment, walk};
use crate::log::files::{Disk, Files, LogFile};
use crate::log::frame::HEADER;
use crate::log::{LogError, base, meta, segments};

const NAME: &str = "BACKUP";
const VERSION: &str = "1";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The last record in it.
    pub lsn: Lsn,
    pub segments: usize,
    /// Segments copied this time.
    pub copied: usize,
    pub bytes: u64,
}

impl OfflineLog {
    /// Copies the log to a folder.
    ///
    /// # Errors
    /// When the log is damaged, the folder holds something else, or a disk fails.
    pub fn backup(&self, to: &Path) -> Result<Backup, LogError> {
        let folder = Disk::open(to.to_owned())?;
        let sealed_before = earlier(&folder)?;
        let names = folder.list().map_err(LogError::io("list", to.display().to_string()))?;
        if sealed_before.is_none() && names.iter().any(|name| !is_ours(name)) {
            return Err(LogError::Refused(format!(
                "`{}` holds other files and is no backup; name an empty folder",
                to.display()
            )));
        }
        self.copy_snapshots(to)?;
        let log = Disk::open(to.join("log"))?;
        copy(&*self.files, &log, meta::NAME)?;
        let segments = self.segments()?;
        let begun: Vec<&Segment> = segments.iter().filter(|segment| segment.is_begun()).collect();
        let mut backup = Backup { lsn: 0, segments: begun.len(), copied: 0, bytes: 0 };
        for (index, segment) in begun.iter().enumerate() {
            let is_running = index + 1 == begun.len();
            let has_it = !is_running && sealed_before.is_some_and(|last| segment.number <= last);
            if !has_it || is_older(&log, segment)? {
                backup.bytes += copy_segment(segment, &log)?;
                backup.copied += 1;
            }
        }
        // Behind the segments: what was cut meanwhile is in it then, and may be in both.
        copy_base(&*self.files, &log)?;
        let sealed = begun.iter().rev().nth(1).map_or(0, |segment| segment.number);
        backup.lsn = whole(&OfflineLog::open(to)?)?;
        let text = format!("version = {VERSION}\nlsn = {}\nsealed = {sealed}\n", backup.lsn);
        folder.replace(NAME, text.as_bytes()).map_err(LogError::io("write", folder.path(NAME)))?;
        Ok(backup)
    }

    fn copy_snapshots(&self, to: &Path) -> Result<(), LogError> {
        let (from, to) =
            (Disk::open(self.data.join("snapshots"))?, Disk::open(to.join("snapshots"))?);
        let names = from.list().map_err(LogError::io("list", from.path("")))?;
        for name in names.iter().filter(|name| name.ends_with(".snap")) {
            copy(&from, &to, name)?;
        }
        Ok(())
    }
}

/// Makes a data directory of a backup, index and all; gives what it holds.
///
/// # Errors
/// When the folder is no whole backup, the directory has a log already, or a disk fails.
pub fn restore(from: &Path, data: &Path) -> Result<Backup, LogError> {
    // Not by `Disk::open`, which would make it.
    if !from.join(NAME).is_file() {
        return Err(LogError::Refused(format!(
            "`{}` is no backup: it has no file {NAME}",
            from.display()
        )));
    }
    if data.join("log").exists() {
        return Err(LogError::Refused(format!(
            "`{}` has a log already; move it away, or restore to another directory",
            data.display()
        )));
    }
    let (folder, source) = (Disk::open(from.to_owned())?, OfflineLog::open(from)?);
    earlier(&folder)?;
    let lsn = whole(&source)?;
    let segments = source.segments()?;
    source.copy_snapshots(data)?;
    // Under another name until it is whole, so that a restore cut short is not taken for a log.
    let unfinished = data.join("log.restoring");
    let log = Disk::open(unfinished.clone())?;
    copy(&*source.files, &log, meta::NAME)?;
    copy_base(&*source.files, &log)?;
    let mut backup = Backup { lsn, segments: segments.len(), copied: segments.len(), bytes: 0 };
    for segment in &segments {
        backup.bytes += copy_segment(segment, &log)?;
    }
    let finished = data.join("log");
    std::fs::rename(&unfinished, &finished)
        .map_err(LogError::io("rename", unfinished.display().to_string()))?;
    Disk::open(finished)?;
    OfflineLog::open(data)?.rebuild_index()?;
    Ok(backup)
}

/// The last sealed segment of an earlier backup in a folder, if it is one.
fn earlier(folder: &Disk) -> Result<Option<u32>, LogError> {
    let path = folder.path(NAME);
    let bytes = folder.read(NAME).map_err(LogError::io("read", path.clone()))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let version = meta::value(&text, "version");
    if version != VERSION {
        return Err(LogError::Refused(format!(
            "`{path}` says format version {version}, and this build reads version {VERSION}; use the build that made it"
        )));
    }
    Ok(meta::value(&text, "sealed").parse().ok())
}

/// The last record of a log that is whole.
fn whole(log: &OfflineLog) -> Result<Lsn, LogError> {
    let walked = log.verify()?;
    match walked.problems.into_iter().next() {
        None => Ok(walked.last_lsn),
        Some(problem) => Err(LogError::Damaged {
            path: problem.at.path,
            offset: problem.at.offset,
            found: problem.found,
        }),
    }
}

fn is_ours(name: &str) -> bool {
    ["log", "snapshots", "secrets"].contains(&name) || name.starts_with(NAME)
}

fn copy(from: &dyn Files, to: &dyn Files, name: &str) -> Result<(), LogError> {
    let bytes = from.read(name).map_err(LogError::io("read", from.path(name)))?;
    let Some(bytes) = bytes else {
        return Err(LogError::Refused(format!("`{}` is missing", from.path(name))));
    };
    to.replace(name, &bytes).map_err(LogError::io("write", to.path(name)))
}

/// Copies what is left of segments that were cut, if any were.
fn copy_base(from: &dyn Files, to: &dyn Files) -> Result<(), LogError> {
    let names = from.list().map_err(LogError::io("list", from.path("")))?;
    if names.iter().any(|name| name == base::NAME) { copy(from, to, base::NAME) } else { Ok(()) }
}

/// Whether the copy of a segment was made before something was erased in it.
fn is_older(copies: &Disk, segment: &Segment) -> Result<bool, LogError> {
    let name = segments::name(segment.number);
    let copy = copies.open(&name).map_err(LogError::io("open", copies.path(&name)))?;
    let head = |file: &dyn LogFile, path: String| {
        let mut head = [0; HEADER];
        file.read_at(&mut head, 0).map_err(LogError::io("read", path)).map(|()| head)
    };
    Ok(head(&*copy, copies.path(&name))? != head(&*segment.file, segment.path.clone())?)
}

/// Copies the whole records of a segment; gives their bytes.
fn copy_segment(segment: &Segment, to: &Disk) -> Result<u64, LogError> {
    let end = walk::end_of(segment)?;
    let mut bytes = vec![0; end as usize];
    let reading = |source| LogError::io("read", segment.path.clone())(source);
    segment.file.read_at(&mut bytes, 0).map_err(reading)?;
    segment.file.sync().map_err(LogError::io("make durable", segment.path.clone()))?;
    let name = segments::name(segment.number);
    to.replace(&name, &bytes).map_err(LogError::io("write", to.path(&name)))?;
    Ok(end)
}
