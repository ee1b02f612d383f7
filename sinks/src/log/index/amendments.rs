//! What later entries have made of messages: revokes, edits, reactions, by the message they are about.
//!
//! In the tables, one row each:
//! ```text
//! conversation \0 target seq, class u8, seq (big endian) -> place 12 | at i64 | removes u8 | len u8, by | emoji
//! ```
//! Each stands a second time under the target 0, which no message has: so they can be counted by seq.
//! A message's revoke stands before its edits, and these before its reactions. A row holds all that a
//! page shows of an entry, but for the text of an edit, which stays in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, RangeInclusive};

use imflow_proto::wire::{Amended, Message, MessageType, Reaction};
use rapidhash::RapidHashMap;

use super::Index;
use super::ram::{self, Row};
use super::tables::Table;
use crate::log::LogError;
use crate::log::segments::{Place, Segments};

/// A page is closed behind the message with which it has looked at so many amendments.
pub(super) const PAGE_AMENDMENTS: usize = 20_000;
/// Entries after a read cursor among which those that are no messages are told apart.
pub(super) const COUNTED_ENTRIES: u64 = 20_000;
/// Emojis that are shown of a message, and users of each.
const SHOWN: usize = 50;

/// Where an amendment stands among those of its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    target: u64,
    class: Class,
    seq: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Revoke,
    Edit,
    React,
}

/// An entry that acts on a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Amendment {
    place: Place,
    at: i64,
    by: Box<str>,
    emoji: Box<str>,
    removes: bool,
}

/// The amendments of some messages of a conversation, in their order.
#[derive(Default)]
pub(super) struct Amendments {
    rows: BTreeMap<Slot, Amendment>,
    /// The edits among them that the log may not hold any more, by seq.
    edits: BTreeMap<u64, Message>,
    /// The first message that was not looked at, as there were too many before it.
    cut: Option<u64>,
}

impl Slot {
    /// The slots of these targets.
    pub(super) fn all_of(targets: &RangeInclusive<u64>) -> RangeInclusive<Self> {
        let first = Self { target: *targets.start(), class: Class::Revoke, seq: 0 };
        first..=Self { target: *targets.end(), class: Class::React, seq: u64::MAX }
    }

    /// Where the entry with this seq stands among all that act on something.
    pub(super) fn by_seq(seq: u64) -> Self {
        Self { target: 0, class: Class::React, seq }
    }

    fn key(self, conversation_id: &str) -> Vec<u8> {
        let mut key = ram::run_key(conversation_id, self.target);
        key.push(self.class as u8);
        key.extend_from_slice(&self.seq.to_be_bytes());
        key
    }

    fn read(conversation_id: &str, key: &[u8]) -> Option<Self> {
        let key = key.strip_prefix(conversation_id.as_bytes())?.strip_prefix(b"\0")?;
        let (target, rest) = key.split_first_chunk()?;
        let (class, seq) = rest.split_first()?;
        let class = match class {
            0 => Class::Revoke,
            1 => Class::Edit,
            2 => Class::React,
            _ => return None,
        };
        let (target, seq) = (u64::from_be_bytes(*target), seq.try_into().ok()?);
        Some(Self { target, class, seq: u64::from_be_bytes(seq) })
    }
}

