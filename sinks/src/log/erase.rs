//! Takes content out of the log: what a user said, or what a conversation holds, before a record that asks
//! for it.
//!
//! A segment is written anew without it, in one piece, and each record keeps its place and length (see
//! [`super::frame`]); so nothing that points into the log changes. Ids, times, seqs and what refers to what
//! stay: only so seqs have no gaps, and repeats are told from new messages.

use std::collections::HashMap;

use imflow_proto::log::fact::Change;
use imflow_proto::log::{CursorsMoved, Fact};
use imflow_proto::record::{CommittedFact, Lsn};
use imflow_proto::wire::Message;
use prost::{DecodeError, Message as _};

use super::LogError;
use super::frame::{self, CURSORS, ERASED_BY, FACT, MESSAGE};
use super::segments::{Place, Segments, Visited, note_erased};

/// Whose content goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// All that the user said, also where others forwarded it, and how far the user has read.
    User(String),
    /// All that was said there, and the name.
    Conversation(String),
}

/// What is to be erased: of each subject, what stands before a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    users: HashMap<String, Lsn>,
    conversations: HashMap<String, Lsn>,
    last: Lsn,
}

impl Subject {
    /// Whom a fact erases.
    pub(crate) fn of(fact: &Fact) -> Option<Self> {
        match &fact.change {
            Some(Change::Erased(erased)) if erased.user_id.is_empty() => {
                Some(Self::Conversation(fact.conversation_id.clone()))
            }
            Some(Change::Erased(erased)) => Some(Self::User(erased.user_id.clone())),
            _ => None,
        }
    }
}

impl Targets {
    /// What a fact asks for; `None`: nothing.
    pub(crate) fn of(fact: &CommittedFact) -> Option<Self> {
        let mut targets = Self::default();
        targets.add(Subject::of(&fact.fact)?, fact.lsn);
        Some(targets)
    }

    pub(crate) fn add(&mut self, subject: Subject, before: Lsn) {
        let (of, id) = match subject {
            Subject::User(id) => (&mut self.users, id),
            Subject::Conversation(id) => (&mut self.conversations, id),
        };
        of.insert(id, before);
        self.last = self.last.max(before);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last == 0
    }

    fn is_user(&self, lsn: Lsn, id: &str) -> bool {
        self.users.get(id).is_some_and(|before| lsn < *before)
    }

    fn is_conversation(&self, lsn: Lsn, id: &str) -> bool {
        self.conversations.get(id).is_some_and(|before| lsn < *before)
    }

    /// Whether what somebody said in a conversation, in the record `lsn`, is to be erased.
    pub(crate) fn is_meant(&self, lsn: Lsn, conversation_id: &str, user_id: &str) -> bool {
        self.is_user(lsn, user_id) || self.is_conversation(lsn, conversation_id)
    }

    /// Takes its content out of a message; `false`: it is not meant, or has none.
    pub(crate) fn strip(&self, lsn: Lsn, message: &mut Message) -> bool {
        if self.last <= lsn {
            return false;
        }
        let author = message.forward_of.as_ref().map(|origin| &*origin.sender_id);
        let is_meant = self.is_meant(lsn, &message.conversation_id, &message.sender_id)
            || author.is_some_and(|author| self.is_user(lsn, author));
        is_meant && strip(message)
    }

    /// Takes its content out of a message of a copy, which stands before the records that ask, and says so of it.
    pub(crate) fn erase(&self, message: &mut Message) {
        if self.strip(0, message) {
            note_erased(message);
        }
    }

    /// What is to be left of a record; `None`: all of it.
    fn left(&self, record: &Visited<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
        let lsn = record.lsn;
        Ok(match record.kind {
            MESSAGE => {
                let mut message = Message::decode(record.payload)?;
                self.strip(lsn, &mut message).then(|| message.encode_to_vec())
            }
            FACT if !self.conversations.is_empty() => {
                let mut fact = Fact::decode(record.payload)?;
                let is_meant = self.is_conversation(lsn, &fact.conversation_id);
                match &mut fact.change {
                    Some(Change::Created(created)) if is_meant && !created.name.is_empty() => {
                        created.name.clear();
                        Some(fact.encode_to_vec())
                    }
                    _ => None,
                }
            }
            CURSORS if !self.users.is_empty() => {
                let mut moved = CursorsMoved::decode(record.payload)?;
                let before = moved.members.len();
                moved.members.retain(|member| !self.is_user(lsn, &member.user_id));
                (moved.members.len() < before).then(|| moved.encode_to_vec())
            }
            _ => None,
        })
    }
}

/// Takes out of a message what was said; `false`: there was nothing.
pub(crate) fn strip(message: &mut Message) -> bool {
    let emoji = message.action.as_mut().map(|action| std::mem::take(&mut action.emoji));
    let said = !message.text.is_empty()
        || !message.payload.is_empty()
        || !message.mentions.is_empty()
        || message.mention_all
        || message.forward_of.is_some()
        || emoji.is_some_and(|emoji| !emoji.is_empty());
    message.text.clear();
    message.payload.clear();
    message.mentions.clear();
    message.mention_all = false;
    message.forward_of = None;
    said
}

/// Writes a segment anew without what is to be erased, if it holds any of that; gives the entries that said
/// something by an emoji, as they were. The segment must not be the one that is written.
pub(crate) fn rewrite(
    segments: &Segments,
    number: u32,
    targets: &Targets,
) -> Result<Vec<(Message, Place)>, LogError> {
    let (mut changes, mut reactions, mut end) = (Vec::new(), Vec::new(), 0);
    segments.visit_segment(number, Lsn::MAX, &mut |record| {
        let Place { offset, len, .. } = record.place;
        let at = offset as usize..(offset + len) as usize;
        end = at.end;
        let unreadable =
            |error: DecodeError| segments.damaged(number, offset.into(), &error.to_string());
        if let Some(left) = targets.left(&record).map_err(unreadable)? {
            if record.kind == MESSAGE {
                let message = Message::decode(record.payload).map_err(unreadable)?;
                let says = message.action.as_ref().is_some_and(|action| !action.emoji.is_empty());
                reactions.extend(says.then_some((message, record.place)));
            }
            changes.push((at, left));
        }
        Ok(())
    })?;
    if changes.is_empty() {
        return Ok(reactions);
    }
    let mut bytes = segments.bytes(number, end)?;
    for (at, left) in changes {
        let offset = at.start as u64;
        if !frame::erase(&mut bytes[at], &left) {
            return Err(segments.damaged(number, offset, "what is left of the record is longer"));
        }
    }
    bytes[ERASED_BY].copy_from_slice(&targets.last.to_le_bytes());
    segments.replace(number, &bytes)?;
    Ok(reactions)
}
