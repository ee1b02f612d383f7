//! A store that knows groups of users `u0`, `u1`, ...

use std::collections::BTreeMap;

use imflow_kind::{Store, StoreError, View};
use imflow_proto::log::Cursors;
use imflow_proto::wire::{
    ConversationInfo, ConversationList, CursorList, MemberInfo, Messages, Role,
};

pub(super) struct Groups(BTreeMap<String, usize>);

impl Groups {
    pub(super) fn of(groups: &[(&str, usize)]) -> Self {
        Self(groups.iter().map(|(id, members)| ((*id).to_owned(), *members)).collect())
    }

    fn info(&self, id: &str) -> Option<ConversationInfo> {
        let member_count = *self.0.get(id)? as u32;
        let role = Role::Member.into();
        Some(ConversationInfo {
            conversation_id: id.into(),
            role,
            member_count,
            ..Default::default()
        })
    }
}

impl Store for Groups {
    fn messages(&self, _: &str, _: u64, _: usize) -> Result<Messages, StoreError> {
        Ok(Messages::default())
    }

    fn last_messages(&self, _: &str, _: u64, _: u64, _: usize) -> Result<Messages, StoreError> {
        Ok(Messages::default())
    }

    fn seq_before(&self, _: &str, _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn cursors_of(&self, _: &str, _: &str) -> Result<Cursors, StoreError> {
        Ok(Cursors::default())
    }

    fn cursors(&self, _: &str, _: &str, _: usize) -> Result<CursorList, StoreError> {
        Ok(CursorList::default())
    }

    fn conversation(&self, id: &str, _: &str) -> Result<Option<View>, StoreError> {
        Ok(self.info(id).map(|info| View { info, ..View::default() }))
    }

    fn conversations_of(
        &self,
        _: &str,
        after: &str,
        _: usize,
    ) -> Result<ConversationList, StoreError> {
        let items = self.0.keys().filter(|id| id.as_str() > after).filter_map(|id| self.info(id));
        Ok(ConversationList { items: items.collect(), more: false })
    }

    fn members(&self, id: &str) -> Result<Vec<MemberInfo>, StoreError> {
        let member = |n| MemberInfo { user_id: format!("u{n}"), role: Role::Member.into() };
        Ok((0..self.0.get(id).copied().unwrap_or(0)).map(member).collect())
    }
}