impl Amendment {
    /// What an entry does, if it acts on a message.
    pub(super) fn of(message: &Message, place: Place) -> Option<(Slot, Self)> {
        let action = message.action.as_ref()?;
        let class = match message.r#type() {
            MessageType::Revoke => Class::Revoke,
            MessageType::Edit => Class::Edit,
            MessageType::React => Class::React,
            _ => return None,
        };
        let slot = Slot { target: action.target_seq, class, seq: message.seq };
        let (by, emoji) = (message.sender_id.as_str().into(), action.emoji.as_str().into());
        let (at, removes) = (message.created_at, action.remove);
        Some((slot, Self { place, at, by, emoji, removes }))
    }

    /// Whether it is a reaction that was erased. It counts as an entry and is shown nowhere.
    pub(super) fn says_nothing(&self, slot: Slot) -> bool {
        slot.class == Class::React && self.emoji.is_empty()
    }

    /// Of a reaction: the key of the row that shows it, and the row that counts it once it is erased.
    pub(super) fn rows_of_reaction(message: &Message, place: Place) -> Option<(Vec<u8>, Row)> {
        let (slot, amendment) = Self::of(message, place)?;
        let id = &message.conversation_id;
        let counted = Self { emoji: "".into(), ..amendment };
        Some((slot.key(id), counted.row(id, Slot::by_seq(message.seq))))
    }

    /// The row of the table.
    pub(super) fn row(&self, conversation_id: &str, slot: Slot) -> Row {
        let mut value = Vec::with_capacity(22 + self.by.len() + self.emoji.len());
        for number in [self.place.segment, self.place.offset, self.place.len] {
            value.extend_from_slice(&number.to_le_bytes());
        }
        value.extend_from_slice(&self.at.to_le_bytes());
        value.push(u8::from(self.removes));
        value.push(self.by.len() as u8);
        value.extend_from_slice(self.by.as_bytes());
        value.extend_from_slice(self.emoji.as_bytes());
        (slot.key(conversation_id), value)
    }

    fn read(value: &[u8]) -> Option<Self> {
        let (place, rest) = value.split_at_checked(12)?;
        let (at, rest) = rest.split_first_chunk()?;
        let (removes, rest) = rest.split_first()?;
        let (len, rest) = rest.split_first()?;
        let (by, emoji) = rest.split_at_checked(usize::from(*len))?;
        Some(Self {
            place: ram::read_place(place)?,
            at: i64::from_le_bytes(*at),
            by: std::str::from_utf8(by).ok()?.into(),
            emoji: std::str::from_utf8(emoji).ok()?.into(),
            removes: *removes != 0,
        })
    }
}

impl Amendments {
    /// Takes one; breaks where the page must end.
    pub(super) fn take(
        &mut self,
        slot: Slot,
        amendment: impl FnOnce() -> Amendment,
    ) -> ControlFlow<()> {
        if self.cut.is_some_and(|cut| slot.target >= cut) {
            return ControlFlow::Break(());
        }
        let is_full = self.rows.len() >= PAGE_AMENDMENTS;
        if is_full && self.rows.last_key_value().is_some_and(|(last, _)| last.target < slot.target)
        {
            self.cut = Some(slot.target);
            return ControlFlow::Break(());
        }
        self.rows.entry(slot).or_insert_with(amendment);
        ControlFlow::Continue(())
    }

    /// Takes those about a message among entries that were read elsewhere.
    fn take_others(&mut self, target: u64, others: &[Message]) {
        let about = |entry: &&Message| {
            entry.action.as_ref().is_some_and(|action| action.target_seq == target)
        };
        for entry in others.iter().filter(about) {
            let nowhere = Place { segment: 0, offset: 0, len: 0 };
            let Some((slot, amendment)) = Amendment::of(entry, nowhere) else { continue };
            if amendment.says_nothing(slot) {
                continue;
            }
            if slot.class == Class::Edit {
                self.edits.insert(slot.seq, entry.clone());
            }
            self.rows.entry(slot).or_insert(amendment);
        }
    }

    fn revoke_of(&self, target: u64) -> Option<&Amendment> {
        let first = self.of_target(target).next();
        first.filter(|(slot, _)| slot.class == Class::Revoke).map(|(_, revoke)| revoke)
    }

    /// Leaves out reactions that are to be erased, though their rows still say something. The record that asks
    /// begins a segment; where there was no room for one, those behind it in its segment come back once it is done.
    fn leave_out_erased(&mut self, conversation_id: &str, segments: &Segments) {
        let erasing = segments.erasing.read();
        if erasing.is_empty() {
            return;
        }
        self.rows.retain(|slot, amendment| {
            let first = segments.first_lsn(amendment.place.segment);
            slot.class != Class::React || !erasing.is_meant(first, conversation_id, &amendment.by)
        });
    }

    fn of_target(&self, target: u64) -> impl Iterator<Item = (&Slot, &Amendment)> {
        self.rows.range(Slot::all_of(&(target..=target)))
    }
}

impl Index {
    /// The amendments of these messages.
    fn amendments(
        &self,
        conversation_id: &str,
        targets: RangeInclusive<u64>,
    ) -> Result<Amendments, LogError> {
        let mut found = Amendments::default();
        // RAM first: what leaves it meanwhile is then found in both, and never in neither.
        self.ram.read().amendments(conversation_id, &targets, &mut found);
        let slots = Slot::all_of(&targets);
        let from = slots.start().key(conversation_id);
        self.tables.scan(Table::Amendments, &from, &mut |key, value| match Slot::read(
            conversation_id,
            key,
        )
        .filter(|slot| slots.contains(slot))
        {
            Some(slot) => match Amendment::read(value) {
                Some(amendment) => found.take(slot, || amendment),
                None => ControlFlow::Continue(()),
            },
            None => ControlFlow::Break(()),
        })?;
        found.leave_out_erased(conversation_id, &self.segments);
        Ok(found)
    }

