//! Messages that have certain words: an index says where they may be, the store what is there.
//!
//! The index is asked within the conversations that the caller reads. Each message that it names is then read
//! from the store, and shown if it is there, the caller may read it now, and its text fits as it reads
//! now. So nothing is shown, and nothing counted, that the caller could not find by reading.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use imflow_kind::{
    Hit, PAGE_BYTES, Readable, Search, SearchError, Store, StoreError, Wanted, Within,
    conversation_key,
};
use imflow_proto::record::Session;
use imflow_proto::wire::{self, Error, ErrorCode, Match, Matches, Message, Span};
use prost::Message as _;

use super::answer::{failed, may_read};

const DEFAULT: usize = 20;
const MAX: usize = 100;
/// Conversations that are searched at once.
const CONVERSATIONS: usize = 10_000;
/// Messages that are read for one answer, shown or not.
const READ: usize = 1_000;
/// Characters of a snippet, and those before the first word.
const SNIPPET: usize = 120;
const BEFORE: usize = 30;

pub(super) fn page(
    store: &dyn Store,
    words: Option<&dyn Search>,
    session: &Session,
    asked: &wire::Search,
) -> Result<Matches, Error> {
    let words = words.ok_or_else(|| {
        Error::of(
            ErrorCode::Unsupported,
            "this service does not search: its reader has no `search`, which names a sink of kind `search`",
        )
    })?;
    let readable = Scope::of(store, session, &asked.conversation_id)?;
    let wanted = Wanted {
        query: &asked.query,
        sender_id: &asked.sender_id,
        after_time: asked.after_time,
        before_time: asked.before_time,
        before: asked.before.max(0),
        within: readable.within(&asked.conversation_id),
    };
    let limit = if asked.limit == 0 { DEFAULT } else { (asked.limit as usize).min(MAX) };
    let mut page = Page {
        store,
        words,
        session,
        asked,
        limit,
        items: Vec::new(),
        bytes: 0,
        read: 0,
        floors: HashMap::new(),
        next: None,
        error: None,
    };
    let searched = words.find(&wanted, &mut |hit| page.take(&hit));
    let searched = searched.map_err(|error| match error {
        SearchError::Query(sentence) => Error::of(ErrorCode::Invalid, sentence),
        SearchError::Index(error) => unreadable(&error),
    })?;
    if let Some(error) = page.error {
        return Err(failed(&error));
    }
    let next = page.next.or(searched.stopped_at).unwrap_or(0);
    let indexed_up_to = if searched.complete { 0 } else { searched.indexed_up_to };
    Ok(Matches { items: page.items, next, complete: searched.complete, indexed_up_to })
}

fn unreadable(error: &str) -> Error {
    tracing::error!("the index of words could not be read: {error}");
    Error::of(
        ErrorCode::Internal,
        "the index of words could not be read; no message was lost; ask again in a moment",
    )
}

/// What the caller reads.
enum Scope {
    All,
    One(u64),
    Some(Readable),
}

impl Scope {
    fn of(store: &dyn Store, session: &Session, conversation_id: &str) -> Result<Self, Error> {
        if !conversation_id.is_empty() {
            let view = may_read(store, session, conversation_id)?;
            return Ok(Self::One(view.reads_after()));
        }
        if session.scopes.admin {
            return Ok(Self::All);
        }
        let readable = store.readable(&session.user_id, CONVERSATIONS + 1);
        let readable = readable.map_err(|error| failed(&error))?;
        if readable.len() > CONVERSATIONS {
            return Err(Error::of(
                ErrorCode::TooLarge,
                format!(
                    "a search takes at most {CONVERSATIONS} conversations; name one with `conversationId`"
                ),
            ));
        }
        let key = |(id, after): &(String, u64)| (conversation_key(id), *after);
        Ok(Self::Some(readable.iter().map(key).collect()))
    }

    fn within<'a>(&'a self, conversation_id: &'a str) -> Within<'a> {
        match self {
            Self::All => Within::All,
            Self::One(after) => Within::One(conversation_id, *after),
            Self::Some(readable) => Within::Some(readable),
        }
    }
}

/// An answer in the making.
struct Page<'a> {
    store: &'a dyn Store,
    words: &'a dyn Search,
    session: &'a Session,
    asked: &'a wire::Search,
    limit: usize,
    items: Vec<Match>,
    bytes: usize,
    read: usize,
    /// Of each conversation met: the seq after which it is read, or that it is not.
    floors: HashMap<String, Option<u64>>,
    next: Option<i64>,
    error: Option<StoreError>,
}

impl Page<'_> {
    fn take(&mut self, hit: &Hit) -> ControlFlow<()> {
        self.read += 1;
        match self.shown(hit) {
            Ok(Some(found)) => {
                self.bytes += found.encoded_len();
                let is_full = self.items.len() == self.limit || self.bytes > PAGE_BYTES;
                if is_full && !self.items.is_empty() {
                    let last = self.items.last().and_then(|last| last.message.as_ref());
                    self.next = last.map(|message| message.server_msg_id);
                    return ControlFlow::Break(());
                }
                self.items.push(found);
            }
            Ok(None) => {}
            Err(error) => {
                self.error = Some(error);
                return ControlFlow::Break(());
            }
        }
        if self.read < READ {
            return ControlFlow::Continue(());
        }
        self.next = Some(hit.server_msg_id);
        ControlFlow::Break(())
    }

    fn shown(&mut self, hit: &Hit) -> Result<Option<Match>, StoreError> {
        let Some(floor) = self.floor(&hit.conversation_id)? else { return Ok(None) };
        if hit.seq <= floor {
            return Ok(None);
        }
        let page = self.store.messages(&hit.conversation_id, hit.seq - 1, 1)?;
        let is_it = |message: &Message| {
            message.seq == hit.seq && message.server_msg_id == hit.server_msg_id
        };
        let Some(message) = page.items.into_iter().find(is_it) else { return Ok(None) };
        let spans = self.words.spans(&self.asked.query, &message.text);
        Ok(spans.map(|spans| {
            let (snippet, spans) = snippet(&message.text, &spans);
            Match { message: Some(message), snippet, spans }
        }))
    }

    fn floor(&mut self, conversation_id: &str) -> Result<Option<u64>, StoreError> {
        if let Some(floor) = self.floors.get(conversation_id) {
            return Ok(*floor);
        }
        let view = self.store.conversation(conversation_id, &self.session.user_id)?;
        let floor = view.and_then(|view| {
            let is_member = !view.banned && view.info.role() != wire::Role::Unspecified;
            match self.session.scopes.admin {
                true => Some(0),
                false => is_member.then(|| view.reads_after()),
            }
        });
        self.floors.insert(conversation_id.to_owned(), floor);
        Ok(floor)
    }
}

/// The part of a text around the first of some spans (in bytes), and those within it in characters.
fn snippet(text: &str, spans: &[Range<usize>]) -> (String, Vec<Span>) {
    let first = spans.first().map_or(0, |span| span.start);
    let lead = text[..first].char_indices().rev().take(BEFORE).last();
    let start = lead.map_or(first, |(at, _)| at);
    let part: String = text[start..].chars().take(SNIPPET).collect();
    let end = start + part.len();
    let characters = |at: usize| text[start..at].chars().count() as u32;
    let within = spans.iter().take_while(|span| span.start < end);
    let spans = within
        .map(|span| Span { start: characters(span.start), end: characters(span.end.min(end)) });
    let spans = spans.collect();
    (part.replace(|c: char| c.is_control(), " "), spans)
}
