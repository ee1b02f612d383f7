//! The log of a data directory as its operator handles it, for `imflow log`.
//!
//! Looking ([`OfflineLog::verify`], [`OfflineLog::dump`]) takes no lock and changes nothing, so it may be
//! done beside a service that runs: what it is just writing looks like an unfinished write then. So may
//! [`OfflineLog::backup`]. Whatever changes the log takes the lock of the directory first.

mod backup;
mod cut;
mod dump;
mod erase;
mod export;
mod index;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imflow_proto::record::Lsn;

use super::LogError;
use super::files::{Disk, Files, Lock, LogFile};
use super::frame::{HEADER, Header};
use super::segments;

pub use backup::{Backup, restore};
pub use cut::Cut;
pub use dump::{Dumped, Filter};
pub use erase::Whose;
pub use index::Rebuilt;
pub use walk::{Problem, Torn, Walk};

/// The log in a data directory.
pub struct OfflineLog {
    data: PathBuf,
    files: Arc<Disk>,
}

/// A segment's file.
struct Segment {
    number: u32,
    path: String,
    file: Arc<dyn LogFile>,
    /// `None`: zeroed ahead and never begun.
    header: Result<Option<Header>, String>,
}

impl Segment {
    fn is_begun(&self) -> bool {
        !matches!(self.header, Ok(None))
    }
}

impl OfflineLog {
    /// Finds the log in a data directory.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(data: &Path) -> Result<Self, LogError> {
        let folder = data.join("log");
        if !folder.is_dir() {
            return Err(LogError::Refused(format!(
                "there is no log in `{}`; name the data directory of a service with --data, or its topology with --config",
                data.display()
            )));
        }
        Ok(Self { data: data.to_owned(), files: Arc::new(Disk::open(folder)?) })
    }

    /// Reads the log through, all of it that can be read.
    ///
    /// # Errors
    /// When the disk fails. Damage is no error here but what is reported.
    pub fn verify(&self) -> Result<Walk, LogError> {
        walk::walk(&self.segments()?, &mut |_, _| Ok(true))
    }

    /// Removes the index, which the next start makes anew.
    fn remove_index(&self) -> Result<(), LogError> {
        let index = self.data.join("index");
        if index.exists() {
            let shown = index.display().to_string();
            std::fs::remove_dir_all(index).map_err(LogError::io("remove", shown))?;
        }
        Ok(())
    }

    fn lock(&self) -> Result<Lock, LogError> {
        Lock::take(&self.data.join("log"))
    }

    /// The segments' files, in order.
    fn segments(&self) -> Result<Vec<Segment>, LogError> {
        let names = self.files.list().map_err(LogError::io("list", self.files.path("")))?;
        let numbers = names.iter().filter_map(|name| segments::number(name));
        numbers.map(|number| self.segment(number)).collect()
    }

    fn segment(&self, number: u32) -> Result<Segment, LogError> {
        let name = segments::name(number);
        let path = self.files.path(&name);
        let file = self.files.open(&name).map_err(LogError::io("open", path.clone()))?;
        let mut bytes = [0; HEADER];
        let header = if file.size() < HEADER as u64 {
            Err(format!("it is {} bytes long, shorter than a segment's header", file.size()))
        } else {
            file.read_at(&mut bytes, 0).map_err(LogError::io("read", path.clone()))?;
            Header::parse(&bytes).and_then(|header| match header {
                Some(header) if header.segment != number => {
                    Err(format!("it is segment {} under the name of {number}", header.segment))
                }
                header => Ok(header),
            })
        };
        Ok(Segment { number, path, file, header })
    }
}

/// Where a record stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub lsn: Lsn,
    pub path: String,
    pub offset: u64,
}
