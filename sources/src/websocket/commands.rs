//! What a client's envelope asks for, as the record that goes into the dataflow.
//!
//! Only what needs no state is checked here: the session's scopes, and the shape of what has no
//! `validate` on its way. Whether a command is allowed is decided in the dataflow.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use imflow_proto::record::{
    Ask, Command, Mark, MarkKind, Query, Scopes, Session, Submission, Subscription, Wish,
};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{
    Action, ChangeMembers, ConversationType, CreateConversation, Cursor, Envelope, Error,
    ErrorCode, MemberInfo, Pong, PresenceSubscribe, Role, Send, Sync,
};
use imflow_proto::{Record, Ticket, id};

use crate::actions;
use crate::checks::{
    check_after, check_conversation, check_group_id, check_name, check_search, check_user, invalid,
};

/// Most users and conversations that a subscription to presence names.
const MAX_SUBSCRIBED: usize = 10_000;
/// Most conversations in one sync.
const MAX_CURSORS: usize = 200;

/// Output ports of the kind `websocket`, as in its description.
pub(super) mod port {
    pub(crate) const MESSAGES: usize = 0;
    pub(crate) const COMMANDS: usize = 1;
    pub(crate) const SESSIONS: usize = 2;
    pub(crate) const SUBSCRIPTIONS: usize = 3;
    pub(crate) const QUERIES: usize = 4;
    pub(crate) const MARKS: usize = 5;
    pub(crate) const TYPING: usize = 6;
    pub(crate) const COSTS: usize = 7;
}

/// A command that is fit for the dataflow.
#[derive(Debug, PartialEq)]
pub(super) enum Intent {
    /// A message, or an action on an earlier one.
    Send(Send, Option<Action>),
    Command {
        conversation_id: String,
        wish: Wish,
    },
    Ask(Ask),
    Mark(Cursor, MarkKind),
    Subscribe(PresenceSubscribe),
}

/// What to do about an envelope.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Enters the dataflow, which answers it.
    Enter(Intent),
    /// The caller types in this conversation: enters the dataflow, and is answered at once.
    Tell(String),
    /// Is answered at once.
    Answer(Body),
}

/// The conversation that a command names, where it names one.
pub(super) fn conversation_of(envelope: &Envelope) -> Option<&str> {
    let id = match envelope.body.as_ref()? {
        Body::Send(send) => &send.conversation_id,
        Body::Revoke(revoke) => &revoke.conversation_id,
        Body::Edit(edit) => &edit.conversation_id,
        Body::React(react) => &react.conversation_id,
        Body::History(history) => &history.conversation_id,
        Body::Read(cursor) | Body::Delivered(cursor) => &cursor.conversation_id,
        Body::Typing(typing) => &typing.conversation_id,
        _ => return None,
    };
    Some(id)
}

/// Reads an envelope of `session`.
pub(super) fn read(session: &Session, envelope: Envelope) -> Step {
    let id = envelope.id;
    match intent(session, envelope.body) {
        Ok(Step::Enter(_)) if id == 0 => Step::Answer(Body::Error(invalid(
            "a command needs an `id` above 0, which its reply carries",
        ))),
        Ok(step) => step,
        Err(error) => Step::Answer(Body::Error(error)),
    }
}

