//! What is committed, as far as it is remembered: a window of ids and a mark for each device.
//!
//! Invariant: [`Memory::recall`] says `New` only when the id was certainly never committed (or longer
//! ago than `retain`). What was forgotten leaves a trace that makes the answer `Unsure` instead: a
//! partition's `forgot` flag for ids, its `floor` for marks (the highest counter that a forgotten mark
//! had reached). A fold of the log and nothing else, so that it can be exported at any time.

use std::collections::VecDeque;
use std::rc::Rc;

use imflow_kind::Snapshot;
use imflow_proto::id::content_hash;
use imflow_proto::wire::{Ack, AckStatus, Message};
use rapidhash::RapidHashMap;

use super::key::Key;
use crate::snapshot::{Reader, Writer, expect_version};

const VERSION: u16 = 1;

pub(super) struct Memory {
    retain_ms: i64,
    window_max: usize,
    marks_max: usize,
    window: RapidHashMap<Rc<str>, Original>,
    /// Partitions and keys of the window, oldest first.
    order: VecDeque<(u32, Rc<str>)>,
    partitions: Vec<Marks>,
}

/// A committed message, as far as a repeat needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) content: u64,
    server_msg_id: i64,
    seq: u64,
    created_at: i64,
}

impl Original {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            content: content_hash(message.r#type, &message.text, &message.payload),
            server_msg_id: message.server_msg_id,
            seq: message.seq,
            created_at: message.created_at,
        }
    }

    pub(super) fn ack(&self) -> Ack {
        let Self { server_msg_id, seq, created_at, .. } = *self;
        Ack { server_msg_id, seq, status: AckStatus::Ok.into(), created_at }
    }
}

/// What memory can say of an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recall {
    New,
    Repeat(Original),
    /// The index must be asked.
    Unsure,
}

/// The marks of one partition.
#[derive(Default)]
struct Marks {
    /// By device, the lowest counter above all that are committed.
    next: RapidHashMap<Rc<str>, u64>,
    order: VecDeque<Rc<str>>,
    /// No forgotten mark stood above this.
    floor: u64,
    /// Whether an id of this partition ever left the window.
    forgot: bool,
}

impl Memory {
    pub(super) fn new(
        retain_ms: i64,
        window_max: usize,
        marks_max: usize,
        partitions: u32,
    ) -> Self {
        let partitions: Vec<_> = (0..partitions.max(1)).map(|_| Marks::default()).collect();
        let marks_max = marks_max.div_ceil(partitions.len()).max(1);
        Self {
            retain_ms,
            window_max: window_max.max(1),
            marks_max,
            window: RapidHashMap::default(),
            order: VecDeque::new(),
            partitions,
        }
    }

    pub(super) fn recall(&self, key: &Key, now_ms: i64) -> Recall {
        let marks = &self.partitions[key.partition(self.partitions.len() as u32) as usize];
        if let Some((device, counter)) = key.mark()
            && counter >= marks.next.get(device).map_or(marks.floor, |next| marks.floor.max(*next))
        {
            return Recall::New;
        }
        match self.window.get(key.message()) {
            Some(original) if self.is_kept(original, now_ms) => Recall::Repeat(*original),
            // A later commit under the same id would have replaced it.
            Some(_) => Recall::New,
            None if marks.forgot => Recall::Unsure,
            None => Recall::New,
        }
    }

    /// Whether an id still counts; after `retain` it is free again.
    pub(super) fn is_kept(&self, original: &Original, now_ms: i64) -> bool {
        now_ms.saturating_sub(original.created_at) <= self.retain_ms
    }

    /// Folds one committed message in. `shared` is the key's text, if the caller has it allocated.
    pub(super) fn remember(&mut self, key: &Key, shared: Option<Rc<str>>, original: Original) {
        let partition = key.partition(self.partitions.len() as u32);
        if let Some((device, counter)) = key.mark() {
            self.partitions[partition as usize].raise(
                device,
                counter.saturating_add(1),
                self.marks_max,
            );
        }
        match self.window.get_mut(key.message()) {
            Some(known) if known.seq < original.seq => *known = original,
            Some(_) => {}
            None => {
                self.insert(partition, shared.unwrap_or_else(|| key.message().into()), original)
            }
        }
    }

    fn insert(&mut self, partition: u32, key: Rc<str>, original: Original) {
        if self.window.len() >= self.window_max
            && let Some((partition, oldest)) = self.order.pop_front()
        {
            self.window.remove(&oldest);
            self.partitions[partition as usize].forgot = true;
        }
        self.order.push_back((partition, Rc::clone(&key)));
        self.window.insert(key, original);
    }

