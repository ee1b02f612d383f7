//! What is committed, as far as it is remembered: a window of ids and a mark for each device.
//!
//! Invariant: [`Memory::recall`] says `New` only when the id was certainly never committed (or longer
//! ago than `retain`). What was forgotten leaves a trace that makes the answer `Unsure` instead: a
//! partition's `forgot` flag for ids, its `floor` for marks (the highest counter that a forgotten mark
//! had reached). A fold of the log and nothing else, so that it can be exported at any time; an export
//! holds the marks, and of the ids only whether there were any: after a restart the index answers for
//! those of before.

use imflow_kind::Snapshot;
use imflow_proto::Keys;
use imflow_proto::id::ClientMsgId;
use imflow_proto::record::Committed;
use imflow_proto::wire::Message;

use super::marks::Marks;
use super::original::Original;
use super::window::Window;
use crate::snapshot::{Reader, Writer, expect_version};

const VERSION: u16 = 1;

pub(super) struct Memory {
    retain_ms: i64,
    window: Window,
    marks: Vec<Marks>,
}

/// What memory can say of an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recall {
    New,
    Repeat(Original),
    /// The index must be asked.
    Unsure,
}

impl Memory {
    pub(super) fn new(
        retain_ms: i64,
        window_max: usize,
        marks_max: usize,
        partitions: u32,
    ) -> Self {
        let partitions = partitions.max(1) as usize;
        let marks_max = marks_max.div_ceil(partitions).max(1);
        let marks = (0..partitions).map(|_| Marks::new(marks_max)).collect();
        Self { retain_ms, window: Window::new(window_max, partitions), marks }
    }

    /// Loads what [`Memory::recall`] will look at.
    pub(super) fn warm(&self, keys: &Keys) {
        if let Some(count) = keys.count {
            self.marks[self.partition_of(keys)].warm(&count);
        }
    }

    pub(super) fn recall(&self, keys: &Keys, now_ms: i64) -> Recall {
        let partition = self.partition_of(keys);
        if keys.count.is_some_and(|count| self.marks[partition].is_above(&count)) {
            return Recall::New;
        }
        match self.window.get(keys.message) {
            Some(original) if self.is_kept(original, now_ms) => Recall::Repeat(*original),
            // A later commit under the same id would have replaced it.
            Some(_) => Recall::New,
            None if self.window.forgot(partition) => Recall::Unsure,
            None => Recall::New,
        }
    }

    /// Whether an id still counts; after `retain` it is free again.
    pub(super) fn is_kept(&self, original: &Original, now_ms: i64) -> bool {
        now_ms.saturating_sub(original.created_at) <= self.retain_ms
    }

    /// Folds one committed message in.
    pub(super) fn remember(&mut self, committed: &Committed) {
        let (keys, message) = (&committed.keys, &committed.message);
        let original = Original::of(message, keys.content);
        let partition = self.partition_of(keys);
        let marks = &mut self.marks[partition];
        let is_first = keys.count.is_some_and(|count| {
            marks.raise(count.device, count.local_seq.saturating_add(1), || device_text(message))
        });
        // What lies above its device's mark was never committed before.
        let known = if is_first { None } else { self.window.get(keys.message) };
        if known.is_none_or(|known| known.seq < original.seq) {
            self.window.insert(partition, keys.message, original);
        }
    }

    fn partition_of(&self, keys: &Keys) -> usize {
        keys.partition(self.marks.len() as u32) as usize
    }

    pub(super) fn export(&self, partition: u32) -> Snapshot {
        let partition = partition as usize;
        let mut writer = Writer::default();
        writer.number(u64::from(self.window.knew(partition)));
        self.marks[partition].export(&mut writer);
        Snapshot { version: VERSION, bytes: writer.finish() }
    }

    pub(super) fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        expect_version("dedup", snapshot.version, VERSION)?;
        let partition = partition as usize;
        let mut reader = Reader(&snapshot.bytes);
        let knew = reader.number()? != 0;
        self.marks[partition].import(&mut reader)?;
        // Earlier builds put the ids themselves behind the marks.
        if knew || !reader.is_empty() {
            self.window.note_forgotten(partition);
        }
        Ok(())
    }
}

