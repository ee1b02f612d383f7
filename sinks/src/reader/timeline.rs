//! The messages of all conversations of a user in one order: by time, then conversation, then seq.
//!
//! Merged at read. Inside a conversation the times never decrease, so each one is a sorted stream that a few
//! looks position; a heap takes the least head. No row is kept for each message and member, which would cost the
//! write path more than all else that the index keeps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use imflow_kind::{PAGE_BYTES, Store, StoreError};
use imflow_proto::record::Session;
use imflow_proto::wire::{ConversationInfo, Error, ErrorCode, Message, Messages, Place, Timeline};
use prost::Message as _;

use super::answer::{failed, may_read};
use super::history::page_size;

/// Conversations that are merged.
const CONVERSATIONS: usize = 10_000;
/// Messages that a stream takes from the store at a time.
const CHUNK: usize = 32;

pub(super) fn page(
    store: &dyn Store,
    session: &Session,
    timeline: &Timeline,
) -> Result<Messages, Error> {
    let limit = page_size(timeline.limit);
    let conversations = all_of(store, session)?;
    let merged = match (&timeline.after, &timeline.before) {
        (Some(_), Some(_)) => {
            return Err(Error::of(
                ErrorCode::Invalid,
                "the page has two places; give `after` or `before`",
            ));
        }
        (Some(after), None) => forwards(store, conversations, after, limit),
        (None, Some(before)) => backwards(store, conversations, before, limit),
        (None, None) => {
            let end = Place { created_at: i64::MAX, ..Place::default() };
            backwards(store, conversations, &end, limit)
        }
    };
    merged.map_err(|error| failed(&error))
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

fn place_of(message: &Message) -> (i64, &str, u64) {
    (message.created_at, &message.conversation_id, message.seq)
}

/// The last seq of a conversation that stands at or before a place.
fn last_at(store: &dyn Store, conversation: &str, place: &Place) -> Result<u64, StoreError> {
    let before = store.seq_before(conversation, place.created_at)?;
    match conversation.cmp(place.conversation_id.as_str()) {
        std::cmp::Ordering::Greater => Ok(before),
        // Of the same time, those of earlier conversations stand before, as do earlier ones of this.
        std::cmp::Ordering::Less => {
            store.seq_before(conversation, place.created_at.saturating_add(1))
        }
        std::cmp::Ordering::Equal => {
            let same_time = store.seq_before(conversation, place.created_at.saturating_add(1))?;
            Ok(place.seq.clamp(before, same_time))
        }
    }
}

fn forwards(
    store: &dyn Store,
    conversations: Vec<Readable>,
    after: &Place,
    limit: usize,
) -> Result<Messages, StoreError> {
    let mut heap = BinaryHeap::new();
    for (info, floor) in conversations {
        let from = last_at(store, &info.conversation_id, after)?.max(floor);
        if from < info.last_seq {
            let mut stream =
                Stream { id: info.conversation_id, at: from, end: u64::MAX, chunk: Vec::new() };
            if let Some(head) = stream.next(store)? {
                heap.push(Reverse(Head::new(head, stream)));
            }
        }
    }
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(Reverse(Head { message, mut stream, .. })) = heap.pop() {
        bytes += message.encoded_len();
        if items.len() >= limit || bytes > PAGE_BYTES && !items.is_empty() {
            return Ok(Messages { items, more: true, removed_up_to_seq: 0 });
        }
        items.push(message);
        if let Some(head) = stream.next(store)? {
            heap.push(Reverse(Head::new(head, stream)));
        }
    }
    Ok(Messages { items, more: false, removed_up_to_seq: 0 })
}

fn backwards(
    store: &dyn Store,
    conversations: Vec<Readable>,
    before: &Place,
    limit: usize,
) -> Result<Messages, StoreError> {
    let mut heap = BinaryHeap::new();
    for (info, floor) in conversations {
        let last = last_at(store, &info.conversation_id, before)?.min(info.last_seq);
        let is_place = info.conversation_id == before.conversation_id && last == before.seq;
        let end = if is_place { last } else { last + 1 };
        let mut stream = Stream { id: info.conversation_id, at: floor, end, chunk: Vec::new() };
        if let Some(head) = stream.next_back(store)? {
            heap.push(Head::new(head, stream));
        }
    }
    let (mut items, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(Head { message, mut stream, .. }) = heap.pop() {
        bytes += message.encoded_len();
        if items.len() >= limit || bytes > PAGE_BYTES && !items.is_empty() {
            more = true;
            break;
        }
        items.push(message);
        if let Some(head) = stream.next_back(store)? {
            heap.push(Head::new(head, stream));
        }
    }
    items.reverse();
    Ok(Messages { items, more, removed_up_to_seq: 0 })
}

/// The messages of one conversation with seq in `(at, end)`.
struct Stream {
    id: String,
    at: u64,
    end: u64,
    /// Taken from the store and not given; the next one last.
    chunk: Vec<Message>,
}

impl Stream {
    fn next(&mut self, store: &dyn Store) -> Result<Option<Message>, StoreError> {
        if self.chunk.is_empty() {
            self.chunk = store.messages(&self.id, self.at, CHUNK)?.items;
            self.at = self.chunk.last().map_or(self.at, |last| last.seq);
            self.chunk.reverse();
        }
        Ok(self.chunk.pop())
    }

    fn next_back(&mut self, store: &dyn Store) -> Result<Option<Message>, StoreError> {
        if self.chunk.is_empty() {
            self.chunk = store.last_messages(&self.id, self.at, self.end, CHUNK)?.items;
            self.end = self.chunk.first().map_or(self.end, |first| first.seq);
        }
        Ok(self.chunk.pop())
    }
}

/// The next message of a stream; ordered by its place.
struct Head {
    message: Message,
    stream: Stream,
}

impl Head {
    fn new(message: Message, stream: Stream) -> Self {
        Self { message, stream }
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        place_of(&self.message) == place_of(&other.message)
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        place_of(&self.message).cmp(&place_of(&other.message))
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
