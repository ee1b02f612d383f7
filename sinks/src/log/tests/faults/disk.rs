//! A disk with a cache of 512-byte sectors, which loses what was not synced and fails when told to.
//!
//! As on Linux, sectors whose sync failed count as written afterwards: they are seen until the power goes
//! and a later sync does not write them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::dice::Dice;
use crate::log::files::{Files, LogFile};

const SECTOR: usize = 512;

/// What goes wrong at the next call of its sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Read,
    /// Nothing is written.
    Write,
    /// A part is written.
    ShortWrite,
    /// Any sectors are written, and all count as written.
    Sync,
}

#[derive(Clone)]
pub(in crate::log::tests) struct FaultyDisk(Arc<Mutex<State>>);

struct State {
    dice: Dice,
    files: BTreeMap<String, Content>,
    armed: Option<Fault>,
    full: bool,
    /// Nothing changes any more once so many calls changed something: the process has ended.
    last: Option<u64>,
    /// Calls that changed something.
    changes: u64,
}

#[derive(Clone, PartialEq, Eq)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl FaultyDisk {
    pub(in crate::log::tests) fn new(seed: u64) -> Self {
        let dice = Dice::new(!seed);
        let state = State {
            dice,
            files: BTreeMap::new(),
            armed: None,
            full: false,
            last: None,
            changes: 0,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn arm(&self, fault: Option<Fault>) {
        self.0.lock().armed = fault;
    }

    pub(super) fn armed(&self) -> Option<Fault> {
        self.0.lock().armed
    }

    /// Refuses every change after so many.
    pub(in crate::log::tests) fn refuse_after(&self, changes: Option<u64>) {
        self.0.lock().last = changes;
    }

    /// Takes no new files.
    pub(super) fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    pub(in crate::log::tests) fn changes(&self) -> u64 {
        self.0.lock().changes
    }

    /// The power goes and comes back: any sectors of what was not synced are kept.
    pub(in crate::log::tests) fn power_cut(&self) {
        let State { files, dice, .. } = &mut *self.0.lock();
        for content in files.values_mut() {
            content.settle(|_| dice.one_in(2));
            content.seen.clone_from(&content.durable);
        }
    }

    /// Flips a bit at rest.
    pub(super) fn flip(&self, name: &str, byte: usize, bit: usize) {
        let mut state = self.0.lock();
        let content = state.files.get_mut(name).expect("there");
        content.seen[byte] ^= 1 << bit;
        content.durable[byte] ^= 1 << bit;
    }

    /// Every file and what is seen of it.
    pub(in crate::log::tests) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        state.files.iter().map(|(name, content)| (name.clone(), content.seen.clone())).collect()
    }

    fn create(&self, name: &str, bytes: Vec<u8>) -> io::Result<Arc<dyn LogFile>> {
        let size = bytes.len() as u64;
        let mut state = self.0.lock();
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.change()?;
        let content = Content { durable: bytes.clone(), seen: bytes, dirty: BTreeSet::new() };
        state.files.insert(name.to_owned(), content);
        Ok(Arc::new(FaultyFile { disk: self.clone(), name: name.to_owned(), size }))
    }
}

impl State {
    fn change(&mut self) -> io::Result<()> {
        if self.last.is_some_and(|last| self.changes >= last) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.changes += 1;
        Ok(())
    }

    fn fails(&mut self, fault: Fault) -> bool {
        let fails = self.armed == Some(fault);
        if fails {
            self.armed = None;
        }
        fails
    }

    fn content(&mut self, name: &str) -> io::Result<&mut Content> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        self.seen[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR));
    }

    /// Writes those dirty sectors that `keep` says; none is dirty after.
    fn settle(&mut self, mut keep: impl FnMut(usize) -> bool) {
        for sector in std::mem::take(&mut self.dirty) {
            if keep(sector) {
                let end = ((sector + 1) * SECTOR).min(self.seen.len());
                self.durable[sector * SECTOR..end]
                    .copy_from_slice(&self.seen[sector * SECTOR..end]);
            }
        }
    }
}

impl Files for FaultyDisk {
    fn path(&self, name: &str) -> String {
        format!("faulty/{name}")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().files.get(name).map(|content| content.seen.clone()))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.create(name, bytes.to_vec()).map(drop)
    }

    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Arc<dyn LogFile>> {
        self.create(name, vec![0; size as usize])
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let size = self.0.lock().content(name)?.seen.len() as u64;
        Ok(Arc::new(FaultyFile { disk: self.clone(), name: name.to_owned(), size }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.change()?;
        state.files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    name: String,
    size: u64,
}

impl LogFile for FaultyFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        if state.fails(Fault::Read) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let content = state.content(&self.name)?;
        let offset = offset as usize;
        let found = content.seen.get(offset..offset + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.change()?;
        if state.fails(Fault::Write) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let short = state.fails(Fault::ShortWrite);
        let written = if short { state.dice.roll(bytes.len()) } else { bytes.len() };
        state.content(&self.name)?.write(&bytes[..written], offset as usize);
        if short { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.change()?;
        let fails = state.fails(Fault::Sync);
        let State { files, dice, .. } = &mut *state;
        let content = files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        content.settle(|_| !fails || dice.one_in(2));
        if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}
