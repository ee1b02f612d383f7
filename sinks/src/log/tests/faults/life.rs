//! The life of one log, and what must hold of it after each start.

use std::collections::BTreeMap;

use imflow_kind::Store as _;
use prost::Message as _;

use super::dice::Dice;
use super::disk::{Fault, FaultyDisk};
use crate::log::frame::MESSAGE;
use crate::log::index::Reopening;
use crate::log::tests::ground::{Folder, Ground};
use crate::log::tests::*;

/// A record as the model knows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Message(Message),
    Created(String),
}

pub(super) struct Life {
    pub(super) dice: Dice,
    pub(super) disk: FaultyDisk,
    ground: Arc<Ground>,
    /// What must be in the log.
    pub(super) durable: Vec<Entry>,
    /// What may be: nobody was told of it.
    under_way: Vec<Entry>,
}

pub(super) fn play(seed: u64) {
    let mut life = Life::new(seed);
    for _ in 0..life.dice.roll(4) + 2 {
        let mut rig = life.start();
        life.check(&rig);
        life.work(&mut rig);
        life.end(rig);
    }
    let rig = life.start();
    life.check(&rig);
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            disk: FaultyDisk::new(seed),
            ground: Arc::default(),
            durable: Vec::new(),
            under_way: Vec::new(),
        }
    }

    fn open(&self) -> Result<Rig, LogError> {
        let tables = Reopening::open(Box::new(Folder(Arc::clone(&self.ground))))?;
        Rig::open(Arc::new(self.disk.clone()), Arc::new(tables))
    }

    /// Starts, perhaps at the second try.
    pub(super) fn start(&mut self) -> Rig {
        self.disk.set_full(false);
        let faults = [Fault::Read, Fault::Write, Fault::Sync, Fault::ShortWrite];
        let fault = self.dice.one_in(3).then(|| faults[self.dice.roll(faults.len())]);
        self.disk.arm(fault);
        let opened = self.open();
        if self.disk.armed().is_none()
            && let (Some(fault), Err(error)) = (fault, &opened)
        {
            assert!(error.to_string().contains("faulty/"), "{fault:?}: {error}");
            self.ground.crash(|length| self.dice.roll(length + 1));
            if self.dice.one_in(2) {
                self.disk.power_cut();
            }
            return self
                .open()
                .unwrap_or_else(|error| panic!("after {fault:?} at a start: {error}"));
        }
        self.disk.arm(None);
        opened.unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn work(&mut self, rig: &mut Rig) {
        for _ in 0..self.dice.roll(12) + 1 {
            match self.dice.roll(12) {
                0 => {
                    let full = self.dice.one_in(2);
                    self.disk.set_full(full);
                }
                1 | 2 => rig.ingest(),
                3 => {
                    let faults = [Fault::Write, Fault::ShortWrite, Fault::Sync];
                    self.disk.arm(Some(faults[self.dice.roll(faults.len())]));
                    if !self.commit(rig) {
                        return self.nothing_goes_on(rig);
                    }
                    self.disk.arm(None);
                }
                _ => assert!(self.commit(rig), "nothing was to fail"),
            }
        }
    }

    /// Commits a group, if there is room; `false`: the disk failed.
    fn commit(&mut self, rig: &mut Rig) -> bool {
        while rig.space.make_one().is_ok_and(|made| made) {}
        if rig.gate.is_closed() {
            return true;
        }
        assert!(self.under_way.is_empty());
        for _ in 0..self.dice.roll(7) + 1 {
            if rig.committer.is_full() {
                break;
            }
            let entry = self.next_entry();
            let record = match &entry {
                Entry::Message(message) => rig.ordered(message.clone()),
                Entry::Created(conversation) => rig.created(conversation),
            };
            rig.committer.add(0, record);
            self.under_way.push(entry);
        }
        let group = rig.committer.try_commit();
        let told = rig.sent.take_records().len();
        let Ok(group) = group else {
            assert_eq!(told, 0, "nobody hears of a commit that failed");
            return false;
        };
        assert_eq!(told, self.under_way.len());
        self.durable.append(&mut self.under_way);
        let sealed = rig.indexer.apply(&group.expect("not empty")).expect("nobody gives up");
        rig.sealed.extend(sealed);
        true
    }

    fn next_entry(&mut self) -> Entry {
        let entries = self.durable.iter().chain(&self.under_way);
        if self.dice.one_in(5) {
            return Entry::Created(format!("g{}", entries.count()));
        }
        let conversation = ["a", "b", "c"][self.dice.roll(3)];
        let of_it = |entry: &&Entry| matches!(entry, Entry::Message(m) if m.conversation_id == conversation);
        let seq = entries.filter(of_it).count() as u64 + 1;
        let text = "x".repeat(self.dice.roll(500));
        Entry::Message(Message { text, ..message(conversation, seq) })
    }

    fn nothing_goes_on(&mut self, rig: &mut Rig) {
        let before = self.disk.changes();
        rig.committer.add(0, rig.message("a", 1_000));
        assert!(rig.committer.try_commit().is_err(), "a log that failed once takes nothing more");
        assert_eq!(self.disk.changes(), before);
    }

    /// The process ends: killed, or with the power.
    pub(super) fn end(&mut self, rig: Rig) {
        drop(rig);
        self.disk.arm(None);
        self.ground.crash(|length| self.dice.roll(length + 1));
        if self.dice.one_in(2) {
            self.disk.power_cut();
        }
    }

    /// Holds the log against the model, and takes into it what survived of the commit under way.
    pub(super) fn check(&mut self, rig: &Rig) {
        let found = records(rig);
        let (acked, extra) = found.split_at(self.durable.len().min(found.len()));
        assert_eq!(acked, self.durable, "acked records are there, once and in order");
        assert!(self.under_way.starts_with(extra), "{extra:?} was never sent");
        self.durable = found;
        self.under_way.clear();
        self.check_index(rig);
    }

    fn check_index(&self, rig: &Rig) {
        let mut conversations: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
        for entry in &self.durable {
            match entry {
                Entry::Message(message) => {
                    conversations.entry(&message.conversation_id).or_default().push(message);
                    let found = rig.index.by_client_msg_id(
                        &message.conversation_id,
                        "alice",
                        &message.client_msg_id,
                    );
                    assert_eq!(found.expect("read").as_ref(), Some(message));
                }
                Entry::Created(id) => {
                    let view = rig.index.conversation(id, "alice").expect("read");
                    assert!(view.is_some(), "the index lacks {id}");
                }
            }
        }
        for (id, expected) in conversations {
            let page = rig.index.messages(id, 0, 10_000).expect("read");
            assert!(page.items.iter().eq(expected.iter().copied()), "history of {id}");
            assert!((1..).zip(&expected).all(|(seq, message)| message.seq == seq));
            assert_eq!(rig.index.last_seq(id).expect("read"), expected.len() as u64);
        }
    }
}

/// The records of a log, read through.
fn records(rig: &Rig) -> Vec<Entry> {
    let mut found = Vec::new();
    let durable = rig.index.lag().committed;
    let each = &mut |record: crate::log::segments::Visited<'_>| {
        assert_eq!(record.lsn, found.len() as u64 + 1);
        found.push(match record.kind {
            MESSAGE => Entry::Message(Message::decode(record.payload).expect("a message")),
            _ => Entry::Created(Fact::decode(record.payload).expect("a fact").conversation_id),
        });
        Ok(())
    };
    rig.index.segments.visit(0, durable, each).expect("every record is whole");
    found
}
