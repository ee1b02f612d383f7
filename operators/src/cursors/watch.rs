//! Which sessions confirm what they get, and which of them are late.
//!
//! A conversation has one alarm, set by the first message that may be unconfirmed: a message costs one look
//! at a map, and none while nobody is watched. When it rings, the sessions are looked through; those that
//! have not confirmed what the alarm was set for are reminded, each after twice the time of its last
//! reminder, until they confirm or have had all of them. Volatile: a session ends with the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::Time;
use imflow_proto::record::{Committed, Mark, Nudge, Session};
use imflow_proto::wire::Notify;
use imflow_proto::{Fingerprint, FingerprintMap, Record};

/// Sessions of one conversation.
const MAX_SESSIONS: usize = 1_000;

pub(super) struct Watch {
    within_ms: u64,
    notifies: u32,
    max_sessions: usize,
    sessions: usize,
    rooms: FingerprintMap<Room>,
    alarms: BTreeMap<Time, Vec<Fingerprint>>,
}

/// A conversation of which somebody is watched.
struct Room {
    conversation_id: Box<str>,
    last_seq: u64,
    sessions: Vec<Watched>,
    alarm: Option<Alarm>,
}

#[derive(Clone, Copy)]
struct Alarm {
    at: Time,
    /// Whoever has not confirmed this by then is late.
    seq: u64,
}

struct Watched {
    session: Arc<Session>,
    confirmed: u64,
    reminders: u32,
    /// Not reminded before this time.
    patience: Time,
}

impl Watch {
    pub(super) fn new(within_ms: u64, notifies: u32, max_sessions: usize) -> Self {
        Self {
            within_ms,
            notifies,
            max_sessions,
            sessions: 0,
            rooms: FingerprintMap::default(),
            alarms: BTreeMap::new(),
        }
    }

    /// A session confirms, and is watched from now on.
    pub(super) fn confirmed(&mut self, conversation: Fingerprint, mark: &Mark, now: Time) {
        if self.notifies == 0 {
            return;
        }
        let room = self.rooms.entry(conversation).or_insert_with(|| Room {
            conversation_id: mark.conversation_id.as_str().into(),
            last_seq: 0,
            sessions: Vec::new(),
            alarm: None,
        });
        room.last_seq = room.last_seq.max(mark.last_seq);
        let same_device = |watched: &&mut Watched| {
            watched.session.device_id == mark.session.device_id
                && watched.session.user_id == mark.session.user_id
        };
        let full = self.sessions >= self.max_sessions || room.sessions.len() >= MAX_SESSIONS;
        match room.sessions.iter_mut().find(same_device) {
            Some(watched) => {
                // A new session of a device takes the place of the one before.
                if watched.session.number != mark.session.number || mark.seq > watched.confirmed {
                    (watched.reminders, watched.patience) = (0, now);
                }
                watched.session = Arc::clone(&mark.session);
                watched.confirmed = watched.confirmed.max(mark.seq);
            }
            None if !full => {
                self.sessions += 1;
                room.sessions.push(Watched {
                    session: Arc::clone(&mark.session),
                    confirmed: mark.seq,
                    reminders: 0,
                    patience: now,
                });
            }
            None => {}
        }
        if mark.seq < room.last_seq {
            let seq = room.last_seq;
            self.set_alarm(conversation, seq, now.after_ms(self.within_ms));
        } else if room.sessions.is_empty() {
            self.rooms.remove(&conversation);
        }
    }

    /// A message is out, to be confirmed.
    #[inline]
    pub(super) fn message(&mut self, committed: &Committed, now: Time) {
        if self.rooms.is_empty() {
            return;
        }
        let conversation = committed.keys.conversation;
        let Some(room) = self.rooms.get_mut(&conversation) else { return };
        let seq = committed.message.seq;
        room.last_seq = room.last_seq.max(seq);
        self.set_alarm(conversation, seq, now.after_ms(self.within_ms));
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.alarms.keys().next().copied()
    }

    pub(super) fn on_time(&mut self, now: Time, nudges: &mut Vec<Record>) {
        while let Some(entry) = self.alarms.first_entry().filter(|entry| *entry.key() <= now) {
            for conversation in entry.remove() {
                self.ring(conversation, now, nudges);
            }
        }
    }

    /// Sets the alarm of a conversation, unless one is set.
    fn set_alarm(&mut self, conversation: Fingerprint, seq: u64, at: Time) {
        let Some(room) = self.rooms.get_mut(&conversation) else { return };
        if room.alarm.is_none() {
            room.alarm = Some(Alarm { at, seq });
            self.alarms.entry(at).or_default().push(conversation);
        }
    }

    fn ring(&mut self, conversation: Fingerprint, now: Time, nudges: &mut Vec<Record>) {
        let Some(room) = self.rooms.get_mut(&conversation) else { return };
        let Some(alarm) = room.alarm.take() else { return };
        debug_assert!(alarm.at <= now);
        let (last_seq, within_ms) = (room.last_seq, self.within_ms);
        let mut next: Option<Time> = None;
        for watched in room.sessions.iter_mut().filter(|watched| watched.confirmed < last_seq) {
            if watched.confirmed < alarm.seq && watched.patience <= now {
                let conversation_id = room.conversation_id.to_string();
                let notify = Notify { conversation_id, up_to_seq: last_seq };
                let session = Arc::clone(&watched.session);
                nudges.push(Record::Nudge(Arc::new(Nudge { session, notify })));
                watched.reminders += 1;
                watched.patience = now.after_ms(within_ms << watched.reminders.min(20));
            }
            if watched.reminders < self.notifies {
                let due = watched.patience.max(now.after_ms(within_ms));
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        let before = room.sessions.len();
        let given_up =
            |watched: &Watched| watched.reminders >= self.notifies && watched.confirmed < last_seq;
        room.sessions.retain(|watched| !given_up(watched));
        self.sessions -= before - room.sessions.len();
        if room.sessions.is_empty() {
            self.rooms.remove(&conversation);
        } else if let Some(next) = next {
            self.set_alarm(conversation, last_seq, next);
        }
    }
}
