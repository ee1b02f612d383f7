//! A log in memory, and what a reader of every text would find in it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use imflow_kind::{
    Bookmark, Durable, Gate, Journal, Logged, Replica, Roles, Search, Store, StoreError, View,
    Wanted,
};
use imflow_proto::log::{Cursors, Fact};
use imflow_proto::record::{Committed, CommittedFact, Lsn};
use imflow_proto::wire::{
    Action, ConversationList, CursorList, MemberInfo, Message, MessageType, Messages, Origin,
};
use parking_lot::Mutex;

use super::{Settings, WordIndex, Writer};

/// Messages by their place in the log, from 1. Conversation `c0` has the seqs of its own, and so on.
#[derive(Default)]
pub(super) struct Log {
    records: Mutex<Vec<Message>>,
    /// Messages before this time were cut off.
    cut_ms: Mutex<i64>,
    /// Of two logs the messages have other ids.
    first_id: i64,
}

pub(super) const MINUTE: i64 = 60_000;

impl Log {
    pub(super) fn numbered_from(first_id: i64) -> Arc<Self> {
        Arc::new(Self { first_id, ..Self::default() })
    }

    /// A message a minute.
    pub(super) fn say(&self, conversation: &str, sender: &str, text: &str) -> Message {
        self.push(Message {
            conversation_id: conversation.into(),
            sender_id: sender.into(),
            text: text.into(),
            r#type: MessageType::Text.into(),
            ..Message::default()
        })
    }

    /// Somebody passes on what somebody else said.
    pub(super) fn forward(&self, conversation: &str, sender: &str, text: &str, author: &str) {
        let origin = Origin { sender_id: author.into(), ..Origin::default() };
        self.push(Message {
            conversation_id: conversation.into(),
            sender_id: sender.into(),
            text: text.into(),
            r#type: MessageType::Text.into(),
            forward_of: Some(Box::new(origin)),
            ..Message::default()
        });
    }

    pub(super) fn act(&self, target: &Message, kind: MessageType, text: &str) {
        let action = Action { target_seq: target.seq, ..Action::default() };
        self.push(Message {
            conversation_id: target.conversation_id.clone(),
            sender_id: target.sender_id.clone(),
            text: text.into(),
            r#type: kind.into(),
            action: Some(Box::new(action)),
            ..Message::default()
        });
    }

    fn push(&self, mut message: Message) -> Message {
        let mut records = self.records.lock();
        let of_conversation = |record: &&Message| record.conversation_id == message.conversation_id;
        message.seq = records.iter().filter(of_conversation).count() as u64 + 1;
        message.server_msg_id = self.first_id + (records.len() as i64 + 1) * 10;
        message.created_at = (records.len() as i64 + 1) * MINUTE;
        records.push(message.clone());
        message
    }

    pub(super) fn cut(&self, before_ms: i64) {
        *self.cut_ms.lock() = before_ms;
    }

    /// Messages as they read now, by id.
    pub(super) fn as_read(&self) -> BTreeMap<i64, Message> {
        let (records, cut_ms) = (self.records.lock(), *self.cut_ms.lock());
        let mut read: BTreeMap<i64, Message> = BTreeMap::new();
        for record in records.iter() {
            let Some(action) = &record.action else {
                if record.created_at >= cut_ms {
                    read.insert(record.server_msg_id, record.clone());
                }
                continue;
            };
            let is_it = |message: &&mut Message| {
                message.conversation_id == record.conversation_id
                    && message.seq == action.target_seq
            };
            let Some(target) = read.values_mut().find(is_it) else { continue };
            match record.r#type() {
                MessageType::Revoke => {
                    target.text.clear();
                    target.amended.get_or_insert_default().revoked_at = 1;
                }
                MessageType::Edit if target.amended.is_none() => {
                    target.text.clone_from(&record.text)
                }
                _ => {}
            }
        }
        read
    }
}

impl Journal for Log {
    fn read_on(&self, bookmark: &mut Bookmark, limit: usize) -> Result<Vec<Logged>, StoreError> {
        let (records, cut_ms) = (self.records.lock(), *self.cut_ms.lock());
        let numbered = (1..).zip(records.iter()).skip(bookmark.lsn as usize);
        let kept = numbered.filter(|(_, message)| message.created_at >= cut_ms).take(limit);
        let read: Vec<_> = kept
            .map(|(lsn, message)| {
                Logged::Message(Box::new(Committed::recovered(lsn, message.clone())))
            })
            .collect();
        bookmark.lsn = read.last().map_or(bookmark.lsn, Logged::lsn);
        Ok(read)
    }

