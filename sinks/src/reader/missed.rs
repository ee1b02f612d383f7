//! What a device has missed in many conversations, under one limit: from the cursors that it names (`sync`),
//! or from those that the service keeps (`resume`).

use imflow_kind::{PAGE_BYTES, Store, View};
use imflow_proto::record::Session;
use imflow_proto::wire::{
    Cursor, Error, ErrorCode, Messages, Resume, Sync, Synced, SyncedConversation,
};
use prost::Message as _;

use super::answer::{failed, may_read};

const CURSORS: usize = 200;
const MESSAGES: usize = 500;
/// Conversations that one `resume` looks at.
const LOOKED_AT: usize = 1_000;

/// What one answer may still hold.
struct Left {
    messages: usize,
    bytes: usize,
}

impl Left {
    fn all() -> Self {
        Self { messages: MESSAGES, bytes: PAGE_BYTES }
    }
}

pub(super) fn sync(store: &dyn Store, session: &Session, sync: &Sync) -> Result<Synced, Error> {
    if sync.cursors.len() > CURSORS {
        return Err(Error::of(
            ErrorCode::Invalid,
            format!(
                "sync has {} cursors, at most {CURSORS} are taken; ask in several steps",
                sync.cursors.len()
            ),
        ));
    }
    let mut left = Left::all();
    let one = |cursor: &Cursor| {
        let conversation_id = cursor.conversation_id.clone();
        match missed_in(store, session, cursor, &mut left) {
            Ok(Messages { items, more, removed_up_to_seq }) => SyncedConversation {
                conversation_id,
                items,
                more,
                removed_up_to_seq,
                ..Default::default()
            },
            Err(error) => {
                SyncedConversation { conversation_id, error: Some(error), ..Default::default() }
            }
        }
    };
    Ok(Synced { conversations: sync.cursors.iter().map(one).collect(), ..Default::default() })
}

pub(super) fn resume(
    store: &dyn Store,
    session: &Session,
    resume: &Resume,
) -> Result<Synced, Error> {
    let list = store.conversations_of(&session.user_id, &resume.after, LOOKED_AT);
    let list = list.map_err(|error| failed(&error))?;
    let (mut left, mut conversations) = (Left::all(), Vec::new());
    let mut synced = Synced { more: list.more, after: resume.after.clone(), ..Default::default() };
    for info in list.items {
        if left.messages == 0 {
            synced.more = true;
            break;
        }
        let id = info.conversation_id;
        synced.after.clone_from(&id);
        let cursors = store.cursors_of(&id, &session.user_id).map_err(|error| failed(&error))?;
        let seq = cursors.delivered_to(&session.device_id).unwrap_or(info.read_seq);
        if seq >= info.last_seq {
            continue;
        }
        let cursor = Cursor { conversation_id: id.clone(), seq };
        let answer = missed_in(store, session, &cursor, &mut left);
        conversations.extend(match answer {
            Ok(Messages { items, more, .. }) if items.is_empty() && !more => None,
            Ok(Messages { items, more, removed_up_to_seq }) => {
                let redelivered = !items.is_empty();
                Some(SyncedConversation {
                    conversation_id: id,
                    items,
                    more,
                    redelivered,
                    removed_up_to_seq,
                    error: None,
                })
            }
            Err(error) => Some(SyncedConversation {
                conversation_id: id,
                error: Some(error),
                ..Default::default()
            }),
        });
    }
    if !synced.more {
        synced.after.clear();
    }
    synced.conversations = conversations;
    Ok(synced)
}

/// What fits of one conversation. With nothing left, that is no message and a true `more`.
fn missed_in(
    store: &dyn Store,
    session: &Session,
    cursor: &Cursor,
    left: &mut Left,
) -> Result<Messages, Error> {
    let view: View = may_read(store, session, &cursor.conversation_id)?;
    let after = cursor.seq.max(view.reads_after());
    let page = store.messages(&cursor.conversation_id, after, left.messages);
    let mut page = page.map_err(|error| failed(&error))?;
    let mut fits = 0;
    for message in &page.items {
        let Some(bytes) = left.bytes.checked_sub(message.encoded_len()) else { break };
        left.bytes = bytes;
        fits += 1;
    }
    let full = page.more || fits < page.items.len();
    left.messages = if fits < page.items.len() { 0 } else { left.messages - fits };
    page.items.truncate(fits);
    Ok(Messages { more: full, ..page })
}

#[cfg(test)]
#[path = "missed_tests.rs"]
mod tests;