fn intent(session: &Session, body: Option<Body>) -> Result<Step, Error> {
    let scopes = session.scopes;
    let intent = match body {
        Some(Body::Ping(_)) => return Ok(Step::Answer(Body::Pong(Pong {}))),
        Some(Body::Send(send)) => {
            require(scopes.send, "send")?;
            Intent::Send(unpinned(send), None)
        }
        Some(Body::Revoke(revoke)) => act(scopes.send, actions::revoke(revoke))?,
        Some(Body::Edit(edit)) => act(scopes.send, actions::edit(edit))?,
        Some(Body::React(react)) => act(scopes.send, actions::react(react))?,
        Some(Body::CreateConversation(create)) => {
            require(scopes.create, "create")?;
            create_conversation(session, create)?
        }
        Some(Body::ChangeMembers(change)) => {
            require(scopes.create, "create")?;
            change_members(change)?
        }
        Some(Body::Conversations(list)) => {
            require(scopes.read, "read")?;
            check_after(&list.after)?;
            Intent::Ask(Ask::Conversations(list))
        }
        Some(Body::History(history)) => {
            require(scopes.read, "read")?;
            check_conversation(&history.conversation_id)?;
            Intent::Ask(Ask::History(history))
        }
        Some(Body::Sync(sync)) => {
            require(scopes.read, "read")?;
            check_cursors(&sync)?;
            Intent::Ask(Ask::Sync(sync))
        }
        Some(Body::Resume(resume)) => {
            require(scopes.read, "read")?;
            check_after(&resume.after)?;
            Intent::Ask(Ask::Resume(resume))
        }
        Some(Body::Timeline(timeline)) => {
            require(scopes.read, "read")?;
            Intent::Ask(Ask::Timeline(timeline))
        }
        Some(Body::Search(search)) => {
            require(scopes.read, "read")?;
            check_search(&search)?;
            Intent::Ask(Ask::Search(search))
        }
        Some(Body::Cursors(list)) => {
            require(scopes.read, "read")?;
            check_conversation(&list.conversation_id)?;
            Intent::Ask(Ask::Cursors(list))
        }
        Some(Body::Typing(typing)) => {
            require(scopes.send, "send")?;
            check_conversation(&typing.conversation_id)?;
            return Ok(Step::Tell(typing.conversation_id));
        }
        Some(Body::Read(cursor)) => mark(scopes, cursor, MarkKind::Read)?,
        Some(Body::Delivered(cursor)) => mark(scopes, cursor, MarkKind::Delivered)?,
        Some(Body::PresenceSubscribe(subscribe)) => {
            require(scopes.read, "read")?;
            let named = subscribe.user_ids.len() + subscribe.conversation_ids.len();
            if named > MAX_SUBSCRIBED {
                return Err(invalid(format!(
                    "a session names at most {MAX_SUBSCRIBED} users and conversations that it follows"
                )));
            }
            subscribe.user_ids.iter().try_for_each(|user| check_user(user))?;
            subscribe.conversation_ids.iter().try_for_each(|id| check_conversation(id))?;
            Intent::Subscribe(subscribe)
        }
        Some(_) => return Err(invalid("this body is sent by the server only")),
        None => {
            return Err(invalid("the envelope has no command, expected one like `send` or `ping`"));
        }
    };
    Ok(Step::Enter(intent))
}

impl Intent {
    pub(super) fn port(&self) -> usize {
        match self {
            Self::Send(..) => port::MESSAGES,
            Self::Command { .. } => port::COMMANDS,
            Self::Subscribe(_) => port::SUBSCRIPTIONS,
            Self::Ask(_) => port::QUERIES,
            Self::Mark(..) => port::MARKS,
        }
    }

    /// What decides the worker whose credit the command takes.
    pub(super) fn key<'a>(&'a self, session: &'a Session) -> &'a str {
        match self {
            Self::Send(send, _) => &send.conversation_id,
            Self::Command { conversation_id, .. } => conversation_id,
            Self::Ask(Ask::History(history)) => &history.conversation_id,
            Self::Mark(cursor, _) => &cursor.conversation_id,
            Self::Ask(_) | Self::Subscribe(_) => &session.user_id,
        }
    }