    fn durable_lsn(&self) -> Lsn {
        self.records.lock().len() as Lsn
    }

    fn replay_facts(&self, _: Lsn, _: &mut dyn FnMut(CommittedFact)) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&self, _: Lsn, _: &mut dyn FnMut(Durable<'_>)) -> Result<(), StoreError> {
        unreachable!("an index reads on")
    }

    fn facts(&self, _: &mut dyn FnMut(Fact)) -> Result<(), StoreError> {
        unreachable!("an index reads on")
    }

    fn load_snapshot(&self, _: u32) -> Result<Option<(Lsn, Vec<u8>)>, StoreError> {
        Ok(None)
    }

    fn save_snapshot(&self, _: u32, _: Lsn, _: Vec<u8>) {}

    fn gate(&self) -> Gate {
        Gate::default()
    }
}

impl Store for Log {
    fn messages(&self, id: &str, after_seq: u64, limit: usize) -> Result<Messages, StoreError> {
        let read = self.as_read().into_values();
        let items = read.filter(|message| message.conversation_id == id && message.seq > after_seq);
        Ok(Messages { items: items.take(limit).collect(), ..Messages::default() })
    }

    fn last_messages(&self, _: &str, _: u64, _: u64, _: usize) -> Result<Messages, StoreError> {
        unreachable!("an index reads single messages")
    }

    fn seq_before(&self, _: &str, _: i64) -> Result<u64, StoreError> {
        unreachable!("an index reads single messages")
    }

    fn cursors_of(&self, _: &str, _: &str) -> Result<Cursors, StoreError> {
        unreachable!("an index reads single messages")
    }

    fn cursors(&self, _: &str, _: &str, _: usize) -> Result<CursorList, StoreError> {
        unreachable!("an index reads single messages")
    }

    fn conversation(&self, _: &str, _: &str) -> Result<Option<View>, StoreError> {
        unreachable!("an index reads single messages")
    }

    fn conversations_of(&self, _: &str, _: &str, _: usize) -> Result<ConversationList, StoreError> {
        unreachable!("an index reads single messages")
    }

    fn members(&self, _: &str) -> Result<Vec<MemberInfo>, StoreError> {
        unreachable!("an index reads single messages")
    }
}

/// An index in a folder, and its log.
pub(super) struct Indexed {
    pub(super) writer: Writer,
    pub(super) index: Arc<WordIndex>,
    pub(super) log: Arc<Log>,
    pub(super) position: Lsn,
}

impl Indexed {
    pub(super) fn open(folder: &Path, log: &Arc<Log>) -> Self {
        let roles = Roles::default();
        roles.offer("store", Arc::clone(log) as Arc<dyn Journal>);
        roles.offer("store", Arc::clone(log) as Arc<dyn Store>);
        let (folder, of) = (folder.to_owned(), "store".to_owned());
        let (mut writer, index) = Writer::new(Settings { folder, roles, of, memory: 16 << 20 });
        let position = writer.open().expect("opened");
        Self { writer, index, log: Arc::clone(log), position }
    }

    /// Writes up to `limit` records, as a follower does.
    pub(super) fn write(&mut self, limit: usize) {
        let mut bookmark = Bookmark::behind(self.position);
        let records = self.log.read_on(&mut bookmark, limit).expect("read");
        self.writer.write(&records, bookmark.lsn).expect("written");
        self.position = bookmark.lsn;
    }

    /// Writes all that there is.
    pub(super) fn follow(&mut self) {
        while self.position < self.log.durable_lsn() {
            self.write(1_000);
        }
        self.writer.settle().expect("committed");
    }

    /// The ids that are found, newest first.
    pub(super) fn ids(&self, wanted: &Wanted<'_>) -> Vec<i64> {
        let mut ids = Vec::new();
        let found = self.index.find(wanted, &mut |hit| {
            ids.push(hit.server_msg_id);
            ControlFlow::Continue(())
        });
        found.expect("searched");
        ids
    }

    /// The texts that are found, newest first, as they were said.
    pub(super) fn texts(&self, query: &str) -> Vec<String> {
        let read = self.log.as_read();
        let ids = self.ids(&Wanted { query, ..Wanted::default() });
        ids.iter().map(|id| read.get(id).map_or("(gone)".into(), |it| it.text.clone())).collect()
    }
}

/// Numbers for property tests: the same from the same seed, which a failure prints.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub(super) fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}
