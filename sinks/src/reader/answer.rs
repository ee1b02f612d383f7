//! Answers one query from a store: who may read, how much, and what follows.

use imflow_kind::{Store, StoreError};
use imflow_proto::record::{Ask, Query, Session};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{
    ConversationInfo, Cursor, Error, ErrorCode, History, Messages, Role, Sync, Synced,
    SyncedConversation,
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
        Ask::Conversation(id) => conversation(store, session, id).map(Body::Conversation),
        _ if !(session.scopes.read || session.scopes.admin) => Err(Error::of(
            ErrorCode::Forbidden,
            "this token lacks the scope `read`; connect with one that has it",
        )),
        Ask::History(history) => history_page(store, session, history).map(Body::Messages),
        Ask::Sync(sync) => missed(store, session, sync).map(Body::Synced),
        Ask::Conversations(list) => store
            .conversations_of(&session.user_id, &list.after, page_size(list.limit))
            .map(Body::ConversationList)
            .map_err(|error| failed(&error)),
    };
    answered.unwrap_or_else(Body::Error)
}

fn conversation(
    store: &dyn Store,
    session: &Session,
    conversation_id: &str,
) -> Result<ConversationInfo, Error> {
    let view = store.conversation(conversation_id, &session.user_id);
    let view = view.map_err(|error| failed(&error))?;
    view.map(|view| view.info).ok_or_else(|| unknown(conversation_id))
}

/// Conversations in a page when the client asks for `limit`.
fn page_size(limit: u32) -> usize {
    if limit == 0 { CONVERSATIONS } else { (limit as usize).min(CONVERSATIONS) }
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
    let mut left = Left { messages: SYNC_MESSAGES, bytes: SYNC_BYTES };
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
    Ok(Synced { conversations: sync.cursors.iter().map(one).collect() })
}

/// What one answer may still hold.
struct Left {
    messages: usize,
    bytes: usize,
}

