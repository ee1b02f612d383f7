//! Conversations, members, mutes and bans, as the facts so far add up.
//!
//! Rows of the table (ids hold no control characters, so `\0` separates them):
//! ```text
//! c conversation             -> ConversationInfo (without role and last_seq)
//! m conversation \0 user     -> role, last seq when the user came
//! u user \0 conversation     -> role
//! r conversation \0 user     -> Cursors          w conversation \0 user -> last seq that the user wrote
//! t conversation \0 user     -> muted until     b conversation \0 user -> (banned)
//! e u user, e c conversation -> Erasure
//! l user                     -> level
//! !facts -> lsn of the last fact in here        !... -> how far the tables are: see [`super::marks`]
//! ```
//! A fact and its LSN are written together, so that no fact counts twice. Cursors only go forward, so they
//! may.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use imflow_kind::View;
use imflow_proto::log::fact::Change;
use imflow_proto::log::{
    BanChanged, ConversationCreated, Cursors, CursorsMoved, Fact, FanoutChanged, LevelChanged,
    MembersChanged, MuteChanged,
};
use imflow_proto::record::Lsn;
use imflow_proto::wire::{ConversationInfo, MemberInfo};
use prost::Message as _;

use super::erasures::Erasure;
use super::tables::{Put, Table, Tables, each_with_prefix};
use crate::log::LogError;
use crate::log::erase::Subject;

pub(super) const FACTS: &[u8] = b"!facts";

/// Conversations as one user sees them, and whether more follow.
pub(crate) struct Views {
    pub items: Vec<View>,
    pub more: bool,
}

pub(crate) struct Directory {
    pub(super) tables: Arc<dyn Tables>,
}

impl Directory {
    pub(crate) fn new(tables: Arc<dyn Tables>) -> Self {
        Self { tables }
    }

    /// Applies a durable fact, unless it is in already; `last_seq` is that of its conversation at its place in
    /// the log.
    pub(crate) fn apply(&self, lsn: Lsn, fact: &Fact, last_seq: u64) -> Result<(), LogError> {
        if lsn <= self.facts_lsn()? {
            return Ok(());
        }
        let mut puts = vec![(FACTS.to_vec(), Some(lsn.to_le_bytes().to_vec()))];
        let conversation = &fact.conversation_id;
        match &fact.change {
            Some(Change::Created(created)) => {
                let info = ConversationInfo {
                    conversation_id: conversation.clone(),
                    r#type: created.r#type,
                    name: created.name.clone(),
                    created_at: fact.at,
                    history_since_join: created.history_since_join,
                    ..Default::default()
                };
                self.members_changed(info, &created.members, &[], last_seq, &mut puts)?;
            }
            Some(Change::Members(MembersChanged { set, removed })) => {
                if let Some(info) = self.info(conversation)? {
                    self.members_changed(info, set, removed, last_seq, &mut puts)?;
                }
            }
            Some(Change::Mute(MuteChanged { user_id, until })) => {
                let until = (*until != 0).then(|| until.to_le_bytes().to_vec());
                puts.push((key(b't', conversation, user_id), until));
            }
            Some(Change::Ban(BanChanged { user_id, banned })) => {
                puts.push((key(b'b', conversation, user_id), banned.then(Vec::new)));
            }
            Some(Change::Erased(_)) => {
                if let Some(subject) = Subject::of(fact) {
                    puts.push(
                        Erasure { subject, lsn, at: fact.at, upto: 0, finished: false }.row(),
                    );
                }
                if let Some(mut info) = self.info(conversation)? {
                    info.name.clear();
                    puts.push((conversation_key(conversation), Some(info.encode_to_vec())));
                }
            }
            Some(Change::Level(LevelChanged { user_id, level })) => {
                let level = (!level.is_empty()).then(|| level.clone().into_bytes());
                puts.push((level_key(user_id), level));
            }
            Some(Change::Fanout(FanoutChanged { mode })) => {
                if let Some(mut info) = self.info(conversation)? {
                    info.fanout = *mode;
                    puts.push((conversation_key(conversation), Some(info.encode_to_vec())));
                }
            }
            None => {}
        }
        self.tables.write(puts)
    }

    /// The level of a user; empty: none.
    pub(crate) fn level(&self, user_id: &str) -> Result<String, LogError> {
        let level = self.tables.get(Table::Directory, &level_key(user_id))?;
        Ok(level.map(|level| String::from_utf8_lossy(&level).into_owned()).unwrap_or_default())
    }

    /// A conversation as a user sees it, without its last seq.
    pub(crate) fn conversation(
        &self,
        conversation_id: &str,
        user_id: &str,
    ) -> Result<Option<View>, LogError> {
        let Some(mut info) = self.info(conversation_id)? else { return Ok(None) };
        let of_user =
            |kind| self.tables.get(Table::Directory, &key(kind, conversation_id, user_id));
        let banned = of_user(b'b')?.is_some();
        let mut joined_after = 0;
        if !banned && let Some(member) = of_user(b'm')? {
            info.role = read_role(&member);
            joined_after = joined_after_of(&member);
        }
        Ok(Some(View { info, banned, joined_after }))
    }

