//! Answers one query from a store: who may read, how much, and what follows.

use imflow_kind::{Search, Store, StoreError, View};
use imflow_proto::record::{Ask, Query, Session};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{ConversationInfo, CursorList, Error, ErrorCode, ListCursors, Role};

use super::layers::Layers;
use super::{history, missed, search, timeline, written};

const CONVERSATIONS: usize = 1_000;

/// The body that answers a query.
pub(crate) fn answer(layers: &Layers<'_>, words: Option<&dyn Search>, query: &Query) -> Body {
    let (session, store) = (&*query.session, layers as &dyn Store);
    let answered = match &query.ask {
        Ask::Conversation(id) => conversation(store, session, id).map(Body::Conversation),
        _ if !(session.scopes.read || session.scopes.admin) => Err(Error::of(
            ErrorCode::Forbidden,
            "this token lacks the scope `read`; connect with one that has it",
        )),
        Ask::History(history) => history::page(store, session, history).map(Body::Messages),
        Ask::Sync(sync) => missed::sync(store, session, sync).map(Body::Synced),
        Ask::Resume(resume) => missed::resume(store, session, resume).map(Body::Synced),
        Ask::Timeline(timeline) => timeline::page(layers, session, timeline).map(Body::Messages),
        Ask::Search(asked) => search::page(layers.log(), words, session, asked).map(Body::Matches),
        Ask::Written(written) => written::page(layers, session, written).map(Body::Messages),
        Ask::Cursors(list) => cursors(store, session, list).map(Body::CursorList),
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

fn cursors(store: &dyn Store, session: &Session, list: &ListCursors) -> Result<CursorList, Error> {
    let ListCursors { conversation_id, after, limit } = list;
    may_read(store, session, conversation_id)?;
    store.cursors(conversation_id, after, page_size(*limit)).map_err(|error| failed(&error))
}

/// The conversation as the session sees it, if it may read it.
pub(super) fn may_read(
    store: &dyn Store,
    session: &Session,
    conversation_id: &str,
) -> Result<View, Error> {
    match store.conversation(conversation_id, &session.user_id).map_err(|error| failed(&error))? {
        None => Err(unknown(conversation_id)),
        Some(view) if session.scopes.admin => Ok(View { joined_after: 0, ..view }),
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
        Some(view) => Ok(view),
    }
}

fn unknown(conversation_id: &str) -> Error {
    Error::of(
        ErrorCode::UnknownConversation,
        format!("conversation `{conversation_id}` does not exist; create it, or check its id"),
    )
}

pub(super) fn failed(error: &StoreError) -> Error {
    match error {
        StoreError::Away(why) => {
            tracing::warn!("a read of what has left the log failed: {why}");
            let text = "what you asked for has left the log, and the archive that keeps it does not answer; nothing was lost; ask again in a moment";
            Error::of(ErrorCode::Busy, text).retry_after(1_000)
        }
        // The query goes on to who does; nobody reads this.
        StoreError::Beyond => Error::of(ErrorCode::Busy, error.to_string()),
        _ => {
            tracing::error!("a read failed: {error}");
            let text = "the store could not be read; nothing was lost; ask again in a moment";
            Error::of(ErrorCode::Internal, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imflow_kind::testing::Answers;
    use imflow_proto::log::Cursors;
    use imflow_proto::record::Scopes;
    use imflow_proto::wire::{
        ConversationList, Cursor, History, MemberInfo, Message, Messages, Sync, SyncedConversation,
    };

    use super::*;

    /// `mine` and `other` have 1,000 messages of 2 KiB each; `alice` is a member of `mine` and banned
    /// from `closed`.
    struct Stub;

    impl Store for Stub {
        fn messages(&self, id: &str, after_seq: u64, limit: usize) -> Result<Messages, StoreError> {
            if id == "broken" {
                return Err(StoreError::Failed("`00000001.seg` is damaged".into()));
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

        fn last_messages(
            &self,
            id: &str,
            after_seq: u64,
            before_seq: u64,
            limit: usize,
        ) -> Result<Messages, StoreError> {
            let before = before_seq.min(1_001);
            let from = after_seq.max((before - 1).saturating_sub(limit as u64));
            let mut page = self.messages(id, from, (before - 1).saturating_sub(from) as usize)?;
            page.more = from > after_seq;
            Ok(page)
        }

        /// A message a second.
        fn seq_before(&self, _: &str, time_ms: i64) -> Result<u64, StoreError> {
            Ok((time_ms - 1).div_euclid(1_000).clamp(0, 1_000) as u64)
        }

        fn cursors_of(&self, _: &str, _: &str) -> Result<Cursors, StoreError> {
            Ok(Cursors::default())
        }

        fn cursors(&self, _: &str, _: &str, _: usize) -> Result<CursorList, StoreError> {
            Ok(CursorList::default())
        }

        fn conversation(&self, id: &str, user: &str) -> Result<Option<View>, StoreError> {
            let (role, banned) = match (user, id) {
                ("alice", "mine" | "broken" | "recent") => (Role::Member, false),
                ("alice", "closed") => (Role::Unspecified, true),
                (_, "mine" | "broken" | "other" | "closed") => (Role::Unspecified, false),
                _ => return Ok(None),
            };
            let info = ConversationInfo {
                role: role.into(),
                history_since_join: id == "recent",
                last_seq: 1_000,
                ..Default::default()
            };
            Ok(Some(View { info, banned, joined_after: 900 }))
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
        answer(&Layers::log_alone(&Stub), None, &Query { ticket, session: Arc::new(session), ask })
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
        let conversation_id = id.into();
        let history = History { conversation_id, after_seq, limit, ..History::default() };
        match ask(scopes, Ask::History(history)) {
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

    /// First and last seq, and whether more follow.
    fn range(history: History) -> Result<(u64, u64, bool), ErrorCode> {
        match ask(read(), Ask::History(history)) {
            Body::Messages(page) => {
                let seqs: Vec<u64> = page.items.iter().map(|message| message.seq).collect();
                assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
                let ends = (seqs.first().copied(), seqs.last().copied());
                Ok((ends.0.unwrap_or(0), ends.1.unwrap_or(0), page.more))
            }
            Body::Error(error) => Err(error.code()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn history_reads_from_a_place_in_either_direction() {
        let mine = || History { conversation_id: "mine".into(), limit: 10, ..History::default() };
        assert_eq!(range(History { before_seq: 101, ..mine() }), Ok((91, 100, true)));
        assert_eq!(range(History { before_seq: 6, ..mine() }), Ok((1, 5, false)));
        assert_eq!(range(History { before_seq: u64::MAX, ..mine() }), Ok((991, 1_000, true)));
        let between = History { after_seq: 20, before_seq: 24, ..mine() };
        assert_eq!(range(between), Ok((21, 23, false)));
        assert_eq!(range(History { after_seq: 20, before_seq: 99, ..mine() }), Ok((21, 30, true)));
        assert_eq!(range(History { around_seq: 50, ..mine() }), Ok((45, 54, true)));
        assert_eq!(range(History { around_seq: 2, ..mine() }), Ok((1, 10, true)));
        assert_eq!(range(History { around_seq: 1_000, ..mine() }), Ok((995, 1_000, false)));
        assert_eq!(range(History { after_time: 50_000, ..mine() }), Ok((50, 59, true)));
        assert_eq!(range(History { before_time: 50_000, ..mine() }), Ok((40, 49, true)));
        let two = History { around_seq: 5, before_time: 9, ..mine() };
        assert_eq!(range(two), Err(ErrorCode::Invalid));
    }

    #[test]
    fn a_member_sees_from_its_join_on_where_the_conversation_says_so() {
        let recent =
            || History { conversation_id: "recent".into(), limit: 10, ..History::default() };
        assert_eq!(range(recent()), Ok((901, 910, true)));
        assert_eq!(range(History { before_seq: 906, ..recent() }), Ok((901, 905, false)));
        assert_eq!(range(History { around_seq: 5, ..recent() }), Ok((901, 910, true)));
        assert_eq!(range(History { before_time: 50_000, ..recent() }), Ok((0, 0, false)));
        assert_eq!(sync(&[("recent", 0)]), Ok(vec![(100, false, false)]));
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
