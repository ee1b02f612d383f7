//! The messages of all conversations of a user in one order: by time, then conversation, then seq.
//!
//! ```text
//! log: a stream for each conversation -+
//!                                      +-> heap -> page
//! archive: one stream, asked last -----+
//! ```
//! Merged at read. Inside a conversation the times never decrease, so each one is a sorted stream that a few
//! looks position; a heap takes the least head. No row is kept for each message and member, which would cost the
//! write path more than all else that the index keeps.
//!
//! What the log no longer keeps comes as one stream over all conversations. It stands in the heap at the latest
//! time that a message of it can have and is asked only when that comes up, so nobody's newest messages wait for
//! another system.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use imflow_kind::{PAGE_BYTES, Side, Spans, Store, StoreError, place_key, place_of};
use imflow_proto::record::Session;
use imflow_proto::wire::{ConversationInfo, Error, ErrorCode, Message, Messages, Place, Timeline};
use prost::Message as _;

use super::answer::{failed, may_read};
use super::history::page_size;
use super::layers::Layers;

/// Conversations that are merged.
const CONVERSATIONS: usize = 10_000;
/// Messages that a stream takes from the store at a time.
const CHUNK: usize = 32;

pub(super) fn page(
    layers: &Layers<'_>,
    session: &Session,
    timeline: &Timeline,
) -> Result<Messages, Error> {
    let (side, place) = match (&timeline.after, &timeline.before) {
        (Some(_), Some(_)) => {
            return Err(Error::of(
                ErrorCode::Invalid,
                "the page has two places; give `after` or `before`",
            ));
        }
        (Some(after), None) => (Side::After, after.clone()),
        (None, Some(before)) => (Side::Before, before.clone()),
        (None, None) => (Side::Before, Place { created_at: i64::MAX, ..Place::default() }),
    };
    let conversations = all_of(layers.log(), session)?;
    let limit = page_size(timeline.limit);
    let merge = Merge { layers, user_id: &session.user_id, side, place, limit };
    merge.page(conversations).map_err(|error| failed(&error))
}

/// A conversation and the seq after which the caller reads it.
type Readable = (ConversationInfo, u64);

fn all_of(store: &dyn Store, session: &Session) -> Result<Vec<Readable>, Error> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let list = store.conversations_of(&session.user_id, &after, 1_000);
        let list = list.map_err(|error| failed(&error))?;
        let Some(last) = list.items.last() else { return Ok(found) };
        after.clone_from(&last.conversation_id);
        for info in list.items.into_iter().filter(|info| info.last_seq > 0) {
            let floor = match info.history_since_join {
                true => may_read(store, session, &info.conversation_id)?.reads_after(),
                false => 0,
            };
            found.push((info, floor));
        }
        if found.len() > CONVERSATIONS {
            return Err(Error::of(
                ErrorCode::TooLarge,
                format!(
                    "a timeline takes at most {CONVERSATIONS} conversations; read them with `history`"
                ),
            ));
        }
        if !list.more {
            return Ok(found);
        }
    }
}

/// The last seq of a conversation that stands at or before a place.
fn last_at(store: &dyn Store, conversation: &str, place: &Place) -> Result<u64, StoreError> {
    let before = store.seq_before(conversation, place.created_at)?;
    match conversation.cmp(place.conversation_id.as_str()) {
        Ordering::Greater => Ok(before),
        // Of the same time, those of earlier conversations stand before, as do earlier ones of this.
        Ordering::Less => store.seq_before(conversation, place.created_at.saturating_add(1)),
        Ordering::Equal => {
            let same_time = store.seq_before(conversation, place.created_at.saturating_add(1))?;
            Ok(place.seq.clamp(before, same_time))
        }
    }
}

/// One page being made.
struct Merge<'m> {
    layers: &'m Layers<'m>,
    user_id: &'m str,
    side: Side,
    place: Place,
    limit: usize,
}