/// What fits of one conversation. With nothing left, that is no message and a true `more`.
fn missed_in(
    store: &dyn Store,
    session: &Session,
    cursor: &Cursor,
    left: &mut Left,
) -> Result<Messages, Error> {
    may_read(store, session, &cursor.conversation_id)?;
    let page = store.messages(&cursor.conversation_id, cursor.seq, left.messages);
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

fn may_read(store: &dyn Store, session: &Session, conversation_id: &str) -> Result<(), Error> {
    match store.conversation(conversation_id, &session.user_id).map_err(|error| failed(&error))? {
        None => Err(unknown(conversation_id)),
        Some(_) if session.scopes.admin => Ok(()),
        Some(view) if view.banned => Err(Error::of(
            ErrorCode::Banned,
            format!("you are banned from conversation `{conversation_id}`; ask its owner"),
        )),
        Some(view) if view.info.role() == Role::Unspecified => Err(Error::of(
            ErrorCode::NotAMember,
            format!(
                "only members read conversation `{conversation_id}`; ask one of its admins to add you"
            ),
        )),
        Some(_) => Ok(()),
    }
}

fn unknown(conversation_id: &str) -> Error {
    Error::of(
        ErrorCode::UnknownConversation,
        format!("conversation `{conversation_id}` does not exist; create it, or check its id"),
    )
}

fn failed(error: &StoreError) -> Error {
    tracing::error!("a read failed: {error}");
    Error::of(
        ErrorCode::Internal,
        "the store could not be read; nothing was lost; ask again in a moment",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imflow_kind::View;
    use imflow_kind::testing::Answers;
    use imflow_proto::record::Scopes;
    use imflow_proto::wire::{ConversationList, MemberInfo, Message};

    use super::*;

    /// `mine` and `other` have 1,000 messages of 2 KiB each; `alice` is a member of `mine` and banned
    /// from `closed`.
    struct Stub;

    impl Store for Stub {
        fn messages(&self, id: &str, after_seq: u64, limit: usize) -> Result<Messages, StoreError> {
            if id == "broken" {
                return Err(StoreError("`00000001.seg` is damaged".into()));
            }
            let last = 1_000.min(after_seq + limit as u64);
            let text = "x".repeat(2 << 10);
            let items = (after_seq + 1..=last).map(|seq| Message {
                seq,
                text: text.clone(),
                ..Default::default()
            });
            Ok(Messages { items: items.collect(), more: last < 1_000, removed_up_to_seq: 0 })
        }

        fn conversation(&self, id: &str, user: &str) -> Result<Option<View>, StoreError> {
            let (role, banned) = match (user, id) {
                ("alice", "mine" | "broken") => (Role::Member, false),
                ("alice", "closed") => (Role::Unspecified, true),
                (_, "mine" | "broken" | "other" | "closed") => (Role::Unspecified, false),
                _ => return Ok(None),
            };
            let info = ConversationInfo { role: role.into(), ..Default::default() };
            Ok(Some(View { info, banned }))
        }

        fn conversations_of(
            &self,
            _: &str,
            _: &str,
            _: usize,
        ) -> Result<ConversationList, StoreError> {
            Ok(ConversationList::default())
        }

        fn members(&self, _: &str) -> Result<Vec<MemberInfo>, StoreError> {
            Ok(Vec::new())
        }
    }

    fn ask(scopes: Scopes, ask: Ask) -> Body {
        let ticket = Arc::new(Answers::default()).ticket(1);
        let session = Session { number: 1, user_id: "alice".into(), device_id: "d".into(), scopes };
        answer(&Stub, &Query { ticket, session: Arc::new(session), ask })
    }

    fn read() -> Scopes {
        Scopes { read: true, ..Default::default() }
    }

    fn history(
        scopes: Scopes,
        id: &str,
        after_seq: u64,
        limit: u32,
    ) -> Result<(usize, bool), ErrorCode> {
        match ask(scopes, Ask::History(History { conversation_id: id.into(), after_seq, limit })) {
            Body::Messages(page) => Ok((page.items.len(), page.more)),
            Body::Error(error) => Err(error.code()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_members_and_the_control_api_read_a_conversation() {
        assert_eq!(history(read(), "mine", 0, 0), Ok((50, true)));
        assert_eq!(history(read(), "mine", 0, 5_000), Ok((200, true)));
        assert_eq!(history(read(), "mine", 990, 200), Ok((10, false)));
        assert_eq!(history(read(), "other", 0, 0), Err(ErrorCode::NotAMember));
        assert_eq!(history(read(), "closed", 0, 0), Err(ErrorCode::Banned));
        assert_eq!(history(read(), "nowhere", 0, 0), Err(ErrorCode::UnknownConversation));
        assert_eq!(history(read(), "broken", 0, 0), Err(ErrorCode::Internal));
        assert_eq!(history(Scopes::default(), "mine", 0, 0), Err(ErrorCode::Forbidden));
        assert_eq!(
            history(Scopes { admin: true, ..Default::default() }, "other", 0, 1),
            Ok((1, true))
        );
    }

    #[test]
    fn one_conversation_is_shown_to_whom_another_node_has_let_ask() {
        let asked = |id: &str| ask(Scopes::default(), Ask::Conversation(id.into()));
        assert!(matches!(asked("mine"), Body::Conversation(info) if info.role() == Role::Member));
        assert!(
            matches!(asked("nowhere"), Body::Error(error) if error.code() == ErrorCode::UnknownConversation)
        );
    }

    fn sync(cursors: &[(&str, u64)]) -> Result<Vec<(usize, bool, bool)>, ErrorCode> {
        let cursor = |(id, seq): &(&str, u64)| Cursor { conversation_id: (*id).into(), seq: *seq };
        match ask(read(), Ask::Sync(Sync { cursors: cursors.iter().map(cursor).collect() })) {
            Body::Synced(synced) => {
                let each = |c: &SyncedConversation| (c.items.len(), c.more, c.error.is_some());
                Ok(synced.conversations.iter().map(each).collect())
            }
            Body::Error(error) => Err(error.code()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_limit_holds_for_all_conversations_of_a_sync_and_more_is_exact() {
        // 512 KiB hold 255 messages of a little more than 2 KiB.
        let told = sync(&[("mine", 990), ("other", 0), ("mine", 0), ("mine", 0), ("mine", 1_000)]);
        assert_eq!(
            told,
            Ok(vec![
                (10, false, false),
                (0, false, true),
                (245, true, false),
                (0, true, false),
                (0, false, false)
            ])
        );
        assert_eq!(sync(&[("mine", 0); 201]), Err(ErrorCode::Invalid));
    }
}