    /// How many of the entries after `seq` act on something, and are no messages. No more than
    /// [`COUNTED_ENTRIES`] of them are looked at: whoever is further behind is told of those as of messages.
    pub(crate) fn actions_after(&self, conversation_id: &str, seq: u64) -> Result<u64, LogError> {
        let last = seq.saturating_add(COUNTED_ENTRIES);
        let slots = Slot::by_seq(seq.saturating_add(1))..=Slot::by_seq(last);
        let mut found = BTreeSet::new();
        self.ram.read().slots(conversation_id, &slots, &mut found);
        let from = slots.start().key(conversation_id);
        self.tables.scan(Table::Amendments, &from, &mut |key, _| match Slot::read(
            conversation_id,
            key,
        )
        .filter(|slot| slots.contains(slot))
        {
            Some(slot) => {
                found.insert(slot);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        })?;
        Ok(found.len() as u64)
    }

    /// Makes of messages, given by rising seq, what later entries have made of them. Gives whether it cut
    /// some off at the end, since too much has become of those before them.
    pub(super) fn amend(
        &self,
        conversation_id: &str,
        messages: &mut Vec<Message>,
    ) -> Result<bool, LogError> {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return Ok(false);
        };
        let amendments = self.amendments(conversation_id, first.seq..=last.seq)?;
        let before = messages.len();
        if let Some(cut) = amendments.cut {
            messages.retain(|message| message.seq < cut);
        }
        for message in &mut *messages {
            if !amendments.rows.is_empty() {
                self.amend_one(message, &amendments)?;
            }
            self.hide_edit(conversation_id, message)?;
        }
        Ok(messages.len() < before)
    }

    /// The same for messages that the log does not hold any more, with entries that it may not hold either. The
    /// edits among the messages go with what they edited, which need not be among them.
    pub(super) fn amend_with(
        &self,
        conversation_id: &str,
        mut messages: Vec<Message>,
        others: &[Message],
    ) -> Result<Vec<Message>, LogError> {
        for message in &mut messages {
            let target = match (message.r#type(), &message.action) {
                (MessageType::Edit, Some(action)) => action.target_seq,
                _ => message.seq,
            };
            let mut amendments = self.amendments(conversation_id, target..=target)?;
            amendments.take_others(target, others);
            if target == message.seq {
                self.amend_one(message, &amendments)?;
            } else if let Some(revoke) = amendments.revoke_of(target) {
                hide(message, revoke);
            }
        }
        Ok(messages)
    }

    /// The same for a page that must not be cut off at its end: in several looks, if need be.
    pub(super) fn amend_all(
        &self,
        conversation_id: &str,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, LogError> {
        let mut amended = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let mut part = rest.clone();
            self.amend(conversation_id, &mut part)?;
            rest.drain(..part.len());
            amended.append(&mut part);
        }
        Ok(amended)
    }

    fn amend_one(&self, message: &mut Message, amendments: &Amendments) -> Result<(), LogError> {
        let erased = message.is_erased();
        let mut amended = Amended { erased, ..Amended::default() };
        let mut last_edit = None;
        for (slot, amendment) in amendments.of_target(message.seq) {
            match slot.class {
                Class::Revoke => {
                    hide(message, amendment);
                    return Ok(());
                }
                Class::Edit => {
                    amended.edits += 1;
                    last_edit = Some((slot.seq, amendment));
                }
                Class::React => break,
            }
        }
        if let Some((seq, edit)) = last_edit {
            let edit = match amendments.edits.get(&seq) {
                Some(edit) => edit.clone(),
                None => self.segments.message(edit.place)?,
            };
            amended.edited_at = edit.created_at;
            message.text = edit.text;
            message.mentions = edit.mentions;
            message.mention_all = edit.mention_all;
        }
        amended.reactions = reactions(amendments.of_target(message.seq));
        if amended != Amended::default() {
            message.amended = Some(amended.into());
        }
        Ok(())
    }

    /// The text of an edit goes with the message that it edited.
    fn hide_edit(&self, conversation_id: &str, message: &mut Message) -> Result<(), LogError> {
        if message.r#type() == MessageType::Edit
            && let Some(action) = &message.action
        {
            let target = action.target_seq;
            let amendments = self.amendments(conversation_id, target..=target)?;
            if let Some(revoke) = amendments.revoke_of(target) {
                hide(message, revoke);
            }
        }
        Ok(())
    }

