//! The log, and beyond it the archive: one store to those who read.
//!
//! ```text
//!   seq 1 ................ F | F+1 ..................... last
//!       archive (a copy)     |  log, as far as `keep` goes
//! ```
//! Whatever the log still has is answered from it alone. What it has cut off, up to the floor F, is read from
//! the archive, becomes what later entries of both have made of it, and is joined to the rest at F. What the
//! archive lacks is told as removed; a page never passes over a hole in silence.
//!
//! The archive is another system, so those who serve everybody do not wait for it: without one at hand a read
//! that wants it fails, and says that it did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use imflow_kind::{Archive, PAGE_BYTES, Side, Spans, Store, StoreError, View};
use imflow_proto::log::Cursors;
use imflow_proto::wire::{
    ConversationList, CursorList, MemberInfo, Message, MessageType, Messages, Place,
};
use prost::Message as _;

/// Entries of the archive that a page looks at, to know what became of its messages.
const ABOUT: usize = 20_000;

pub(crate) struct Layers<'s> {
    store: &'s dyn Store,
    behind: Behind<'s>,
    wanted: AtomicBool,
}

/// What lies behind the log.
#[derive(Clone, Copy)]
enum Behind<'s> {
    Nothing,
    /// An archive that is not at hand.
    Elsewhere,
    Archive(&'s dyn Archive),
}

impl<'s> Layers<'s> {
    /// The log, behind which nothing lies.
    pub(crate) fn log_alone(store: &'s dyn Store) -> Self {
        Self { store, behind: Behind::Nothing, wanted: AtomicBool::new(false) }
    }

    /// The log, and behind it an archive; `None`: it is not at hand.
    pub(crate) fn new(store: &'s dyn Store, archive: Option<&'s dyn Archive>) -> Self {
        let behind = archive.map_or(Behind::Elsewhere, Behind::Archive);
        Self { behind, ..Self::log_alone(store) }
    }

    /// The log, for those who merge it with what lies behind, or have no use for that.
    pub(crate) fn log(&self) -> &'s dyn Store {
        self.store
    }

    /// Whether a read wanted the archive that is not at hand: what it has answered is nothing then.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn has_archive(&self) -> bool {
        !matches!(self.behind, Behind::Nothing)
    }

    fn archive(&self) -> Result<&'s dyn Archive, StoreError> {
        match self.behind {
            Behind::Archive(archive) => Ok(archive),
            Behind::Elsewhere | Behind::Nothing => {
                self.wanted.store(true, Ordering::Relaxed);
                Err(StoreError::Beyond)
            }
        }
    }

    /// The latest time of a message that only the archive has; `None`: there is none.
    pub(crate) fn archived_until(&self) -> Result<Option<i64>, StoreError> {
        if self.has_archive() { self.store.removed_until() } else { Ok(None) }
    }

    /// What the archive alone has of conversations, each read after some seq.
    pub(crate) fn archived(
        &self,
        readable: impl Iterator<Item = (String, u64)>,
    ) -> Result<Spans, StoreError> {
        let mut spans = Spans::new();
        for (id, after) in readable {
            let floor = self.store.removed_up_to(&id)?;
            if floor > after {
                spans.insert(id, after + 1..floor + 1);
            }
        }
        Ok(spans)
    }

    /// The messages of these spans of the archive on one side of a place, nearest first.
    pub(crate) fn old_timeline(
        &self,
        user_id: &str,
        spans: &Spans,
        (side, place): (Side, &Place),
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let found = self.archive()?.timeline(user_id, spans, (side, place), limit)?;
        let mut by_conversation = BTreeMap::<String, Vec<Message>>::new();
        for message in found {
            by_conversation.entry(message.conversation_id.clone()).or_default().push(message);
        }
        let mut amended = Vec::new();
        for (id, mut messages) in by_conversation {
            messages.sort_unstable_by_key(|message| message.seq);
            let floor = spans.get(&id).map_or(0, |span| span.end - 1);
            amended.extend(self.amended(&id, messages, floor)?);
        }
        side.nearest(&mut amended, limit);
        Ok(amended)
    }

    /// What a user wrote and the log no longer keeps, by conversation and seq, behind a conversation and a
    /// seq in it; and whether there may be more.
    pub(crate) fn written(
        &self,
        user_id: &str,
        (after_id, after_seq): (&str, u64),
        limit: usize,
    ) -> Result<Messages, StoreError> {
        let (mut items, mut id, mut after) = (Vec::new(), after_id.to_owned(), after_seq);
        while self.has_archive() && items.len() < limit {
            let floor = if id.is_empty() { 0 } else { self.store.removed_up_to(&id)? };
            if floor > after {
                let rest = after + 1..floor + 1;
                let part = self.archive()?.written(&id, user_id, rest, limit - items.len())?;
                items.extend(self.store.unerased(part)?);
            }
            let next = self.store.wrote_before(user_id, &id, 1)?.pop();
            let Some(next) = next.filter(|_| items.len() < limit) else { break };
            (id, after) = (next, 0);
        }
        let fits = fitting(items.iter());
        let more = items.len() >= limit || fits < items.len();
        items.truncate(fits);
        Ok(Messages { items, more, removed_up_to_seq: 0 })
    }

    /// What later entries, wherever they are, have made of messages of the archive, which has them up to a seq.
    fn amended(
        &self,
        id: &str,
        messages: Vec<Message>,
        floor: u64,
    ) -> Result<Vec<Message>, StoreError> {
        let targets: BTreeSet<u64> = messages
            .iter()
            .map(|message| match (message.r#type(), &message.action) {
                (MessageType::Edit, Some(action)) => action.target_seq,
                _ => message.seq,
            })
            .collect();
        let targets: Vec<u64> = targets.into_iter().collect();
        let others = self.archive()?.about(id, &targets, floor + 1, ABOUT)?;
        if others.len() >= ABOUT {
            let what = format!(
                "what became of {} messages of `{id}` is more than {ABOUT} entries; read fewer at a time",
                targets.len()
            );
            return Err(StoreError::Failed(what));
        }
        self.store.amended(id, messages, &others)
    }
}

