//! Records for the tests of this crate.

use std::sync::Arc;

use imflow_kind::testing::Answers;
use imflow_kind::{Options, Shape, Value};
use imflow_proto::Record;
use imflow_proto::log::{Fact, fact};
use imflow_proto::record::{
    Command, Committed, CommittedFact, Grant, GrantChange, GrantSubject, Mark, MarkKind, Scalar,
    Scopes, Session, Submission, Wish,
};
use imflow_proto::wire::{self, ConversationType, MemberInfo, MessageType, Role};

/// Somebody who sends, and remembers the answers.
pub(crate) struct Sender {
    pub(crate) session: Arc<Session>,
    pub(crate) answers: Arc<Answers>,
}

impl Sender {
    pub(crate) fn new(user: &str, device: &str) -> Self {
        let scopes = Scopes { send: true, read: true, create: true, admin: false };
        Self::with(user, device, scopes)
    }

    pub(crate) fn admin() -> Self {
        Self::with("", "", Scopes { send: true, read: true, create: true, admin: true })
    }

    fn with(user: &str, device: &str, scopes: Scopes) -> Self {
        let session = Session { number: 7, user_id: user.into(), device_id: device.into(), scopes };
        Self { session: Arc::new(session), answers: Arc::default() }
    }

    pub(crate) fn submission(&self, conversation: &str, id: &str, text: &str) -> Submission {
        let send = wire::Send {
            conversation_id: conversation.into(),
            client_msg_id: id.into(),
            r#type: MessageType::Text.into(),
            text: text.into(),
            ..Default::default()
        };
        Submission::new(self.answers.ticket(1), Arc::clone(&self.session), send)
    }

    pub(crate) fn send(&self, conversation: &str, id: &str, text: &str) -> Record {
        Record::Submission(Arc::new(self.submission(conversation, id, text)))
    }

    pub(crate) fn mark(&self, conversation: &str, kind: MarkKind, seq: u64) -> Record {
        Record::Mark(Arc::new(Mark {
            ticket: self.answers.ticket(1),
            session: Arc::clone(&self.session),
            conversation_id: conversation.into(),
            seq,
            last_seq: seq,
            kind,
        }))
    }

    pub(crate) fn command(&self, conversation: &str, wish: Wish) -> Record {
        Record::Command(Arc::new(Command {
            ticket: self.answers.ticket(1),
            session: Arc::clone(&self.session),
            conversation_id: conversation.into(),
            wish,
        }))
    }
}

/// The error of a rejection or reply.
pub(crate) fn error_of(record: &Record) -> wire::Error {
    match record {
        Record::Rejection(rejection) => rejection.error.clone(),
        Record::Reply(reply) => match &reply.body {
            wire::envelope::Body::Error(error) => error.clone(),
            body => panic!("not an error: {body:?}"),
        },
        record => panic!("not a refusal: {record:?}"),
    }
}

/// A durable message.
pub(crate) fn committed(
    conversation: &str,
    sender: &str,
    id: &str,
    text: &str,
    seq: u64,
) -> Arc<Committed> {
    let message = wire::Message {
        conversation_id: conversation.into(),
        seq,
        server_msg_id: 1000 + seq as i64,
        client_msg_id: id.into(),
        sender_id: sender.into(),
        r#type: MessageType::Text.into(),
        text: text.into(),
        created_at: 1_000_000,
        ..Default::default()
    };
    Arc::new(Committed::recovered(seq, message))
}

pub(crate) fn member(user: &str, role: Role) -> MemberInfo {
    MemberInfo { user_id: user.into(), role: role.into() }
}

/// A durable fact.
pub(crate) fn fact(conversation: &str, change: fact::Change) -> Record {
    let fact = Fact {
        conversation_id: conversation.into(),
        at: 1,
        by: String::new(),
        change: Some(change),
    };
    Record::Fact(Arc::new(CommittedFact { lsn: 1, fact: Arc::new(fact) }))
}

/// The grants of a conversation that has just been created.
pub(crate) fn conversation(
    id: &str,
    kind: ConversationType,
    members: &[(&str, Role)],
) -> Vec<Record> {
    let subject = GrantSubject::Conversation { kind };
    let row = Record::Grant(Arc::new(GrantChange { conversation_id: id.into(), subject }));
    let rows = members.iter().map(|(user, role)| {
        grant(id, user, Some(Grant { role: *role, muted_until: 0, banned: false }))
    });
    std::iter::once(row).chain(rows).collect()
}

pub(crate) fn grant(conversation: &str, user: &str, grant: Option<Grant>) -> Record {
    let subject = GrantSubject::User { user_id: user.into(), grant };
    Record::Grant(Arc::new(GrantChange { conversation_id: conversation.into(), subject }))
}

/// Numbers for property tests: the same from the same seed, which a failure prints.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// The value of a field.
pub(crate) fn field(record: &Record, name: &str) -> Scalar {
    let shape = match record {
        Record::Row(row) => Shape::Row(Arc::clone(&row.schema)),
        other => Shape::Native(other.record_type()),
    };
    shape.field(name).unwrap_or_else(|| panic!("{record:?} has no `{name}`")).value(record)
}

/// The text of a field.
pub(crate) fn text_of(record: &Record, name: &str) -> String {
    match field(record, name) {
        Scalar::String(text) => text.to_string(),
        other => panic!("`{name}` is no text but {other:?}"),
    }
}

/// Options from names and values.
pub(crate) fn options<const N: usize>(values: [(&'static str, Value); N]) -> Options {
    let mut options = Options::default();
    for (name, value) in values {
        options.set(name, value);
    }
    options
}

/// A table of texts.
pub(crate) fn entries<const N: usize>(entries: [(&str, &str); N]) -> Value {
    Value::Entries(entries.map(|(key, text)| (key.to_owned(), text.to_owned())).into())
}

/// A list of texts.
pub(crate) fn texts<const N: usize>(texts: [&str; N]) -> Value {
    Value::Texts(texts.map(str::to_owned).into())
}
