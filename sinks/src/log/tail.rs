//! Decides what stands behind the last whole record of the log: nothing, a torn write, or damage.
//!
//! A commit is one write, and the next begins when it is durable. A power cut can therefore lose any
//! sectors of the last commit and none of an earlier one. So what cannot be read is *damage* when a
//! later commit stands behind it, or when a whole record stands behind it and all of its own sectors
//! were written; only the rest is a *torn tail*: nobody was told of it, and it is cut.

use imflow_proto::record::Lsn;

use super::LogError;
use super::files::LogFile;
use super::frame::{ERASED, FACT, Frame, HEAD, MESSAGE, STARTS_COMMIT, u64_at};

/// The unit that a disk writes whole.
const SECTOR: u64 = 512;
const WINDOW: usize = 1 << 20;
/// No single commit holds more records; a later one continues from there.
const LSNS_AHEAD: u64 = 1 << 24;

/// What stands behind the last whole record.
pub(crate) enum Rest {
    Nothing,
    /// An unfinished write of so many bytes.
    Torn(usize),
    Damaged(LogError),
}

/// Looks at what stands at `at`, where the record `next_lsn` was expected; changes nothing.
pub(crate) fn examine(
    file: &dyn LogFile,
    path: &str,
    at: u64,
    next_lsn: Lsn,
) -> Result<Rest, LogError> {
    let rest = written(file, at).map_err(LogError::io("read", path))?;
    if rest.is_empty() {
        return Ok(Rest::Nothing);
    }
    if let Some((later, starts_commit)) = later_record(&rest, next_lsn)
        && (starts_commit || !lost_a_sector(&rest, at))
    {
        return Ok(Rest::Damaged(LogError::Damaged {
            path: path.into(),
            offset: at,
            found: format!(
                "record {next_lsn} should be here and cannot be read, while a later record stands whole at byte {}",
                at + later as u64
            ),
        }));
    }
    Ok(Rest::Torn(rest.len()))
}

/// Writes zeros, durably.
pub(crate) fn zero(file: &dyn LogFile, path: &str, at: u64, length: usize) -> Result<(), LogError> {
    file.write_at(&vec![0; length], at)
        .and_then(|()| file.sync())
        .map_err(LogError::io("cut the end of", path))
}

/// The bytes from `at` to the last one that is not zero.
pub(crate) fn written(file: &dyn LogFile, at: u64) -> std::io::Result<Vec<u8>> {
    let mut window = vec![0; WINDOW];
    let (mut start, mut end) = (at, at);
    while start < file.size() {
        let size = (file.size() - start).min(WINDOW as u64);
        let seen = &mut window[..size as usize];
        file.read_at(seen, start)?;
        if let Some(last) = seen.iter().rposition(|byte| *byte != 0) {
            end = start + last as u64 + 1;
        }
        start += size;
    }
    let mut bytes = vec![0; (end - at) as usize];
    file.read_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The first whole later record in `rest`, and whether it starts a commit; one that does is preferred,
/// as it proves more.
fn later_record(rest: &[u8], next_lsn: Lsn) -> Option<(usize, bool)> {
    let mut first = None;
    for at in 0..rest.len().saturating_sub(HEAD - 1) {
        let head = &rest[at..at + HEAD];
        let lsn = u64_at(head, 8);
        if !matches!(head[16] & !(STARTS_COMMIT | ERASED), MESSAGE | FACT)
            || lsn <= next_lsn
            || lsn > next_lsn + LSNS_AHEAD
        {
            continue;
        }
        let Some(bytes) = Frame::length(head).and_then(|length| rest.get(at..at + length)) else {
            continue;
        };
        match Frame::parse(bytes) {
            Some(frame) if frame.starts_commit => return Some((at, true)),
            Some(_) if first.is_none() => first = Some((at, false)),
            _ => {}
        }
    }
    first
}

/// Whether a sector that the record at the start of `rest` touches is all zeros: it never reached the
/// disk.
fn lost_a_sector(rest: &[u8], at: u64) -> bool {
    let length = rest.get(..HEAD).and_then(Frame::length).unwrap_or(HEAD).min(rest.len());
    let mut start = 0;
    while start < length {
        let end = ((at + start as u64) / SECTOR + 1) * SECTOR - at;
        let end = (end as usize).min(rest.len());
        if rest[start..end].iter().all(|byte| *byte == 0) {
            return true;
        }
        start = end;
    }
    false
}
