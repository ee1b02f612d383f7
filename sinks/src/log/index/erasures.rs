//! The rows of the directory that say what is to be erased, and how far that came.
//!
//! ```text
//! e u user, e c conversation -> finished u8, last segment that was looked through u32, lsn u64, at i64
//! ```
//! One row each: an erasure that is asked for again takes the place of the one before.

use std::ops::ControlFlow;

use imflow_kind::Erased;
use imflow_proto::record::Lsn;
use imflow_proto::wire::{ConversationInfo, Message};
use prost::Message as _;

use super::Index;
use super::directory::{Directory, conversation_key, read_u64};
use super::ram::Row;
use super::tables::{Put, Table, each_with_prefix};
use crate::log::LogError;
use crate::log::erase::{Subject, Targets, strip};
use crate::log::segments::note_erased;

/// How far the erasure of somebody or something came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub subject: Subject,
    /// The record that asked for it; what stands before goes.
    pub lsn: Lsn,
    /// When it was asked for.
    pub at: i64,
    /// The last segment that was looked through.
    pub upto: u32,
    pub finished: bool,
}

impl Erasure {
    pub(crate) fn row(&self) -> Put {
        let mut value = Vec::with_capacity(21);
        value.push(u8::from(self.finished));
        value.extend_from_slice(&self.upto.to_le_bytes());
        value.extend_from_slice(&self.lsn.to_le_bytes());
        value.extend_from_slice(&self.at.to_le_bytes());
        (erasure_key(&self.subject), Some(value))
    }

    fn read(subject: Subject, value: &[u8]) -> Option<Self> {
        let (finished, rest) = value.split_first()?;
        let (upto, rest) = rest.split_first_chunk()?;
        let (lsn, at) = (read_u64(rest), read_u64(rest.get(8..)?) as i64);
        Some(Self { subject, lsn, at, upto: u32::from_le_bytes(*upto), finished: *finished != 0 })
    }
}

impl Directory {
    /// How far the last erasure of a subject came.
    pub(crate) fn erasure(&self, subject: &Subject) -> Result<Option<Erasure>, LogError> {
        let value = self.tables.get(Table::Directory, &erasure_key(subject))?;
        Ok(value.and_then(|value| Erasure::read(subject.clone(), &value)))
    }

    /// What is still to be erased.
    pub(crate) fn pending_erasures(&self) -> Result<Vec<Erasure>, LogError> {
        let mut pending = Vec::new();
        each_with_prefix(&*self.tables, Table::Directory, b"e", &mut |key, value| {
            let erasure = subject_of(key).and_then(|subject| Erasure::read(subject, value));
            pending.extend(erasure.filter(|erasure| !erasure.finished));
            ControlFlow::Continue(())
        })?;
        Ok(pending)
    }

    /// Forgets how far a user has come, everywhere.
    pub(crate) fn forget_cursors(&self, user_id: &str) -> Result<(), LogError> {
        let is_theirs = cursors_of(user_id);
        let mut puts = Vec::new();
        each_with_prefix(&*self.tables, Table::Directory, CURSORS, &mut |key, _| {
            if is_theirs(key) {
                puts.push((key.to_vec(), None));
            }
            ControlFlow::Continue(())
        })?;
        self.tables.write(puts)
    }

    /// Takes out of rows of a directory what an erasure does; `false`: there is nothing.
    pub(crate) fn erase_rows(subject: &Subject, rows: &mut Vec<Row>) -> bool {
        match subject {
            Subject::User(user) => {
                let (before, is_theirs) = (rows.len(), cursors_of(user));
                rows.retain(|(key, _)| !is_theirs(key));
                rows.len() < before
            }
            Subject::Conversation(id) => {
                let key = conversation_key(id);
                let row = rows.iter_mut().find(|(of, _)| *of == key);
                let Some((value, mut info)) = row.and_then(|(_, value)| {
                    let info = ConversationInfo::decode(&value[..]).ok()?;
                    Some((value, info))
                }) else {
                    return false;
                };
                let had_one = !std::mem::take(&mut info.name).is_empty();
                *value = info.encode_to_vec();
                had_one
            }
        }
    }
}

impl Index {
    /// Makes what is still to be erased unreadable.
    pub(crate) fn load_erasures(&self) -> Result<(), LogError> {
        // Held from before the rows are read, so that one that is added meanwhile is not lost.
        let mut erasing = self.segments.erasing.write();
        let mut targets = Targets::default();
        for erasure in self.directory.pending_erasures()? {
            targets.add(erasure.subject, erasure.lsn);
        }
        *erasing = targets;
        Ok(())
    }

    /// How far the last erasure of somebody or something came, as it is told.
    pub(super) fn erasure_of(
        &self,
        of: Erased<'_>,
    ) -> Result<Option<imflow_kind::Erasure>, LogError> {
        let subject = match of {
            Erased::User(id) => Subject::User(id.to_owned()),
            Erased::Conversation(id) => Subject::Conversation(id.to_owned()),
        };
        let Some(erasure) = self.directory.erasure(&subject)? else { return Ok(None) };
        let firsts = self.segments.firsts();
        let before = firsts.iter().filter(|(_, first)| *first < erasure.lsn);
        let left = before.filter(|(number, _)| *number > erasure.upto && !erasure.finished);
        let (asked_at, finished) = (erasure.at, erasure.finished);
        Ok(Some(imflow_kind::Erasure { asked_at, finished, segments_left: left.count() as u64 }))
    }

    /// What is left of a message that the log no longer holds: nothing that was said before an erasure of its sender,
    /// its author or its conversation. Without a record to go by, times tell.
    pub(super) fn left(&self, message: &Message) -> Result<Message, LogError> {
        let author = message.forward_of.as_ref().map(|origin| &origin.sender_id);
        let subjects = [
            Some(Subject::User(message.sender_id.clone())),
            author.map(|author| Subject::User(author.clone())),
            Some(Subject::Conversation(message.conversation_id.clone())),
        ];
        let mut left = message.clone();
        for subject in subjects.into_iter().flatten() {
            let erasure = self.directory.erasure(&subject)?;
            let is_meant = erasure.is_some_and(|erasure| message.created_at <= erasure.at);
            if is_meant && strip(&mut left) {
                note_erased(&mut left);
            }
        }
        Ok(left)
    }
}

/// The rows that say how far users have come.
const CURSORS: &[u8] = b"r";

/// Whether a row says how far this user has come; an erasure takes it.
fn cursors_of(user_id: &str) -> impl Fn(&[u8]) -> bool {
    let end = [b"\0", user_id.as_bytes()].concat();
    move |key| key.starts_with(CURSORS) && key.ends_with(&end)
}

fn erasure_key(subject: &Subject) -> Vec<u8> {
    match subject {
        Subject::User(id) => [b"eu", id.as_bytes()].concat(),
        Subject::Conversation(id) => [b"ec", id.as_bytes()].concat(),
    }
}

fn subject_of(key: &[u8]) -> Option<Subject> {
    let id = |id| String::from_utf8_lossy(id).into_owned();
    match key {
        [b'e', b'u', user @ ..] => Some(Subject::User(id(user))),
        [b'e', b'c', conversation @ ..] => Some(Subject::Conversation(id(conversation))),
        _ => None,
    }
}
