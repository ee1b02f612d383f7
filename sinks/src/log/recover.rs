//! Finds the end of the log in a folder that a process may have left at any moment.
//!
//! Only the last segment can hold an unfinished write; see [`super::tail`]. The earlier ones are not
//! read here: whoever reads them checks every record. Segments behind the last that were zeroed ahead
//! and never begun are kept as spares.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_proto::record::Lsn;

use super::LogError;
use super::base::Base;
use super::files::{Files, LogFile};
use super::frame::{HEADER, Header};
use super::scan::Scan;
use super::segments;
use super::space::Spare;
use super::tail::{self, Rest};

/// More than one write of the committer: a commit takes no more records at 4 MiB.
const LONGEST_COMMIT: u64 = 8 << 20;

/// Where appending goes on.
pub(crate) struct Tail {
    pub segment: u32,
    pub file: Arc<dyn LogFile>,
    pub end: u64,
    pub next_lsn: Lsn,
}

/// What was found.
pub(crate) struct Recovered {
    /// The first LSN of each segment.
    pub known: BTreeMap<u32, Lsn>,
    pub tail: Tail,
    pub spares: Vec<Spare>,
}

/// Opens the log, or begins one of `segment` bytes a segment.
pub(crate) fn recover(files: &dyn Files, segment: u64) -> Result<Recovered, LogError> {
    files.take_back_moves().map_err(LogError::io("take back moves in", files.path("")))?;
    let names = files.list().map_err(LogError::io("list", files.path("")))?;
    for leftover in names.iter().filter(|name| name.ends_with(".tmp")) {
        files.remove(leftover).map_err(LogError::io("remove", files.path(leftover)))?;
    }
    let numbers: Vec<u32> = names.iter().filter_map(|name| segments::number(name)).collect();
    let base = Base::load(files)?;
    if let Some(first) = numbers.first().filter(|first| **first > base.segment + 1) {
        return Err(missing(files, base.segment + 1, *first));
    }
    if let Some(pair) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(missing(files, pair[0] + 1, pair[1]));
    }
    let (mut known, mut ahead) = (BTreeMap::new(), Vec::new());
    let mut torn = None;
    for number in numbers {
        match header(files, number)? {
            Begun::From(first_lsn) if ahead.is_empty() => drop(known.insert(number, first_lsn)),
            Begun::From(_) => {
                return Err(LogError::Damaged {
                    path: files.path(&segments::name(number - 1)),
                    offset: 0,
                    found: "it was never begun, while the next segment was".into(),
                });
            }
            Begun::Never => ahead.push(number),
            Begun::Torn(file) => {
                torn = torn.or(Some((number, file)));
                ahead.push(number);
            }
        }
    }
    if let Some((number, file)) = torn {
        tail::zero(&*file, &files.path(&segments::name(number)), 0, HEADER)?;
    }
    let tail = match known.last_key_value() {
        Some((number, first_lsn)) => find_end(files, *number, *first_lsn)?,
        None => {
            let tail = begin(files, ahead.first().copied().unwrap_or(1), segment)?;
            ahead.retain(|number| *number != tail.segment);
            known.insert(tail.segment, tail.next_lsn);
            tail
        }
    };
    let spares = keep_spares(files, &ahead, segment)?;
    Ok(Recovered { known, tail, spares })
}

fn missing(files: &dyn Files, number: u32, later: u32) -> LogError {
    LogError::Refused(format!(
        "`{}` is missing, while segment {later} of the log is there; restore it from a backup, or move the data \
         directory away to start empty",
        files.path(&segments::name(number)),
    ))
}

/// Whether a segment was begun.
enum Begun {
    Never,
    From(Lsn),
    /// The write that begins it was cut short inside the header: nothing stands behind.
    Torn(Arc<dyn LogFile>),
}

fn header(files: &dyn Files, number: u32) -> Result<Begun, LogError> {
    let name = segments::name(number);
    let path = files.path(&name);
    let damaged = |found| LogError::Damaged { path: path.clone(), offset: 0, found };
    let mut bytes = [0; HEADER];
    let file = files.open(&name).map_err(LogError::io("open", path.clone()))?;
    if file.size() < HEADER as u64 {
        return Err(damaged(format!(
            "it is {} bytes long, shorter than a segment's header",
            file.size()
        )));
    }
    file.read_at(&mut bytes, 0).map_err(LogError::io("read", path.clone()))?;
    match Header::parse(&bytes) {
        Err(found) => {
            let empty = is_zeros(&*file, HEADER as u64);
            if empty.map_err(LogError::io("read", path.clone()))? {
                Ok(Begun::Torn(file))
            } else {
                Err(damaged(found))
            }
        }
        Ok(Some(header)) if header.segment != number => {
            let found =
                format!("it is segment {} under the name of segment {number}", header.segment);
            Err(LogError::Damaged { path, offset: 0, found })
        }
        Ok(header) => Ok(header.map_or(Begun::Never, |header| Begun::From(header.first_lsn))),
    }
}

