//! What is known of cursors, what waits to be logged, and what is on its way to the log.
//!
//! For each conversation at most one record is on its way. A read that moves a cursor leaves as soon as
//! none is, and takes along whatever waits; a delivered that moves one leaves with it, or when its time has
//! come. `known` is what the log has made durable and nothing else, so an export never holds a guess.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::{Snapshot, Time};
use imflow_proto::log::Cursors as Row;
use imflow_proto::log::CursorsMoved;
use imflow_proto::record::{Mark, MarkKind};
use imflow_proto::wire::{Done, envelope::Body};
use imflow_proto::{Fingerprint, FingerprintMap, Record, Ticket, id};
use rapidhash::RapidHashMap;

use crate::snapshot::{Reader, Writer, expect_version};

const VERSION: u16 = 1;
/// Members in one record of the log.
const RECORD_MEMBERS: usize = 1_000;
/// Members whose marks wait, over all conversations.
const MAX_WAITING: usize = 65_536;

/// By user.
type Rows = RapidHashMap<Box<str>, Row>;

pub(super) struct Ledger {
    merge_ms: u64,
    /// So that an export touches no other partition's conversations.
    partitions: Vec<FingerprintMap<Room>>,
    /// When the delivered marks of a conversation must go.
    due: BTreeMap<Time, Vec<Arc<str>>>,
    /// Rows that wait, over all conversations.
    waiting: usize,
}

/// One conversation.
struct Room {
    conversation_id: Arc<str>,
    /// What is durable.
    known: Rows,
    /// The record that is on its way.
    flying: Option<Flying>,
    /// What moved and goes with the next record.
    waiting: Rows,
    /// Reads that are answered when the next record is durable.
    readers: Vec<Ticket>,
    /// The next record leaves as soon as none is on its way.
    urgent: bool,
    /// When it leaves at the latest.
    due: Option<Time>,
}

struct Flying {
    rows: Rows,
    readers: Vec<Ticket>,
}

impl Ledger {
    pub(super) fn new(merge_ms: u64, partitions: u32) -> Self {
        Self {
            merge_ms,
            partitions: (0..partitions.max(1)).map(|_| FingerprintMap::default()).collect(),
            due: BTreeMap::new(),
            waiting: 0,
        }
    }

    /// Takes a mark and answers it, now or when it is durable.
    pub(super) fn mark(&mut self, mark: &Mark, now: Time, moves: &mut Vec<Record>) {
        let crowded = self.waiting >= MAX_WAITING;
        let due = now.after_ms(self.merge_ms);
        let room = self.room(&mark.conversation_id);
        let before = room.waiting.len();
        let user = &*mark.session.user_id;
        match mark.kind {
            MarkKind::Read => room.read(user, mark.seq, &mark.ticket),
            MarkKind::Delivered => {
                room.delivered(user, &mark.session.device_id, mark.seq);
                mark.ticket.answer(Body::Done(Done {}));
            }
        }
        room.urgent |= crowded && !room.waiting.is_empty();
        let waits = !room.waiting.is_empty() && room.due.is_none() && !room.urgent;
        let wakes_at = waits.then(|| (due, Arc::clone(&room.conversation_id)));
        room.due = room.due.or(waits.then_some(due));
        let added = room.waiting.len() - before;
        self.waiting += added;
        if let Some((due, conversation)) = wakes_at {
            self.due.entry(due).or_default().push(conversation);
        }
        self.leave(&mark.conversation_id, moves);
    }

    /// The log has a record: what waits behind it may leave.
    pub(super) fn logged(&mut self, logged: &CursorsMoved, moves: &mut Vec<Record>) {
        let room = self.room(&logged.conversation_id);
        if let Some(flying) = room.flying.take() {
            for ticket in flying.readers {
                ticket.answer(Body::Done(Done {}));
            }
        }
        self.leave(&logged.conversation_id, moves);
    }

