//! Room for what was admitted: pre-zeroed segments, made ahead, and the gate that closes without them.
//!
//! Invariant: while the gate is open, the running segment and the spares together take at least the
//! reserve, which is more than all commands in flight. So an append never meets a full disk; commands
//! do, before they enter. The maker's loop tries again each second until there is room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use imflow_kind::Gate;
use parking_lot::{Condvar, Mutex};

use super::LogError;
use super::files::{Files, LogFile};
use super::frame::HEADER;
use super::segments;

/// Bytes of commands that may be in flight.
const RESERVE: u64 = 32 << 20;
/// A commit takes no more records once it has so many bytes.
const COMMIT_BYTES: u64 = 4 << 20;
/// How long a full disk is left alone.
const PROBE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1_000 });

/// The sizes that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Bytes of a segment.
    pub segment: u64,
    /// Bytes at which a commit is closed; at most half a segment, so that it fits the next one.
    pub commit: u64,
    /// Bytes that must be free while the gate is open.
    pub reserve: u64,
}

impl Sizes {
    pub(crate) const fn of_segment(segment: u64) -> Self {
        let half = segment / 2;
        let commit = if COMMIT_BYTES < half { COMMIT_BYTES } else { half };
        Self { segment, commit, reserve: RESERVE }
    }

    /// The longest record: with one more of these, a commit that was almost closed fits a segment.
    pub(crate) const fn longest_record(self) -> usize {
        (self.segment - self.commit) as usize - HEADER
    }

    /// What a segment with so many bytes left is sure to take: a commit that does not fit leaves less
    /// than a commit unused.
    fn usable(self, left: u64) -> u64 {
        left.saturating_sub(self.commit)
    }

    /// Segments made ahead: with a quarter more than the reserve, so that the gate stays open while the one that
    /// was just begun is replaced.
    fn spares(self) -> usize {
        (self.reserve + self.reserve / 4).div_ceil(self.usable(self.segment - HEADER as u64))
            as usize
    }
}

pub(crate) type Spare = (u32, Arc<dyn LogFile>);

pub(crate) struct Space {
    files: Arc<dyn Files>,
    pub(crate) sizes: Sizes,
    gate: Gate,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    spares: VecDeque<Spare>,
    next_number: u32,
    /// Bytes left in the segment that is written.
    left: u64,
    /// Writers of the index that wait for the disk.
    index_stuck: usize,
    /// Nobody insists on the index any more.
    index_given_up: bool,
    stopping: bool,
}