    pub(super) fn into_record(self, ticket: Ticket, session: Arc<Session>) -> Record {
        match self {
            Self::Send(send, action) => Record::Submission(Arc::new(match action {
                None => Submission::new(ticket, session, send),
                Some(action) => Submission::acting(ticket, session, send, action),
            })),
            Self::Command { conversation_id, wish } => {
                Record::Command(Arc::new(Command { ticket, session, conversation_id, wish }))
            }
            Self::Ask(ask) => Record::Query(Arc::new(Query { ticket, session, ask })),
            Self::Mark(Cursor { conversation_id, seq }, kind) => Record::Mark(Arc::new(Mark {
                ticket,
                session,
                conversation_id,
                seq,
                last_seq: 0,
                kind,
            })),
            Self::Subscribe(PresenceSubscribe { user_ids, conversation_ids }) => {
                let ticket = Some(ticket);
                let follows = Subscription { ticket, session, user_ids, conversation_ids };
                Record::Subscription(Arc::new(follows))
            }
        }
    }
}

/// Marking is for those who read.
fn mark(scopes: Scopes, cursor: Cursor, kind: MarkKind) -> Result<Intent, Error> {
    require(scopes.read, "read")?;
    check_conversation(&cursor.conversation_id)?;
    Ok(Intent::Mark(cursor, kind))
}

fn act(may_send: bool, (send, action): (Send, Action)) -> Result<Intent, Error> {
    require(may_send, "send")?;
    Ok(Intent::Send(send, Some(action)))
}

/// A payload is a slice of the read buffer; a copy lets the buffer go.
fn unpinned(mut send: Send) -> Send {
    if !send.payload.is_empty() {
        send.payload = Bytes::copy_from_slice(&send.payload);
    }
    send
}

fn create_conversation(session: &Session, create: CreateConversation) -> Result<Intent, Error> {
    let me = &*session.user_id;
    create.members.iter().try_for_each(|member| check_user(member))?;
    let others: BTreeSet<&str> =
        create.members.iter().map(String::as_str).filter(|member| *member != me).collect();
    let kind = create.r#type();
    let (conversation_id, my_role) = match kind {
        ConversationType::OneToOne => {
            (one_to_one(me, &others, &create.conversation_id)?, Role::Member)
        }
        ConversationType::Group => (group_id(create.conversation_id)?, Role::Owner),
        ConversationType::Unspecified => {
            return Err(invalid("`type` is missing, expected ONE_TO_ONE or GROUP"));
        }
    };
    check_name(&create.name)?;
    let member =
        |user: &str, role: Role| MemberInfo { user_id: user.to_owned(), role: role.into() };
    let mut members = vec![member(me, my_role)];
    members.extend(others.into_iter().map(|user| member(user, Role::Member)));
    let history_since_join = create.history_since_join;
    if history_since_join && kind == ConversationType::OneToOne {
        return Err(invalid("`historySinceJoin` is for groups: nobody joins a one-to-one later"));
    }
    let wish = Wish::Create { kind, name: create.name, members, history_since_join };
    Ok(Intent::Command { conversation_id, wish })
}

fn one_to_one(me: &str, others: &BTreeSet<&str>, given: &str) -> Result<String, Error> {
    let mut others = others.iter();
    let (Some(other), None) = (others.next(), others.next()) else {
        return Err(invalid("a one-to-one conversation has exactly one other member"));
    };
    let conversation_id = id::one_to_one(me, other);
    if !given.is_empty() && given != conversation_id {
        return Err(invalid(
            "leave `conversationId` empty: the id of a one-to-one conversation follows from its members",
        ));
    }
    Ok(conversation_id)
}

fn group_id(given: String) -> Result<String, Error> {
    if given.is_empty() {
        return Ok(format!("g{:016x}", rand::random::<u64>()));
    }
    check_group_id(&given)?;
    Ok(given)
}

fn change_members(change: ChangeMembers) -> Result<Intent, Error> {
    let ChangeMembers { conversation_id, mut add, remove } = change;
    check_conversation(&conversation_id)?;
    if add.is_empty() && remove.is_empty() {
        return Err(invalid("nobody to add or to remove: fill `add` or `remove`"));
    }
    remove.iter().try_for_each(|user| check_user(user))?;
    for member in &mut add {
        check_user(&member.user_id)?;
        if member.role() == Role::Unspecified {
            member.set_role(Role::Member);
        }
    }
    Ok(Intent::Command { conversation_id, wish: Wish::ChangeMembers { set: add, remove } })
}