    /// Folds what is durable.
    pub(super) fn learn(&mut self, moved: &CursorsMoved) {
        let room = self.room(&moved.conversation_id);
        for row in &moved.members {
            row_of(&mut room.known, &row.user_id).advance(row);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due.keys().next().copied()
    }

    pub(super) fn on_time(&mut self, now: Time, moves: &mut Vec<Record>) {
        while let Some(entry) = self.due.first_entry().filter(|entry| *entry.key() <= now) {
            let (due, conversations) = entry.remove_entry();
            for conversation in conversations {
                let room = self.room(&conversation);
                // A record that has left since took along what this time was set for.
                if room.due == Some(due) {
                    room.urgent = true;
                    self.leave(&conversation, moves);
                }
            }
        }
    }

    /// Sends what waits, if it is time and nothing is on its way.
    fn leave(&mut self, conversation: &str, moves: &mut Vec<Record>) {
        let room = self.room(conversation);
        if !room.urgent || room.flying.is_some() || room.waiting.is_empty() {
            return;
        }
        let all = room.waiting.len() <= RECORD_MEMBERS;
        let rows: Rows = if all {
            std::mem::take(&mut room.waiting)
        } else {
            let users: Vec<_> = room.waiting.keys().take(RECORD_MEMBERS).cloned().collect();
            users.into_iter().filter_map(|user| room.waiting.remove_entry(&user)).collect()
        };
        // The readers of what stays are answered with the last of it.
        let readers = if all { std::mem::take(&mut room.readers) } else { Vec::new() };
        room.urgent = !all;
        room.due = room.due.filter(|_| !all);
        let mut members: Vec<Row> = rows.values().cloned().collect();
        members.sort_unstable_by(|a, b| a.user_id.cmp(&b.user_id));
        let conversation_id = room.conversation_id.to_string();
        let left = rows.len();
        room.flying = Some(Flying { rows, readers });
        self.waiting -= left;
        moves.push(Record::Moves(Arc::new(CursorsMoved { conversation_id, members })));
    }

    pub(super) fn export(&self, partition: u32) -> Snapshot {
        let mut writer = Writer::default();
        for room in self.partitions[partition as usize].values() {
            if room.known.is_empty() {
                continue;
            }
            writer.text(&room.conversation_id).number(room.known.len() as u64);
            for row in room.known.values() {
                writer.text(&row.user_id).number(row.read).number(row.devices.len() as u64);
                for device in &row.devices {
                    writer.text(&device.device_id).number(device.delivered);
                }
            }
        }
        Snapshot { version: VERSION, bytes: writer.finish() }
    }

    pub(super) fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        expect_version("cursors", snapshot.version, VERSION)?;
        debug_assert!((partition as usize) < self.partitions.len());
        let mut reader = Reader(&snapshot.bytes);
        while !reader.is_empty() {
            let conversation = reader.text()?.to_owned();
            for _ in 0..reader.number()? {
                let user = reader.text()?.to_owned();
                let (read, devices) = (reader.number()?, reader.number()?);
                let row = row_of(&mut self.room(&conversation).known, &user);
                row.advance_read(read);
                for _ in 0..devices {
                    let device = reader.text()?;
                    row.advance_device(device, reader.number()?);
                }
            }
        }
        Ok(())
    }

    fn room(&mut self, conversation: &str) -> &mut Room {
        let partition = id::partition_of(conversation, self.partitions.len() as u32) as usize;
        let rooms = &mut self.partitions[partition];
        rooms.entry(Fingerprint::of(conversation)).or_insert_with(|| Room {
            conversation_id: conversation.into(),
            known: Rows::default(),
            flying: None,
            waiting: Rows::default(),
            readers: Vec::new(),
            urgent: false,
            due: None,
        })
    }
}

impl Room {
    fn read(&mut self, user: &str, seq: u64, ticket: &Ticket) {
        let read = |rows: &Rows| rows.get(user).map_or(0, |row| row.read);
        if seq <= read(&self.known) {
            ticket.answer(Body::Done(Done {}));
        } else if let Some(flying) = &mut self.flying
            && seq <= read(&flying.rows)
        {
            flying.readers.push(ticket.clone());
        } else {
            self.waiting_row(user).advance_read(seq);
            self.readers.push(ticket.clone());
            self.urgent = true;
        }
    }

    fn delivered(&mut self, user: &str, device: &str, seq: u64) {
        let delivered =
            |rows: &Rows| rows.get(user).and_then(|row| row.delivered_to(device)).unwrap_or(0);
        let flying = self.flying.as_ref().map_or(0, |flying| delivered(&flying.rows));
        if seq > delivered(&self.known).max(flying) {
            self.waiting_row(user).advance_device(device, seq);
        }
    }

    /// The row that goes with the next record: all cursors of the user, as they will stand then.
    fn waiting_row(&mut self, user: &str) -> &mut Row {
        let Self { known, flying, waiting, .. } = self;
        if !waiting.contains_key(user) {
            let mut row = Row { user_id: user.to_owned(), ..Row::default() };
            let flying = flying.as_ref().and_then(|flying| flying.rows.get(user));
            for earlier in [known.get(user), flying].into_iter().flatten() {
                row.advance(earlier);
            }
            waiting.insert(user.into(), row);
        }
        waiting.get_mut(user).expect("inserted above")
    }
}

fn row_of<'r>(rows: &'r mut Rows, user: &str) -> &'r mut Row {
    if !rows.contains_key(user) {
        rows.insert(user.into(), Row { user_id: user.to_owned(), ..Row::default() });
    }
    rows.get_mut(user).expect("inserted above")
}