/// The messages of a run whose seqs follow each other, from its first.
fn without_hole(mut messages: Vec<Message>) -> Vec<Message> {
    let hole = messages.windows(2).position(|pair| pair[0].seq + 1 != pair[1].seq);
    if let Some(hole) = hole {
        messages.truncate(hole + 1);
    }
    messages
}

/// The same, from its last.
pub(super) fn without_hole_before(mut messages: Vec<Message>) -> Vec<Message> {
    let hole = messages.windows(2).rposition(|pair| pair[0].seq + 1 != pair[1].seq);
    if let Some(hole) = hole {
        messages.drain(..=hole);
    }
    messages
}

/// How many of these fit a page, one at least.
fn fitting<'m>(messages: impl Iterator<Item = &'m Message>) -> usize {
    let mut bytes = 0;
    let fits = messages.take_while(|message| {
        bytes += message.encoded_len();
        bytes <= PAGE_BYTES
    });
    fits.count().max(1)
}

impl Store for Layers<'_> {
    fn messages(&self, id: &str, after_seq: u64, limit: usize) -> Result<Messages, StoreError> {
        let recent = self.store.messages(id, after_seq, limit)?;
        let floor = recent.removed_up_to_seq;
        if floor <= after_seq || !self.has_archive() {
            return Ok(recent);
        }
        if limit == 0 {
            // Whether the archive has them shows when somebody wants one.
            return Ok(Messages { more: true, ..Messages::default() });
        }
        let old = self.archive()?.first(id, after_seq + 1..floor + 1, limit)?;
        let Some(first) = old.first().map(|first| first.seq) else { return Ok(recent) };
        let removed_up_to_seq = if first > after_seq + 1 { first - 1 } else { 0 };
        let mut items = self.amended(id, without_hole(old), floor)?;
        let mut more = recent.more;
        if items.last().is_some_and(|last| last.seq == floor) {
            items.extend(recent.items);
        } else {
            more = true;
        }
        let fits = limit.min(fitting(items.iter()));
        more |= fits < items.len();
        items.truncate(fits);
        Ok(Messages { items, more, removed_up_to_seq })
    }

    fn last_messages(
        &self,
        id: &str,
        after_seq: u64,
        before_seq: u64,
        limit: usize,
    ) -> Result<Messages, StoreError> {
        let recent = self.store.last_messages(id, after_seq, before_seq, limit)?;
        let floor = recent.removed_up_to_seq;
        if floor <= after_seq || limit == 0 || !self.has_archive() {
            return Ok(recent);
        }
        // Of a full page only whether there are earlier ones.
        let wanted = limit.saturating_sub(recent.items.len());
        let range = after_seq + 1..before_seq.min(floor + 1);
        if range.is_empty() {
            // Nothing of what is gone was asked for.
            return Ok(Messages { removed_up_to_seq: 0, ..recent });
        }
        let end = range.end;
        let old = self.archive()?.last(id, range, wanted.max(1))?;
        let Some(last) = old.last().map(|last| last.seq) else { return Ok(recent) };
        // Behind a hole a page of its own begins, unless there is nothing before it.
        let hole = last + 1 < end;
        if wanted == 0 || hole && !recent.items.is_empty() {
            let removed_up_to_seq = if hole { end - 1 } else { 0 };
            return Ok(Messages { more: true, removed_up_to_seq, ..recent });
        }
        let mut items = self.amended(id, without_hole_before(old), floor)?;
        items.extend(recent.items);
        let fits = fitting(items.iter().rev());
        items.drain(..items.len().saturating_sub(fits));
        let first = items.first().map_or(end, |first| first.seq);
        let earlier = first > after_seq + 1;
        let more = earlier && !self.archive()?.last(id, after_seq + 1..first, 1)?.is_empty();
        let removed_up_to_seq = match (hole, earlier && !more) {
            (true, _) => end - 1,
            (false, true) => first - 1,
            (false, false) => 0,
        };
        Ok(Messages { items, more, removed_up_to_seq })
    }

    fn seq_before(&self, id: &str, time_ms: i64) -> Result<u64, StoreError> {
        let seq = self.store.seq_before(id, time_ms)?;
        if !self.has_archive() {
            return Ok(seq);
        }
        let floor = self.store.removed_up_to(id)?;
        // At the floor the log cannot tell whether the time lies further back.
        if floor == 0 || seq > floor {
            return Ok(seq);
        }
        self.archive()?.seq_before(id, time_ms, floor + 1)
    }

    fn cursors_of(&self, id: &str, user_id: &str) -> Result<Cursors, StoreError> {
        self.store.cursors_of(id, user_id)
    }

    fn cursors(&self, id: &str, after: &str, limit: usize) -> Result<CursorList, StoreError> {
        self.store.cursors(id, after, limit)
    }

    fn conversation(&self, id: &str, user_id: &str) -> Result<Option<View>, StoreError> {
        self.store.conversation(id, user_id)
    }

    fn conversations_of(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<ConversationList, StoreError> {
        self.store.conversations_of(user_id, after, limit)
    }

    fn members(&self, id: &str) -> Result<Vec<MemberInfo>, StoreError> {
        self.store.members(id)
    }
}
