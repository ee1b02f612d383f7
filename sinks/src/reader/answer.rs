//! Answers one query from a store: who may read, how much, and what follows.

use imflow_kind::{Store, StoreError};
use imflow_proto::record::{Ask, Query, Session};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{
    Error, ErrorCode, History, Messages, Role, Sync, Synced, SyncedConversation,
};
use prost::Message as _;

const HISTORY_DEFAULT: usize = 50;
const HISTORY_MAX: usize = 200;
const SYNC_CURSORS: usize = 200;
const SYNC_MESSAGES: usize = 500;
const SYNC_BYTES: usize = 512 << 10;
const CONVERSATIONS: usize = 1_000;

/// The body that answers a query.
pub(crate) fn answer(store: &dyn Store, query: &Query) -> Body {
    let session = &*query.session;
    let answered = match &query.ask {
        _ if !(session.scopes.read || session.scopes.admin) => Err(Error::of(
            ErrorCode::Forbidden,
            "this token lacks the scope `read`; connect with one that has it",
        )),
        Ask::History(history) => history_page(store, session, history).map(Body::Messages),
        Ask::Sync(sync) => missed(store, session, sync).map(Body::Synced),
        Ask::Conversations => store
            .conversations_of(&session.user_id, "", CONVERSATIONS)
            .map(Body::ConversationList)
            .map_err(|error| failed(&error)),
    };
    answered.unwrap_or_else(Body::Error)
}

fn history_page(
    store: &dyn Store,
    session: &Session,
    history: &History,
) -> Result<Messages, Error> {
    may_read(store, session, &history.conversation_id)?;
    let limit = if history.limit == 0 {
        HISTORY_DEFAULT
    } else {
        (history.limit as usize).min(HISTORY_MAX)
    };
    store
        .messages(&history.conversation_id, history.after_seq, limit)
        .map_err(|error| failed(&error))
}

fn missed(store: &dyn Store, session: &Session, sync: &Sync) -> Result<Synced, Error> {
    if sync.cursors.len() > SYNC_CURSORS {
        return Err(Error::of(
            ErrorCode::Invalid,
            format!(
                "sync has {} cursors, at most {SYNC_CURSORS} are taken; ask in several steps",
                sync.cursors.len()
            ),
        ));
    }
    let (mut messages_left, mut bytes_left) = (SYNC_MESSAGES, SYNC_BYTES);
    let mut conversations = Vec::with_capacity(sync.cursors.len());
    for cursor in &sync.cursors {
        let id = &cursor.conversation_id;
        // Even with nothing left, `more` is told as it is.
        let page = may_read(store, session, id).and_then(|()| {
            store.messages(id, cursor.seq, messages_left).map_err(|error| failed(&error))
        });
        conversations.push(match page {
            Ok(mut page) => {
                let fits = page.items.iter().take_while(|message| {
                    let fits = message.encoded_len() <= bytes_left;
                    bytes_left -= if fits { message.encoded_len() } else { bytes_left };
                    fits
                });
                let fits = fits.count();
                page.more |= fits < page.items.len();
                page.items.truncate(fits);
                // A full answer needs no more messages, only the truth about `more`.
                messages_left = if bytes_left == 0 { 0 } else { messages_left - fits };
                SyncedConversation {
                    conversation_id: id.clone(),
                    items: page.items,
                    more: page.more,
                    error: None,
                }
            }
            Err(error) => SyncedConversation {
                conversation_id: id.clone(),
                error: Some(error),
                ..Default::default()
            },
        });
    }
    Ok(Synced { conversations })
}

fn may_read(store: &dyn Store, session: &Session, conversation_id: &str) -> Result<(), Error> {
    match store.conversation(conversation_id, &session.user_id).map_err(|error| failed(&error))? {
        None => Err(Error::of(
            ErrorCode::UnknownConversation,
            format!("conversation `{conversation_id}` does not exist; create it, or check its id"),
        )),
        Some(info) if info.role() == Role::Unspecified && !session.scopes.admin => Err(Error::of(
            ErrorCode::NotAMember,
            format!(
                "you cannot read conversation `{conversation_id}`: only members who are not banned can; ask one of its admins to add you"
            ),
        )),
        Some(_) => Ok(()),
    }
}

fn failed(error: &StoreError) -> Error {
    tracing::error!("a read failed: {error}");
    Error::of(
        ErrorCode::Internal,
        "the store could not be read; nothing was lost; ask again in a moment",
    )
}