fn find_end(files: &dyn Files, number: u32, first_lsn: Lsn) -> Result<Tail, LogError> {
    let name = segments::name(number);
    let path = files.path(&name);
    let file = files.open(&name).map_err(LogError::io("open", path.clone()))?;
    let mut scan = Scan::new(&*file, first_lsn);
    let mut last_commit = HEADER as u64;
    while let Some(record) = scan.next().map_err(LogError::io("read", path.clone()))? {
        if record.frame.starts_commit {
            last_commit = record.offset.into();
        }
    }
    let (end, next_lsn) = scan.position();
    let torn = match tail::examine(&*file, &path, end, next_lsn)? {
        Rest::Nothing => 0,
        Rest::Torn(bytes) => bytes as u64,
        Rest::Damaged(error) => return Err(error),
    };
    make_durable(&*file, &path, last_commit, end, torn)?;
    if torn > 0 {
        tracing::warn!(
            "`{path}` ended with an unfinished write of {torn} bytes, which nobody was told of; it was cut"
        );
    }
    Ok(Tail { segment: number, file, end, next_lsn })
}

/// Writes the last commit again, and zeros where the next one may go, and syncs both. What was read may
/// stand in the system's cache only: the process that wrote it may have been killed before its sync, or
/// that sync have failed, after which the system takes the pages for written and syncs them no more. So
/// may the zeros of a start whose cut failed to be synced: the disk would then still hold the torn write.
fn make_durable(
    file: &dyn LogFile,
    path: &str,
    last_commit: u64,
    end: u64,
    torn: u64,
) -> Result<(), LogError> {
    // The header goes with the first commit of its segment.
    let start = if last_commit == HEADER as u64 { 0 } else { last_commit };
    let zeros = torn.max(LONGEST_COMMIT).min(file.size() - end);
    let mut bytes = vec![0; (end - start) as usize];
    file.read_at(&mut bytes, start)
        .and_then(|()| {
            bytes.resize((end - start + zeros) as usize, 0);
            file.write_at(&bytes, start)
        })
        .and_then(|()| file.sync())
        .map_err(LogError::io("make durable the end of", path))
}

/// Begins the first segment of a new log.
fn begin(files: &dyn Files, number: u32, segment: u64) -> Result<Tail, LogError> {
    let name = segments::name(number);
    let made = files.create_zeroed(&name, segment).and_then(|file| {
        file.write_at(&Header { segment: number, first_lsn: 1 }.to_bytes(), 0)?;
        file.sync()?;
        Ok(file)
    });
    let file =
        made.map_err(LogError::io("make the first segment of the log", files.path(&name)))?;
    Ok(Tail { segment: number, file, end: HEADER as u64, next_lsn: 1 })
}

/// Keeps the segments that were made ahead, as long as they are zeros and of the present size. What is
/// not (a torn first commit whose header was lost, another size) goes, with all behind it.
fn keep_spares(files: &dyn Files, ahead: &[u32], segment: u64) -> Result<Vec<Spare>, LogError> {
    let mut spares = Vec::new();
    let mut keep = true;
    for number in ahead {
        let name = segments::name(*number);
        let file = files.open(&name).map_err(LogError::io("open", files.path(&name)))?;
        keep = keep
            && file.size() == segment
            && is_zeros(&*file, 0).map_err(LogError::io("read", files.path(&name)))?;
        if keep {
            spares.push((*number, file));
        } else {
            files.remove(&name).map_err(LogError::io("remove", files.path(&name)))?;
        }
    }
    Ok(spares)
}

fn is_zeros(file: &dyn LogFile, from: u64) -> std::io::Result<bool> {
    let mut window = vec![0; 1 << 20];
    let mut at = from;
    while at < file.size() {
        let size = (file.size() - at).min(window.len() as u64) as usize;
        file.read_at(&mut window[..size], at)?;
        if window[..size].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += size as u64;
    }
    Ok(true)
}