    pub(super) fn export(&self, partition: u32) -> Snapshot {
        let marks = &self.partitions[partition as usize];
        let mut writer = Writer::default();
        writer.number(u64::from(marks.forgot)).number(marks.floor).number(marks.order.len() as u64);
        for device in &marks.order {
            writer.text(device).number(marks.next[device]);
        }
        for (_, key) in self.order.iter().filter(|(owner, _)| *owner == partition) {
            let original = self.window[key];
            writer.text(key).number(original.content).number(original.server_msg_id as u64);
            writer.number(original.seq).number(original.created_at as u64);
        }
        Snapshot { version: VERSION, bytes: writer.finish() }
    }

    pub(super) fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        expect_version("dedup", snapshot.version, VERSION)?;
        let mut reader = Reader(&snapshot.bytes);
        let (forgot, floor, count) = (reader.number()? != 0, reader.number()?, reader.number()?);
        let marks = &mut self.partitions[partition as usize];
        marks.forgot |= forgot;
        marks.floor = marks.floor.max(floor);
        for _ in 0..count {
            let (device, next) = (reader.text()?, reader.number()?);
            marks.raise(device, next, self.marks_max);
        }
        while !reader.is_empty() {
            let key = reader.text()?;
            let original = Original {
                content: reader.number()?,
                server_msg_id: reader.number()? as i64,
                seq: reader.number()?,
                created_at: reader.number()? as i64,
            };
            if !self.window.contains_key(key) {
                self.insert(partition, key.into(), original);
            }
        }
        Ok(())
    }
}

impl Marks {
    fn raise(&mut self, device: &str, next: u64, max: usize) {
        if let Some(known) = self.next.get_mut(device) {
            *known = next.max(*known);
            return;
        }
        if self.next.len() >= max
            && let Some(oldest) = self.order.pop_front()
        {
            let forgotten = self.next.remove(&oldest).unwrap_or_default();
            self.floor = self.floor.max(forgotten);
        }
        let device: Rc<str> = device.into();
        self.order.push_back(Rc::clone(&device));
        self.next.insert(device, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn original(seq: u64) -> Original {
        Original { content: 1, server_msg_id: 1, seq, created_at: 0 }
    }

    fn key(id: &str) -> Key {
        let mut key = Key::default();
        key.set("c1", "alice", id);
        key
    }

    #[test]
    fn a_forgotten_mark_leaves_a_floor() {
        let mut memory = Memory::new(1000, 1, 1, 1);
        memory.remember(&key("alice-phone-9-1"), None, original(1));
        memory.remember(&key("alice-tablet-1-1"), None, original(2));
        assert_eq!(memory.recall(&key("alice-phone-9-1"), 0), Recall::Unsure);
        assert_eq!(memory.recall(&key("alice-phone-10-1"), 0), Recall::New);
        memory.remember(&key("alice-phone-3-1"), None, original(3));
        assert_eq!(
            memory.recall(&key("alice-phone-9-1"), 0),
            Recall::Unsure,
            "its new mark must not lie below the old one"
        );
    }

    #[test]
    fn a_snapshot_keeps_ids_marks_and_what_was_forgotten() {
        let mut memory = Memory::new(1000, 2, 2, 1);
        for (index, id) in ["free-a", "alice-phone-4-1", "alice-pad-9-1"].iter().enumerate() {
            memory.remember(&key(id), None, original(index as u64));
        }
        let mut restarted = Memory::new(1000, 2, 2, 1);
        restarted.import(0, &memory.export(0)).unwrap();
        assert_eq!(restarted.recall(&key("alice-pad-9-1"), 0), Recall::Repeat(original(2)));
        assert_eq!(restarted.recall(&key("alice-phone-5-1"), 0), Recall::New);
        assert_eq!(restarted.recall(&key("free-a"), 0), Recall::Unsure);
        assert_eq!(restarted.export(0), memory.export(0));
    }

    #[test]
    fn nothing_forgotten_means_absent_is_new_and_retain_frees_an_id() {
        let mut memory = Memory::new(1000, 9, 9, 1);
        memory.remember(&key("free-a"), None, original(1));
        assert_eq!(memory.recall(&key("free-b"), 0), Recall::New);
        assert_eq!(memory.recall(&key("free-a"), 1000), Recall::Repeat(original(1)));
        assert_eq!(memory.recall(&key("free-a"), 1001), Recall::New);
    }
}