impl Merge<'_> {
    fn page(&self, conversations: Vec<Readable>) -> Result<Messages, StoreError> {
        let mut heap = BinaryHeap::new();
        heap.extend(self.old(&conversations)?);
        for (info, floor) in conversations {
            let Some(stream) = self.stream(info, floor)? else { continue };
            heap.extend(self.next(Source::Log(stream))?);
        }
        let (mut items, mut bytes, mut more) = (Vec::new(), 0, false);
        while let Some(Head { message, source, .. }) = heap.pop() {
            let Some(message) = message else {
                if items.len() >= self.limit {
                    // Whether the archive has any shows when somebody wants one.
                    more = true;
                    break;
                }
                heap.extend(self.next(source)?);
                continue;
            };
            bytes += message.encoded_len();
            if items.len() >= self.limit || bytes > PAGE_BYTES && !items.is_empty() {
                more = true;
                break;
            }
            items.push(message);
            heap.extend(self.next(source)?);
        }
        if self.side == Side::Before {
            items.reverse();
        }
        Ok(Messages { items, more, removed_up_to_seq: 0 })
    }

    /// What the log has of a conversation on this side of the place, if anything.
    fn stream(&self, info: ConversationInfo, floor: u64) -> Result<Option<Stream>, StoreError> {
        let last = last_at(self.layers.log(), &info.conversation_id, &self.place)?;
        let chunk = Vec::new();
        match self.side {
            Side::After => {
                let at = last.max(floor);
                let stream = Stream { id: info.conversation_id, at, end: u64::MAX, chunk };
                Ok((at < info.last_seq).then_some(stream))
            }
            Side::Before => {
                let last = last.min(info.last_seq);
                let is_place =
                    info.conversation_id == self.place.conversation_id && last == self.place.seq;
                let end = if is_place { last } else { last + 1 };
                Ok(Some(Stream { id: info.conversation_id, at: floor, end, chunk }))
            }
        }
    }

    /// What the archive has on this side of the place, not asked yet; `None`: nothing.
    fn old(&self, conversations: &[Readable]) -> Result<Option<Head>, StoreError> {
        let Some(until) = self.layers.archived_until()? else { return Ok(None) };
        if self.side == Side::After && self.place.created_at > until {
            return Ok(None);
        }
        let readable = conversations.iter();
        let readable = readable.map(|(info, floor)| (info.conversation_id.clone(), *floor));
        let spans = self.layers.archived(readable)?;
        if spans.is_empty() {
            return Ok(None);
        }
        let behind = Place { created_at: until.saturating_add(1), ..Place::default() };
        let at = match self.side {
            Side::Before if place_key(&behind) < place_key(&self.place) => behind,
            _ => self.place.clone(),
        };
        let source = Source::Old(Old { spans, at: at.clone(), chunk: Vec::new(), is_end: false });
        Ok(Some(Head { side: self.side, place: at, message: None, source }))
    }

    /// The next head of a source; `None` at its end.
    fn next(&self, mut source: Source) -> Result<Option<Head>, StoreError> {
        let message = match &mut source {
            Source::Log(stream) => stream.next(self.layers.log(), self.side)?,
            Source::Old(old) => old.next(self)?,
        };
        Ok(message.map(|message| {
            let place = to_place(&message);
            Head { side: self.side, place, message: Some(message), source }
        }))
    }
}

fn to_place(message: &Message) -> Place {
    let (created_at, conversation_id, seq) = place_of(message);
    Place { created_at, conversation_id: conversation_id.into(), seq }
}

enum Source {
    Log(Stream),
    Old(Old),
}

/// The messages of one conversation that the log has, with seq in `(at, end)`.
struct Stream {
    id: String,
    at: u64,
    end: u64,
    /// Taken from the store and not given; the next one last.
    chunk: Vec<Message>,
}

impl Stream {
    fn next(&mut self, store: &dyn Store, side: Side) -> Result<Option<Message>, StoreError> {
        if self.chunk.is_empty() && side == Side::After {
            self.chunk = store.messages(&self.id, self.at, CHUNK)?.items;
            self.at = self.chunk.last().map_or(self.at, |last| last.seq);
            self.chunk.reverse();
        } else if self.chunk.is_empty() {
            self.chunk = store.last_messages(&self.id, self.at, self.end, CHUNK)?.items;
            self.end = self.chunk.first().map_or(self.end, |first| first.seq);
        }
        Ok(self.chunk.pop())
    }
}

/// The messages of all conversations that the archive has, behind a place.
struct Old {
    spans: Spans,
    at: Place,
    /// Taken from the archive and not given; the next one last.
    chunk: Vec<Message>,
    is_end: bool,
}

impl Old {
    fn next(&mut self, merge: &Merge<'_>) -> Result<Option<Message>, StoreError> {
        if self.chunk.is_empty() && !self.is_end {
            // A page, and one more to know whether there is more.
            let (at, wanted) = ((merge.side, &self.at), merge.limit + 1);
            self.chunk = merge.layers.old_timeline(merge.user_id, &self.spans, at, wanted)?;
            self.is_end = self.chunk.len() < wanted;
            self.at = self.chunk.last().map_or_else(|| self.at.clone(), to_place);
            self.chunk.reverse();
        }
        Ok(self.chunk.pop())
    }
}

/// The next message of a source; the nearest head is the greatest.
struct Head {
    side: Side,
    place: Place,
    /// None: the source was not asked, and none of its messages is nearer than this place.
    message: Option<Message>,
    source: Source,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_place = place_key(&self.place).cmp(&place_key(&other.place));
        match self.side {
            Side::Before => by_place,
            Side::After => by_place.reverse(),
        }
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
