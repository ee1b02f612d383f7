//! One file that is appended to, and its full predecessors `PATH.1`, `PATH.2`, ...

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

pub(crate) struct Rotation {
    path: PathBuf,
    limit: u64,
    keep: usize,
    file: File,
    size: u64,
    /// Bytes that a failed write has left in the middle of a line.
    torn: bool,
}

impl Rotation {
    pub(crate) fn open(path: PathBuf, limit: u64, keep: usize) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, limit, keep, file, size, torn: false })
    }

    /// Appends whole lines. On an error some of them may be written, the last one in part.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.size >= self.limit {
            self.rotate()?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let result = self.file.write_all(lines);
        self.torn = result.is_err();
        self.size = self.file.metadata().map_or(self.size, |found| found.len());
        result
    }

    /// Hands what was written to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.sync()?;
        if self.keep == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..self.keep).rev() {
                match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, self.numbered(1))?;
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
