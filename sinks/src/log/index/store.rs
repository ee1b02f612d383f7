//! The index as what others read: a [`Store`].

use imflow_kind::{Bookmark, Erased, Erasure, Exported, Store, StoreError, View};
use imflow_proto::log::Cursors;
use imflow_proto::wire;

use super::directory::Views;
use super::{Index, export};

impl Store for Index {
    fn last_messages(
        &self,
        conversation_id: &str,
        after_seq: u64,
        before_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, StoreError> {
        Ok(self.last_page(conversation_id, after_seq, before_seq, limit)?)
    }

    fn seq_before(&self, conversation_id: &str, time_ms: i64) -> Result<u64, StoreError> {
        Ok(self.last_before(conversation_id, time_ms)?)
    }

    fn cursors_of(&self, conversation_id: &str, user_id: &str) -> Result<Cursors, StoreError> {
        self.caught_up()?;
        Ok(self.cursors_row(conversation_id, user_id)?)
    }

    fn cursors(
        &self,
        conversation_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<wire::CursorList, StoreError> {
        self.caught_up()?;
        Ok(self.cursor_list(conversation_id, after, limit)?)
    }

    fn messages(
        &self,
        conversation_id: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, StoreError> {
        Ok(self.page(conversation_id, after_seq, limit)?)
    }

    fn conversation(
        &self,
        conversation_id: &str,
        user_id: &str,
    ) -> Result<Option<View>, StoreError> {
        self.ready_to_read()?;
        let view = self.directory.conversation(conversation_id, user_id)?;
        let Some(mut view) = view else { return Ok(None) };
        self.complete(&mut view, user_id)?;
        Ok(Some(view))
    }

    fn conversations_of(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<wire::ConversationList, StoreError> {
        self.ready_to_read()?;
        let Views { mut items, more } = self.directory.conversations_of(user_id, after, limit)?;
        for view in &mut items {
            self.complete(view, user_id)?;
        }
        let items = items.into_iter().map(|view| view.info).collect();
        Ok(wire::ConversationList { items, more })
    }

    fn readable(&self, user_id: &str, limit: usize) -> Result<Vec<(String, u64)>, StoreError> {
        self.ready_to_read()?;
        Ok(self.directory.readable(user_id, limit)?)
    }

    fn members(&self, conversation_id: &str) -> Result<Vec<wire::MemberInfo>, StoreError> {
        self.ready_to_read()?;
        Ok(self.directory.members(conversation_id)?)
    }

    fn removed_up_to(&self, conversation_id: &str) -> Result<u64, StoreError> {
        Ok(self.directory.floor(conversation_id)?)
    }

    fn removed_until(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.directory.removed_until()?)
    }

    fn unerased(&self, messages: Vec<wire::Message>) -> Result<Vec<wire::Message>, StoreError> {
        // They were taken away before an erasure could reach them.
        Ok(messages.iter().map(|message| self.left(message)).collect::<Result<_, _>>()?)
    }

    fn wrote_before(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.ready_to_read()?;
        Ok(self.directory.left_behind(user_id, after, limit)?)
    }

    fn amended(
        &self,
        conversation_id: &str,
        messages: Vec<wire::Message>,
        others: &[wire::Message],
    ) -> Result<Vec<wire::Message>, StoreError> {
        self.ready_to_read()?;
        let messages = self.unerased(messages)?;
        let others = self.unerased(others.to_vec())?;
        Ok(self.amend_with(conversation_id, messages, &others)?)
    }

    fn level(&self, user_id: &str) -> Result<String, StoreError> {
        self.ready_to_read()?;
        Ok(self.directory.level(user_id)?)
    }

    fn export(&self, user_id: &str, from: &mut Bookmark) -> Result<Exported, StoreError> {
        Ok(export::part(&self.segments, self.progress.durable(), user_id, from)?)
    }

    fn erasure(&self, of: Erased<'_>) -> Result<Option<Erasure>, StoreError> {
        self.caught_up()?;
        Ok(self.erasure_of(of)?)
    }
}
