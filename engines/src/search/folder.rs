//! The folder of an index: opened if it is whole and of this log, else made anew.
//!
//! `FOLDER/2`; the number is the version of what is kept. What the last commit says of itself stands in
//! its payload: position in the log, the last message (its place in the log, id and time), and whether words of
//! erased messages may be left.

use std::path::{Path, PathBuf};

use imflow_kind::{Bookmark, Journal, Logged, StoreError};
use imflow_proto::record::Lsn;
use tantivy::Index;

use super::schema::{self, Fields};

/// Of what is kept; another one is made anew from the log.
const VERSION: &str = "2";

/// How far an index has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Everything up to here is in the index.
    pub(super) position: Lsn,
    /// The last message in it.
    pub(super) last: (Lsn, i64),
    /// The time of the newest message in it.
    pub(super) newest_ms: i64,
    /// Messages were erased whose words may still be in a file.
    pub(super) sweep: bool,
}

impl Mark {
    pub(super) fn payload(&self) -> String {
        let Self { position, last: (lsn, id), newest_ms, sweep } = self;
        format!("{position} {lsn} {id} {newest_ms} {}", u8::from(*sweep))
    }

    /// What the last commit of an index says; of one without any, nothing.
    pub(super) fn of(index: &Index) -> Result<Self, String> {
        let metas = index.load_metas().map_err(|error| error.to_string())?;
        let Some(payload) = metas.payload else { return Ok(Self::default()) };
        let wrong = || format!("its mark `{payload}` is none");
        let mut parts = payload.split(' ').map(|part| part.parse::<i64>().map_err(|_| wrong()));
        let mut next = || parts.next().unwrap_or_else(|| Err(wrong()));
        let (position, lsn, id) = (next()? as Lsn, next()? as Lsn, next()?);
        Ok(Self { position, last: (lsn, id), newest_ms: next()?, sweep: next()? != 0 })
    }

    /// Whether it is the mark of an index of this log, or what speaks against it.
    fn belongs_to(&self, journal: &dyn Journal) -> Result<Result<(), String>, StoreError> {
        let durable = journal.durable_lsn();
        if self.position > durable {
            return Ok(Err(format!(
                "it has what the log has not: it stands at record {}, and the log ends at {durable}",
                self.position
            )));
        }
        let (lsn, id) = self.last;
        if lsn > 0 {
            let found = journal.read_on(&mut Bookmark::behind(lsn - 1), 1)?;
            // It may be gone from the log; then nobody can tell.
            if let Some(Logged::Message(entry)) = found.first()
                && entry.lsn == lsn
                && entry.message.server_msg_id != id
            {
                return Ok(Err(format!(
                    "record {lsn} of the log is another one: it is the index of another log"
                )));
            }
        }
        Ok(Ok(()))
    }
}

/// Opens the index in a folder, or makes a new one where that is not whole or not of this log.
pub(super) fn open(
    folder: &Path,
    journal: &dyn Journal,
) -> Result<(Index, Mark), Box<dyn std::error::Error>> {
    let version = folder.join(VERSION);
    if version.exists() {
        let found = open_whole(&version);
        let refusal = match found {
            Ok((index, mark)) => match mark.belongs_to(journal)? {
                Ok(()) => return Ok((index, mark)),
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        let folder = folder.display();
        tracing::warn!("the index of words in `{folder}` is made anew from the log: {refusal}");
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(&version)?;
    let (_, schema) = Fields::new();
    let index = Index::builder().schema(schema).settings(schema::settings());
    let index = index.create_in_dir(&version)?;
    schema::register(&index);
    Ok((index, Mark::default()))
}

/// Reads every file of the index once, since it is not safe to search in a damaged one.
fn open_whole(folder: &PathBuf) -> Result<(Index, Mark), String> {
    let index = Index::open_in_dir(folder).map_err(|error| error.to_string())?;
    if index.schema() != Fields::new().1 || *index.settings() != schema::settings() {
        return Err("it was made by another version".into());
    }
    schema::register(&index);
    let damaged = index.validate_checksum().map_err(|error| error.to_string())?;
    if let Some(file) = damaged.iter().next() {
        return Err(format!("`{}` is damaged", file.display()));
    }
    let mark = Mark::of(&index)?;
    index.reader().map_err(|error| error.to_string())?;
    Ok((index, mark))
}