impl Space {
    /// Room as recovery found it: the running segment's number and free bytes, and the spares behind it.
    pub(crate) fn new(
        files: Arc<dyn Files>,
        sizes: Sizes,
        running: u32,
        left: u64,
        spares: Vec<Spare>,
    ) -> Self {
        let next_number = running + 1 + spares.len() as u32;
        let state = State {
            spares: spares.into(),
            next_number,
            left,
            index_stuck: 0,
            index_given_up: false,
            stopping: false,
        };
        let space = Self {
            files,
            sizes,
            gate: Gate::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        space.settle(&space.state.lock());
        space
    }

    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Takes the next segment; waits while there is none, which the gate makes all but impossible.
    pub(crate) fn take(&self) -> Spare {
        let mut state = self.state.lock();
        loop {
            if let Some(spare) = state.spares.pop_front() {
                state.left = spare.1.size() - HEADER as u64;
                self.settle(&state);
                self.changed.notify_all();
                return spare;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Whether all segments are made that are wanted ahead: the running one may be left before it is full.
    pub(crate) fn has_spares(&self) -> bool {
        self.state.lock().spares.len() >= self.sizes.spares()
    }

    /// Says how much the running segment still takes.
    pub(crate) fn note_left(&self, left: u64) {
        let mut state = self.state.lock();
        state.left = left;
        self.settle(&state);
    }

    /// A writer of the index waits for the disk: closes the gate.
    pub(crate) fn note_index_stuck(&self) {
        let mut state = self.state.lock();
        state.index_stuck += 1;
        self.settle(&state);
    }

    /// What [`Space::note_index_stuck`] noted is over.
    pub(crate) fn note_index_works(&self) {
        let mut state = self.state.lock();
        state.index_stuck -= 1;
        self.settle(&state);
    }

    /// Leaves the disk alone for a while; `false`: the writers of the index give up.
    pub(crate) fn wait_for_index(&self) -> bool {
        let mut state = self.state.lock();
        if !state.index_given_up {
            self.changed.wait_for(&mut state, PROBE);
        }
        !state.index_given_up
    }

    /// Whether the writers of the index give up.
    pub(crate) fn has_given_up_index(&self) -> bool {
        self.state.lock().index_given_up
    }

    /// Makes the writers of the index give up. The next start reads again what the index lacks.
    pub(crate) fn give_up_index(&self) {
        self.state.lock().index_given_up = true;
        self.changed.notify_all();
    }

    /// Makes one spare segment if one is wanted; says whether it did.
    pub(crate) fn make_one(&self) -> Result<bool, LogError> {
        let number = {
            let state = self.state.lock();
            if state.spares.len() >= self.sizes.spares() {
                return Ok(false);
            }
            state.next_number
        };
        let name = segments::name(number);
        let file = self.files.create_zeroed(&name, self.sizes.segment);
        let file = file.map_err(LogError::io("make the next segment", self.files.path(&name)))?;
        let mut state = self.state.lock();
        state.next_number += 1;
        state.spares.push_back((number, file));
        self.settle(&state);
        self.changed.notify_all();
        Ok(true)
    }

    /// Makes spares until told to stop.
    pub(crate) fn run(&self) {
        let mut told = false;
        loop {
            let made = self.make_one();
            match &made {
                Ok(true) if told => {
                    tracing::info!("there is room on the disk again; messages are taken")
                }
                // Told once, not each second.
                Err(error) if !told => {
                    let cure = if error.is_disk_full() {
                        "free space on the disk of `service.data`"
                    } else {
                        "see to the disk of `service.data`"
                    };
                    tracing::error!(
                        "{error}; soon messages are refused with STORAGE_FULL while reads go on; {cure}"
                    );
                }
                _ => {}
            }
            told = made.is_err();
            let mut state = self.state.lock();
            if state.stopping {
                return;
            }
            match made {
                Ok(true) => {}
                Ok(false) if state.spares.len() < self.sizes.spares() => {}
                Ok(false) => self.changed.wait(&mut state),
                Err(_) => drop(self.changed.wait_for(&mut state, PROBE)),
            }
        }
    }

    /// Ends [`Space::run`].
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    fn settle(&self, state: &State) {
        let spares: u64 = state
            .spares
            .iter()
            .map(|(_, file)| self.sizes.usable(file.size() - HEADER as u64))
            .sum();
        let room = self.sizes.usable(state.left) + spares;
        self.gate.set_closed(room < self.sizes.reserve || state.index_stuck > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::files::Memory;

    const MIB: u64 = 1 << 20;

    fn sizes() -> Sizes {
        Sizes { segment: MIB, commit: MIB / 2, reserve: MIB }
    }

    #[test]
    fn the_gate_closes_while_the_reserve_is_still_there_and_opens_with_new_room() {
        let disk = Arc::new(Memory::default());
        disk.set_room(MIB);
        let space = Space::new(disk.clone(), sizes(), 1, MIB, Vec::new());
        while space.make_one().is_ok_and(|made| made) {}
        assert!(space.make_one().expect_err("the disk is full").is_disk_full());
        assert!(
            space.gate().is_closed(),
            "half of each segment may be left unused by a commit that does not fit"
        );
        disk.set_room(8 * MIB);
        while space.make_one().expect("room") {}
        assert!(!space.gate().is_closed());
        space.note_left(0);
        assert!(!space.gate().is_closed(), "the spares alone hold the reserve");
        space.take();
        space.note_left(0);
        assert!(space.gate().is_closed());
    }

    #[test]
    fn the_gate_stays_open_while_a_small_segment_is_replaced() {
        let sizes = Sizes::of_segment(4 * MIB);
        let space = Space::new(Arc::new(Memory::default()), sizes, 1, 4 * MIB, Vec::new());
        while space.make_one().expect("room") {}
        for _ in 0..4 {
            space.take();
            space.note_left(0);
            assert!(!space.gate().is_closed(), "nobody is refused before a spare is made");
        }
        space.take();
        space.note_left(0);
        assert!(space.gate().is_closed());
    }

    #[test]
    fn the_gate_closes_while_the_index_cannot_be_written() {
        let sizes = Sizes { reserve: 0, ..sizes() };
        let space = Space::new(Arc::new(Memory::default()), sizes, 1, MIB, Vec::new());
        assert!(!space.gate().is_closed());
        space.note_index_stuck();
        space.note_index_stuck();
        space.note_index_works();
        assert!(space.gate().is_closed() && space.wait_for_index(), "one of the two still waits");
        space.note_index_works();
        assert!(!space.gate().is_closed());
        space.give_up_index();
        assert!(!space.wait_for_index());
    }
}
