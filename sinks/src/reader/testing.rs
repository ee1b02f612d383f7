//! A store in memory with a naive answer to everything, for the tests of reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::testing::Answers;
use imflow_kind::{Store, StoreError, View};
use imflow_proto::log::Cursors;
use imflow_proto::record::{Ask, Query, Scopes, Session};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{
    ConversationInfo, ConversationList, CursorList, MemberInfo, Message, Messages, Role,
};

use super::answer::answer;
use super::layers::Layers;

/// Conversations by id, all of them `alice`'s.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) messages: BTreeMap<String, Vec<Message>>,
    pub(super) cursors: BTreeMap<String, Cursors>,
}

impl Shelf {
    pub(super) fn add(&mut self, conversation: &str, created_at: i64, bytes: usize) {
        let messages = self.messages.entry(conversation.to_owned()).or_default();
        messages.push(Message {
            conversation_id: conversation.to_owned(),
            seq: messages.len() as u64 + 1,
            text: "x".repeat(bytes),
            created_at,
            ..Message::default()
        });
    }

    pub(super) fn ask(&self, ask: Ask) -> Body {
        let ticket = Arc::new(Answers::default()).ticket(1);
        let scopes = Scopes { read: true, ..Scopes::default() };
        let session = Session { number: 1, user_id: "alice".into(), device_id: "d".into(), scopes };
        answer(&Layers::log_alone(self), None, &Query { ticket, session: Arc::new(session), ask })
    }

    fn of(&self, id: &str) -> &[Message] {
        self.messages.get(id).map_or(&[], Vec::as_slice)
    }

    fn info(&self, id: &str) -> ConversationInfo {
        ConversationInfo {
            conversation_id: id.to_owned(),
            role: Role::Member.into(),
            last_seq: self.of(id).len() as u64,
            ..Default::default()
        }
    }
}

impl Store for Shelf {
    fn messages(&self, id: &str, after_seq: u64, limit: usize) -> Result<Messages, StoreError> {
        let all = self.of(id);
        let rest = &all[(after_seq as usize).min(all.len())..];
        let items: Vec<_> = rest.iter().take(limit).cloned().collect();
        Ok(Messages { more: items.len() < rest.len(), items, removed_up_to_seq: 0 })
    }

    fn last_messages(
        &self,
        id: &str,
        after_seq: u64,
        before_seq: u64,
        limit: usize,
    ) -> Result<Messages, StoreError> {
        let range = |message: &&Message| (after_seq + 1..before_seq).contains(&message.seq);
        let all: Vec<_> = self.of(id).iter().filter(range).cloned().collect();
        let from = all.len().saturating_sub(limit);
        Ok(Messages { items: all[from..].to_vec(), more: from > 0, removed_up_to_seq: 0 })
    }

    fn seq_before(&self, id: &str, time_ms: i64) -> Result<u64, StoreError> {
        Ok(self.of(id).partition_point(|message| message.created_at < time_ms) as u64)
    }

    fn cursors_of(&self, id: &str, _: &str) -> Result<Cursors, StoreError> {
        Ok(self.cursors.get(id).cloned().unwrap_or_default())
    }

    fn cursors(&self, _: &str, _: &str, _: usize) -> Result<CursorList, StoreError> {
        Ok(CursorList::default())
    }

    fn conversation(&self, id: &str, _: &str) -> Result<Option<View>, StoreError> {
        let info = self.messages.contains_key(id).then(|| self.info(id));
        Ok(info.map(|info| View { info, ..View::default() }))
    }

    fn conversations_of(
        &self,
        _: &str,
        after: &str,
        limit: usize,
    ) -> Result<ConversationList, StoreError> {
        let after = |id: &&String| id.as_str() > after;
        let rest: Vec<_> = self.messages.keys().filter(after).collect();
        let items: Vec<_> = rest.iter().take(limit).map(|id| self.info(id)).collect();
        Ok(ConversationList { more: items.len() < rest.len(), items })
    }

    fn members(&self, _: &str) -> Result<Vec<MemberInfo>, StoreError> {
        Ok(Vec::new())
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
}

/// A shelf of a few conversations, times never decreasing in each.
pub(super) fn any_shelf(dice: &mut Dice, bytes: usize) -> Shelf {
    let mut shelf = Shelf::default();
    for conversation in 0..1 + dice.below(12) {
        let mut time = 100 + dice.below(20) as i64;
        for _ in 0..dice.below(120) {
            time += dice.below(3) as i64;
            shelf.add(&format!("c{conversation:02}"), time, dice.below(bytes));
        }
    }
    shelf
}