/// `{conversation}/{sender}/{userId}-{deviceId}` of an id in the standard form.
fn device_text(message: &Message) -> String {
    let Message { conversation_id, sender_id, client_msg_id, .. } = message;
    let device = ClientMsgId::parse(client_msg_id).map_or(&**client_msg_id, |id| id.sender);
    format!("{conversation_id}/{sender_id}/{device}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::committed;

    fn remember(memory: &mut Memory, id: &str, seq: u64) -> Original {
        let mut record = std::sync::Arc::unwrap_or_clone(committed("c1", "alice", id, "hi", seq));
        record.message.created_at = 0;
        memory.remember(&record);
        Original::of(&record.message, record.keys.content)
    }

    fn recall(memory: &Memory, id: &str, now_ms: i64) -> Recall {
        memory.recall(&Keys::new("c1", "alice", id, 0), now_ms)
    }

    #[test]
    fn a_forgotten_mark_leaves_a_floor() {
        let mut memory = Memory::new(1000, 2, 1, 1);
        remember(&mut memory, "alice-phone-9-1", 1);
        for seq in 2..5 {
            remember(&mut memory, &format!("alice-tablet-{seq}-1"), seq);
        }
        assert_eq!(recall(&memory, "alice-phone-9-1", 0), Recall::Unsure);
        assert_eq!(recall(&memory, "alice-phone-10-1", 0), Recall::New);
        remember(&mut memory, "alice-phone-3-1", 5);
        assert_eq!(
            recall(&memory, "alice-phone-9-1", 0),
            Recall::Unsure,
            "its new mark must not lie below the old one"
        );
    }

    #[test]
    fn a_snapshot_keeps_marks_and_that_there_were_ids() {
        let mut memory = Memory::new(1000, 2, 2, 1);
        remember(&mut memory, "free-a", 1);
        remember(&mut memory, "alice-phone-4-1", 2);
        remember(&mut memory, "alice-pad-9-1", 3);
        let mut restarted = Memory::new(1000, 2, 2, 1);
        restarted.import(0, &memory.export(0)).unwrap();
        assert_eq!(recall(&restarted, "alice-pad-9-1", 0), Recall::Unsure);
        assert_eq!(recall(&restarted, "alice-phone-5-1", 0), Recall::New);
        assert_eq!(recall(&restarted, "free-a", 0), Recall::Unsure);
        assert_eq!(restarted.export(0), memory.export(0));
        let nothing = Memory::new(1000, 2, 2, 1).export(0);
        let mut empty = Memory::new(1000, 2, 2, 1);
        empty.import(0, &nothing).unwrap();
        assert_eq!(recall(&empty, "free-a", 0), Recall::New);
    }

    #[test]
    fn the_ids_that_earlier_builds_put_behind_the_marks_count_as_forgotten() {
        let mut snapshot = Memory::new(1000, 2, 2, 1).export(0);
        snapshot.bytes.extend_from_slice(b"\x10c1/alice/free-ab!");
        let mut memory = Memory::new(1000, 2, 2, 1);
        memory.import(0, &snapshot).unwrap();
        assert_eq!(recall(&memory, "free-a", 0), Recall::Unsure);
    }

    #[test]
    fn a_later_commit_under_an_id_replaces_the_first_and_an_earlier_one_does_not() {
        let mut memory = Memory::new(1000, 4, 4, 1);
        for (seq, expected) in [(5, 5), (9, 9), (5, 9)] {
            remember(&mut memory, "free-a", seq);
            let Recall::Repeat(original) = recall(&memory, "free-a", 0) else { panic!("kept") };
            assert_eq!(original.seq, expected);
        }
    }

    #[test]
    fn nothing_forgotten_means_absent_is_new_and_retain_frees_an_id() {
        let mut memory = Memory::new(1000, 9, 9, 1);
        let first = remember(&mut memory, "free-a", 1);
        assert_eq!(recall(&memory, "free-b", 0), Recall::New);
        assert_eq!(recall(&memory, "free-a", 1000), Recall::Repeat(first));
        assert_eq!(recall(&memory, "free-a", 1001), Recall::New);
    }
}