fn require(granted: bool, scope: &str) -> Result<(), Error> {
    if granted {
        return Ok(());
    }
    let sentence = format!("the token lacks the scope `{scope}`; connect with a token that has it");
    Err(Error::of(ErrorCode::Forbidden, sentence))
}

fn check_cursors(sync: &Sync) -> Result<(), Error> {
    if sync.cursors.len() > MAX_CURSORS {
        return Err(invalid(format!(
            "a sync takes at most {MAX_CURSORS} cursors; send the others in another one"
        )));
    }
    sync.cursors.iter().try_for_each(|cursor| check_conversation(&cursor.conversation_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::session;
    use imflow_proto::wire::{Ack, History, Ping};

    fn code(step: &Step) -> Option<ErrorCode> {
        match step {
            Step::Answer(Body::Error(error)) => Some(error.code()),
            _ => None,
        }
    }

    fn ask(session: &Session, body: Body) -> Step {
        read(session, Envelope { id: 1, body: Some(body) })
    }

    #[test]
    fn a_scope_that_is_missing_is_named() {
        let mut alice = session("alice", "phone", 1);
        alice.scopes = Scopes { send: true, ..Scopes::default() };
        let step = ask(&alice, Body::History(History::default()));
        assert!(
            matches!(&step, Step::Answer(Body::Error(error)) if error.message.contains("`read`")),
            "{step:?}"
        );
        assert_eq!(code(&step), Some(ErrorCode::Forbidden));
    }

    #[test]
    fn both_sides_create_the_same_one_to_one() {
        let create = |me: &str, other: &str| {
            let create = CreateConversation {
                r#type: ConversationType::OneToOne.into(),
                members: vec![other.to_owned()],
                ..Default::default()
            };
            match ask(&session(me, "d", 1), Body::CreateConversation(create)) {
                Step::Enter(Intent::Command {
                    conversation_id,
                    wish: Wish::Create { members, .. },
                }) => {
                    assert_eq!(members.len(), 2);
                    conversation_id
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(create("alice", "bob"), create("bob", "alice"));
    }

    #[test]
    fn a_group_cannot_take_the_id_of_a_one_to_one() {
        let create = CreateConversation {
            conversation_id: "alice:bob".into(),
            r#type: ConversationType::Group.into(),
            ..Default::default()
        };
        let step = ask(&session("mallory", "d", 1), Body::CreateConversation(create));
        assert_eq!(code(&step), Some(ErrorCode::Invalid));
    }

    #[test]
    fn a_creator_owns_its_group_once() {
        let create = CreateConversation {
            r#type: ConversationType::Group.into(),
            members: vec!["bob".into(), "alice".into(), "bob".into()],
            ..Default::default()
        };
        let step = ask(&session("alice", "d", 1), Body::CreateConversation(create));
        let Step::Enter(Intent::Command { conversation_id, wish: Wish::Create { members, .. } }) =
            step
        else {
            panic!("a command")
        };
        assert!(id::is_valid(&conversation_id));
        let members: Vec<_> = members.iter().map(|m| (m.user_id.as_str(), m.role())).collect();
        assert_eq!(members, [("alice", Role::Owner), ("bob", Role::Member)]);
    }

    #[test]
    fn what_no_client_may_send_is_invalid() {
        let alice = session("alice", "phone", 1);
        assert_eq!(code(&ask(&alice, Body::Ack(Ack::default()))), Some(ErrorCode::Invalid));
        assert_eq!(code(&read(&alice, Envelope { id: 1, body: None })), Some(ErrorCode::Invalid));
        assert_eq!(
            code(&read(&alice, Envelope { id: 0, body: Some(Body::Send(Send::default())) })),
            Some(ErrorCode::Invalid)
        );
        assert_eq!(
            read(&alice, Envelope { id: 0, body: Some(Body::Ping(Ping {})) }),
            Step::Answer(Body::Pong(Pong {}))
        );
    }
}
