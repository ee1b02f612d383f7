//! The few things that the log asks of a file system, so that the same code runs on a disk and in
//! memory.
//!
//! One [`Files`] is one flat folder. What `create_zeroed` and `replace` have made survives a power cut
//! once they return; what `write_at` has written does after `sync`.

mod disk;
mod memory;

use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(test)]
pub(crate) use disk::STEPS;
pub(crate) use disk::{Disk, Lock};
pub(crate) use memory::Memory;

/// One flat folder of files.
pub(crate) trait Files: Send + Sync {
    /// How a file of this folder is named in messages.
    fn path(&self, name: &str) -> String;
    /// The names in the folder, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A whole small file; `None` when it does not exist.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Writes a whole small file, durably: readers see the old bytes or the new ones.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file of so many zeros, durably. Nothing of it is left behind on failure.
    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Arc<dyn LogFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Removes a file, wherever it lies.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Moves a file that is written no more to another folder, durably; under its name it is found as before.
    /// Gives whether it had to be moved. What another file holds there is left alone, as an error.
    fn move_out(&self, _name: &str, _folder: &Path) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Takes back what a crash has left of moves. For whoever writes to the folder.
    fn take_back_moves(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of fixed size.
pub(crate) trait LogFile: Send + Sync {
    fn size(&self) -> u64;
    /// Fills the whole buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all bytes, inside the file's size.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}