    /// Takes over cursors that are further ahead.
    pub(crate) fn advance(&self, moves: &CursorsMoved) -> Result<(), LogError> {
        let mut puts = Vec::with_capacity(moves.members.len());
        for row in &moves.members {
            let mut cursors = self.cursors_row(&moves.conversation_id, &row.user_id)?;
            if cursors.advance(row) {
                let key = key(b'r', &moves.conversation_id, &row.user_id);
                puts.push((key, Some(cursors.encode_to_vec())));
            }
        }
        if puts.is_empty() { Ok(()) } else { self.tables.write(puts) }
    }

    /// The cursors of a member, as they were logged.
    pub(crate) fn cursors_row(
        &self,
        conversation_id: &str,
        user_id: &str,
    ) -> Result<Cursors, LogError> {
        let value = self.tables.get(Table::Directory, &key(b'r', conversation_id, user_id))?;
        Ok(value.map_or_else(
            || Cursors { user_id: user_id.to_owned(), ..Cursors::default() },
            |value| Cursors::decode(&value[..]).unwrap_or_default(),
        ))
    }

    /// Users who have cursors in a conversation, after `after`, at most `limit`.
    pub(crate) fn cursors_of(
        &self,
        conversation_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Cursors>, LogError> {
        let prefix = key(b'r', conversation_id, "");
        let from = [&key(b'r', conversation_id, after)[..], b"\0"].concat();
        let from = if after.is_empty() { &prefix[..] } else { &from[..] };
        let mut rows = Vec::new();
        self.tables.scan(Table::Directory, from, &mut |row, value| {
            if rows.len() >= limit || !row.starts_with(&prefix) {
                return ControlFlow::Break(());
            }
            rows.push(Cursors::decode(value).unwrap_or_default());
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// Whether somebody is a member.
    pub(crate) fn is_member(&self, conversation_id: &str, user_id: &str) -> Result<bool, LogError> {
        Ok(self.tables.get(Table::Directory, &key(b'm', conversation_id, user_id))?.is_some())
    }

    /// Notes the last seq that users have written, of a segment that follows all that were noted.
    pub(crate) fn set_written<'a>(
        &self,
        written: impl Iterator<Item = (&'a str, &'a str, u64)>,
    ) -> Result<(), LogError> {
        let put = |(conversation, user, seq): (&str, &str, u64)| {
            (key(b'w', conversation, user), Some(seq.to_le_bytes().to_vec()))
        };
        self.tables.write(written.map(put).collect())
    }

    /// The last seq that a user has written, of what was noted; 0 when there is none.
    pub(crate) fn written(&self, conversation_id: &str, user_id: &str) -> Result<u64, LogError> {
        let value = self.tables.get(Table::Directory, &key(b'w', conversation_id, user_id))?;
        Ok(value.map_or(0, |value| read_u64(&value)))
    }

    /// The conversations that a user is a member of and not banned from, by id.
    pub(crate) fn conversations_of(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Views, LogError> {
        let (mut items, mut after) = (Vec::new(), after.to_owned());
        // One more than wanted, to know whether more follow. Those that the user is banned from are not
        // shown, so that one look may not be enough; else a page could be empty and yet not the last.
        while items.len() <= limit {
            let ids = self.ids_of(user_id, &after, limit + 1 - items.len())?;
            let Some(last) = ids.last() else { break };
            after.clone_from(last);
            for id in ids {
                let view = self.conversation(&id, user_id)?;
                items.extend(view.filter(|view| !view.banned));
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(Views { items, more })
    }

    /// The conversations that a user reads, at most `limit`, and the seq after which it reads each. Few looks
    /// a conversation, since there may be thousands.
    pub(crate) fn readable(
        &self,
        user_id: &str,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, LogError> {
        let ids = self.ids_of(user_id, "", limit)?;
        let mut readable = Vec::with_capacity(ids.len());
        for id in ids {
            let of_user = |kind| self.tables.get(Table::Directory, &key(kind, &id, user_id));
            let Some(member) = of_user(b'm')? else { continue };
            if of_user(b'b')?.is_some() {
                continue;
            }
            let mut after = joined_after_of(&member);
            if after > 0 && !self.info(&id)?.is_some_and(|info| info.history_since_join) {
                after = 0;
            }
            readable.push((id, after));
        }
        Ok(readable)
    }

    /// The ids of at most `limit` conversations that a user is a member of, after `after`.
    fn ids_of(&self, user_id: &str, after: &str, limit: usize) -> Result<Vec<String>, LogError> {
        let prefix = key(b'u', user_id, "");
        let mut ids: Vec<String> = Vec::new();
        // No id is empty, and none lies between `after` and `after` with a zero byte.
        let from = [&key(b'u', user_id, after)[..], b"\0"].concat();
        let from = if after.is_empty() { &prefix[..] } else { &from[..] };
        self.tables.scan(Table::Directory, from, &mut |row, _| {
            match row.strip_prefix(&prefix[..]).filter(|_| ids.len() < limit) {
                Some(id) => ids.push(String::from_utf8_lossy(id).into_owned()),
                None => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        })?;
        Ok(ids)
    }

    /// The members of a conversation, by user id.
    pub(crate) fn members(&self, conversation_id: &str) -> Result<Vec<MemberInfo>, LogError> {
        let rows = self.users(b'm', conversation_id)?;
        Ok(rows
            .into_iter()
            .map(|(user_id, value)| MemberInfo { user_id, role: read_role(&value) })
            .collect())
    }

    /// Facts that add up to this directory.
    pub(crate) fn facts(&self, visit: &mut dyn FnMut(Fact)) -> Result<(), LogError> {
        let mut infos = Vec::new();
        each_with_prefix(&*self.tables, Table::Directory, b"c", &mut |_, value| {
            infos.push(ConversationInfo::decode(value).unwrap_or_default());
            ControlFlow::Continue(())
        })?;
        for info in infos {
            let id = info.conversation_id;
            let mut tell = |change| {
                visit(Fact {
                    conversation_id: id.clone(),
                    at: info.created_at,
                    by: String::new(),
                    change: Some(change),
                })
            };
            tell(Change::Created(ConversationCreated {
                r#type: info.r#type,
                name: info.name.clone(),
                members: self.members(&id)?,
                history_since_join: info.history_since_join,
            }));
            if info.fanout != 0 {
                tell(Change::Fanout(FanoutChanged { mode: info.fanout }));
            }
            for (user_id, until) in self.users(b't', &id)? {
                tell(Change::Mute(MuteChanged { user_id, until: read_u64(&until) as i64 }));
            }
            for (user_id, _) in self.users(b'b', &id)? {
                tell(Change::Ban(BanChanged { user_id, banned: true }));
            }
        }
        each_with_prefix(&*self.tables, Table::Directory, b"l", &mut |key, level| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (user_id, level) = (text(&key[1..]), text(level));
            let change = Some(Change::Level(LevelChanged { user_id, level }));
            visit(Fact { change, ..Fact::default() });
            ControlFlow::Continue(())
        })
    }

    fn info(&self, conversation_id: &str) -> Result<Option<ConversationInfo>, LogError> {
        let value = self.tables.get(Table::Directory, &conversation_key(conversation_id))?;
        Ok(value.and_then(|value| ConversationInfo::decode(&value[..]).ok()))
    }

    fn members_changed(
        &self,
        mut info: ConversationInfo,
        set: &[MemberInfo],
        removed: &[String],
        last_seq: u64,
        puts: &mut Vec<Put>,
    ) -> Result<(), LogError> {
        let id = info.conversation_id.clone();
        let set = set.iter().map(|member| (&*member.user_id, Some(member.role)));
        let changes: BTreeMap<&str, Option<i32>> =
            set.chain(removed.iter().map(|user| (&**user, None))).collect();
        for (user, role) in changes {
            let member = key(b'm', &id, user);
            let was = self.tables.get(Table::Directory, &member)?;
            info.member_count = info.member_count + u32::from(role.is_some() && was.is_none())
                - u32::from(role.is_none() && was.is_some());
            let joined_after = was.map_or(last_seq, |was| joined_after_of(&was));
            let row = |role| [&[role as u8][..], &joined_after.to_le_bytes()].concat();
            puts.push((member, role.map(row)));
            puts.push((key(b'u', user, &id), role.map(|role| vec![role as u8])));
        }
        puts.push((conversation_key(&id), Some(info.encode_to_vec())));
        Ok(())
    }

    fn users(&self, kind: u8, conversation_id: &str) -> Result<Vec<(String, Vec<u8>)>, LogError> {
        let prefix = key(kind, conversation_id, "");
        let mut users = Vec::new();
        each_with_prefix(&*self.tables, Table::Directory, &prefix, &mut |key, value| {
            users
                .push((String::from_utf8_lossy(&key[prefix.len()..]).into_owned(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        Ok(users)
    }
}

pub(super) fn conversation_key(conversation_id: &str) -> Vec<u8> {
    [b"c", conversation_id.as_bytes()].concat()
}

pub(super) fn key(kind: u8, first: &str, second: &str) -> Vec<u8> {
    [&[kind], first.as_bytes(), b"\0", second.as_bytes()].concat()
}

pub(super) fn level_key(user_id: &str) -> Vec<u8> {
    [b"l", user_id.as_bytes()].concat()
}

pub(super) fn read_role(value: &[u8]) -> i32 {
    value.first().map_or(0, |role| i32::from(*role))
}

/// The conversation's last seq when a member came.
fn joined_after_of(value: &[u8]) -> u64 {
    value.get(1..).map_or(0, read_u64)
}

pub(super) fn read_u64(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