    /// A message as it reads now, without its reactions, and how many entries of REACT are about it.
    pub(crate) fn target(
        &self,
        conversation_id: &str,
        seq: u64,
    ) -> Result<Option<(Message, u32)>, LogError> {
        let Some(before) = seq.checked_sub(1) else { return Ok(None) };
        let Some(place) = self.places(conversation_id, before, 1)?.pop() else { return Ok(None) };
        if !self.segments.knows(place.segment) {
            return Ok(None);
        }
        let mut message = self.segments.message(place)?;
        if message.seq != seq {
            return Ok(None);
        }
        let amendments = self.amendments(conversation_id, seq..=seq)?;
        self.amend_one(&mut message, &amendments)?;
        if let Some(amended) = &mut message.amended {
            amended.reactions.clear();
        }
        let reacts = amendments.of_target(seq).filter(|(slot, _)| slot.class == Class::React);
        let reacts = reacts.count() as u32;
        Ok(Some((message, reacts)))
    }
}

/// Takes from a message what nobody may read any more.
fn hide(message: &mut Message, revoke: &Amendment) {
    message.text.clear();
    message.payload.clear();
    message.mentions.clear();
    message.mention_all = false;
    message.forward_of = None;
    let amended =
        Amended { revoked_at: revoke.at, revoked_by: revoke.by.to_string(), ..Amended::default() };
    message.amended = Some(amended.into());
}

/// Who reacts how, by emoji.
fn reactions<'a>(amendments: impl Iterator<Item = (&'a Slot, &'a Amendment)>) -> Vec<Reaction> {
    let mut standing = RapidHashMap::default();
    for (slot, amendment) in amendments.filter(|(slot, _)| slot.class == Class::React) {
        let reaction = (&*amendment.emoji, &*amendment.by);
        match amendment.removes {
            true => drop(standing.remove(&reaction)),
            false => drop(standing.entry(reaction).or_insert(slot.seq)),
        }
    }
    let mut in_order: Vec<_> = standing.into_iter().map(|(who, seq)| (seq, who)).collect();
    in_order.sort_unstable();
    let mut places = RapidHashMap::default();
    let mut reactions: Vec<Reaction> = Vec::new();
    for (_, (emoji, user)) in in_order {
        let place = *places.entry(emoji).or_insert_with(|| {
            if reactions.len() < SHOWN {
                reactions.push(Reaction { emoji: emoji.to_owned(), ..Reaction::default() });
                reactions.len() - 1
            } else {
                usize::MAX
            }
        });
        if let Some(reaction) = reactions.get_mut(place) {
            reaction.count += 1;
            if reaction.user_ids.len() < SHOWN {
                reaction.user_ids.push(user.to_owned());
            }
        }
    }
    reactions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amendment() -> Amendment {
        let place = Place { segment: 1, offset: 2, len: 3 };
        Amendment { place, at: 4, by: "alice".into(), emoji: "👍".into(), removes: true }
    }

    #[test]
    fn a_row_is_read_as_written_and_sorts_as_its_slot() {
        let slots = [
            (1, Class::Revoke, 900),
            (1, Class::Edit, 2),
            (1, Class::React, 2),
            (2, Class::Revoke, 1),
        ];
        let slots = slots.map(|(target, class, seq)| Slot { target, class, seq });
        let rows = slots.map(|slot| amendment().row("c1", slot));
        assert!(rows.is_sorted() && slots.is_sorted());
        for ((key, value), slot) in rows.iter().zip(slots) {
            assert_eq!(Slot::read("c1", key), Some(slot));
            assert_eq!(Slot::read("c", key), None);
            assert_eq!(Amendment::read(value), Some(amendment()));
            assert_eq!(Amendment::read(&value[..value.len().min(21)]), None, "cut short");
        }
    }

    #[test]
    fn looking_ends_between_two_messages_once_it_was_enough() {
        let mut found = Amendments::default();
        let mut take = |target, seq| {
            let slot = Slot { target, class: Class::React, seq };
            found.take(slot, amendment).is_continue()
        };
        let enough = PAGE_AMENDMENTS as u64;
        assert!((0..enough + 5).all(|seq| take(7, seq)), "those of one message belong together");
        assert!(!take(9, 1) && !take(9, 2));
        assert!(!take(8, 1), "the cut can only move forward");
        assert!(take(7, enough + 6), "what lies before the cut still counts");
        assert_eq!((found.cut, found.of_target(7).count() as u64), (Some(8), enough + 6));
    }
}
