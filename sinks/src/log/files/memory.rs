//! A folder in memory: for tests, for simulated runs and for measuring all but the disk.
//!
//! `sync` does nothing. A file takes memory up to its last written byte. The folder can be given a
//! size, at which it is full as a disk would be.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{Files, LogFile};

#[derive(Default)]
pub(crate) struct Memory {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
    /// Memory of a removed file for the next one: new memory costs a page fault for every 4 KiB.
    spare: Mutex<Option<Vec<u8>>>,
    /// Bytes that all files may claim; `None`: any.
    room: Mutex<Option<u64>>,
}

impl Memory {
    /// Makes the folder as large as this.
    #[cfg(test)]
    pub(crate) fn set_room(&self, bytes: u64) {
        *self.room.lock() = Some(bytes);
    }

    /// A copy, as a machine would find it after the power went and came back.
    #[cfg(test)]
    pub(crate) fn copy(&self) -> Self {
        let files = self.files.lock();
        let copy = |file: &MemoryFile| MemoryFile {
            size: file.size,
            bytes: RwLock::new(file.bytes.read().clone()),
        };
        let files = files.iter().map(|(name, file)| (name.clone(), Arc::new(copy(file)))).collect();
        Self { files: Mutex::new(files), ..Self::default() }
    }

    fn insert(&self, name: &str, file: MemoryFile) -> io::Result<Arc<MemoryFile>> {
        let mut files = self.files.lock();
        let used: u64 =
            files.iter().filter(|(other, _)| *other != name).map(|(_, file)| file.size).sum();
        if self.room.lock().is_some_and(|room| used + file.size > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = Arc::new(file);
        files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl Files for Memory {
    fn path(&self, name: &str) -> String {
        format!("memory/{name}")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.lock().get(name).map(|file| file.bytes.read().clone()))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = MemoryFile { size: bytes.len() as u64, bytes: RwLock::new(bytes.to_vec()) };
        self.insert(name, file).map(drop)
    }

    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Arc<dyn LogFile>> {
        let mut bytes = self.spare.lock().take().unwrap_or_default();
        bytes.clear();
        // Memory that is not written to is not taken from the machine.
        bytes.reserve_exact(size as usize);
        Ok(self.insert(name, MemoryFile { size, bytes: RwLock::new(bytes) })?)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        match self.files.lock().get(name) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn LogFile>),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.files.lock().remove(name).ok_or(io::ErrorKind::NotFound)?;
        if let Some(file) = Arc::into_inner(removed) {
            *self.spare.lock() = Some(file.bytes.into_inner());
        }
        Ok(())
    }
}

struct MemoryFile {
    size: u64,
    /// The bytes up to the last one written; what follows is zeros.
    bytes: RwLock<Vec<u8>>,
}

impl LogFile for MemoryFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self.bytes.read();
        let written = bytes.get(offset as usize..).unwrap_or_default();
        let known = written.len().min(buffer.len());
        buffer[..known].copy_from_slice(&written[..known]);
        buffer[known..].fill(0);
        Ok(())
    }

    fn write_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        let end = offset as usize + new.len();
        if end as u64 > self.size {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = self.bytes.write();
        let offset = offset as usize;
        if bytes.len() < offset {
            bytes.resize(offset, 0);
        }
        let (over, beyond) = new.split_at(new.len().min(bytes.len() - offset));
        bytes[offset..offset + over.len()].copy_from_slice(over);
        bytes.extend_from_slice(beyond);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
