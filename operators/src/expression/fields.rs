//! The fields that expressions see: for each record type a name, a type and the way to the value.
//!
//! Names are those of the wire where the wire has them. A slot borrows from the record; nothing is copied.

use std::sync::Arc;

use imflow_proto::log::{Fact, fact};
use imflow_proto::record::{Event, Grant, GrantChange, GrantSubject, Refused, Rejection, Wish};
use imflow_proto::wire::{Message, Role, envelope::Body};
use imflow_proto::{Record, RecordType};

/// The way to a field's value.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    Bool(fn(&Record) -> bool),
    Int(fn(&Record) -> i64),
    Text(fn(&Record) -> &str),
    Texts(fn(&Record) -> &[Arc<str>]),
}

type Field = (&'static str, Slot);

/// A table of fields of the records that match a pattern.
macro_rules! fields {
    ($pattern:pat => $($name:literal: $kind:ident($value:expr)),* $(,)?) => {
        &[$(($name, Slot::$kind(|record| match record {
            $pattern => $value,
            _ => panic!("a predicate met a record of another type than it was compiled for"),
        }))),*]
    };
}

pub(super) fn of(record: RecordType) -> &'static [Field] {
    match record {
        RecordType::Submission | RecordType::Lookup => SUBMISSION,
        RecordType::Ordered => ORDERED,
        RecordType::Committed => COMMITTED,
        RecordType::Rejection => REJECTION,
        RecordType::Reply => REPLY,
        RecordType::Command => COMMAND,
        RecordType::Change => CHANGE,
        RecordType::Fact => FACT,
        RecordType::Grant => GRANT,
        RecordType::SessionEvent => SESSION_EVENT,
        RecordType::Online => ONLINE,
        RecordType::Subscription => SUBSCRIPTION,
        RecordType::Presence => PRESENCE,
        RecordType::Query => QUERY,
        RecordType::Found => FOUND,
        RecordType::Delivery => DELIVERY,
        RecordType::FanoutStats => FANOUT_STATS,
    }
}

const SUBMISSION: &[Field] = fields!(Record::Submission(it) | Record::Lookup(it) =>
    "conversationId": Text(&it.send.conversation_id),
    "clientMsgId": Text(&it.send.client_msg_id),
    "senderId": Text(&it.session.user_id),
    "deviceId": Text(&it.session.device_id),
    "admin": Bool(it.session.scopes.admin),
    "type": Text(it.send.r#type().as_str_name()),
    "text": Text(&it.send.text),
    "payloadBytes": Int(it.send.payload.len() as i64),
);

/// The fields of what holds a message, and others before them.
macro_rules! message_fields {
    ($pattern:pat => $message:expr, $($name:literal: $kind:ident($value:expr)),*) => {
        fields!($pattern =>
            $($name: $kind($value),)*
            "conversationId": Text(&$message.conversation_id),
            "seq": Int($message.seq as i64),
            "serverMsgId": Int($message.server_msg_id),
            "clientMsgId": Text(&$message.client_msg_id),
            "senderId": Text(&$message.sender_id),
            "type": Text($message.r#type().as_str_name()),
            "text": Text(&$message.text),
            "payloadBytes": Int($message.payload.len() as i64),
            "createdAt": Int($message.created_at),
        )
    };
}

const ORDERED: &[Field] = message_fields!(Record::Ordered(it) => it.message,);
const COMMITTED: &[Field] =
    message_fields!(Record::Committed(it) => it.message, "lsn": Int(it.lsn as i64));

const REJECTION: &[Field] = fields!(Record::Rejection(it) =>
    "conversationId": Text(refused(it).0),
    "userId": Text(refused(it).1),
    "code": Text(it.error.code().as_str_name()),
    "message": Text(&it.error.message),
    "retryable": Bool(it.error.retryable),
);

const REPLY: &[Field] = fields!(Record::Reply(it) =>
    "id": Int(it.ticket.id() as i64),
    "isError": Bool(matches!(it.body, Body::Error(_))),
    "code": Text(match &it.body { Body::Error(error) => error.code().as_str_name(), _ => "" }),
);

const COMMAND: &[Field] = fields!(Record::Command(it) =>
    "conversationId": Text(&it.conversation_id),
    "userId": Text(&it.session.user_id),
    "admin": Bool(it.session.scopes.admin),
    "wish": Text(wish(&it.wish)),
);

const CHANGE: &[Field] = fields!(Record::Change(it) =>
    "conversationId": Text(&it.fact.conversation_id),
    "by": Text(&it.fact.by),
    "at": Int(it.fact.at),
    "change": Text(change(&it.fact)),
);

const FACT: &[Field] = fields!(Record::Fact(it) =>
    "lsn": Int(it.lsn as i64),
    "conversationId": Text(&it.fact.conversation_id),
    "by": Text(&it.fact.by),
    "at": Int(it.fact.at),
    "change": Text(change(&it.fact)),
);

const GRANT: &[Field] = fields!(Record::Grant(it) =>
    "conversationId": Text(&it.conversation_id),
    "userId": Text(match &it.subject { GrantSubject::User { user_id, .. } => user_id, _ => "" }),
    "role": Text(grant(it).map_or(Role::Unspecified, |grant| grant.role).as_str_name()),
    "mutedUntil": Int(grant(it).map_or(0, |grant| grant.muted_until)),
    "banned": Bool(grant(it).is_some_and(|grant| grant.banned)),
);

const SESSION_EVENT: &[Field] = fields!(Record::SessionEvent(it) =>
    "userId": Text(&it.session.user_id),
    "deviceId": Text(&it.session.device_id),
    "session": Int(it.session.number as i64),
    "online": Bool(it.online),
    "at": Int(it.at),
);

const ONLINE: &[Field] = fields!(Record::Online(it) =>
    "userId": Text(&it.user_id),
    "online": Bool(it.online),
);

const SUBSCRIPTION: &[Field] = fields!(Record::Subscription(it) =>
    "userId": Text(&it.session.user_id),
    "users": Int(it.user_ids.len() as i64),
);

const PRESENCE: &[Field] = fields!(Record::Presence(it) =>
    "userId": Text(&it.user_id),
    "online": Bool(it.online),
    "sessions": Int(it.sessions.len() as i64),
);

const QUERY: &[Field] = fields!(Record::Query(it) =>
    "userId": Text(&it.session.user_id),
    "deviceId": Text(&it.session.device_id),
);

const FOUND: &[Field] = fields!(Record::Found(it) =>
    "conversationId": Text(&it.submission.send.conversation_id),
    "clientMsgId": Text(&it.submission.send.client_msg_id),
    "senderId": Text(&it.submission.session.user_id),
    "known": Bool(it.original.is_some()),
);

const DELIVERY: &[Field] = fields!(Record::Delivery(it) =>
    "event": Text(match it.event { Event::Message(_) => "message", Event::ConversationChanged(_) => "conversationChanged" }),
    "conversationId": Text(match &it.event {
        Event::Message(message) => &message.conversation_id,
        Event::ConversationChanged(notice) => &notice.conversation_id,
    }),
    "senderId": Text(delivered(&it.event).map_or("", |message| &message.sender_id)),
    "type": Text(delivered(&it.event).map_or("", |message| message.r#type().as_str_name())),
    "text": Text(delivered(&it.event).map_or("", |message| &message.text)),
    "seq": Int(delivered(&it.event).map_or(0, |message| message.seq as i64)),
    "recipients": Texts(&it.to),
);

const FANOUT_STATS: &[Field] = fields!(Record::FanoutStats(it) =>
    "conversationType": Text(it.conversation_type.as_str_name()),
    "recipients": Int(i64::from(it.recipients)),
    "bytes": Int(i64::from(it.bytes)),
);

/// Conversation and user of what was refused.
fn refused(rejection: &Rejection) -> (&str, &str) {
    match &rejection.refused {
        Refused::Submission(it) => (&it.send.conversation_id, &it.session.user_id),
        Refused::Command(it) => (&it.conversation_id, &it.session.user_id),
    }
}

fn wish(wish: &Wish) -> &'static str {
    match wish {
        Wish::Create { .. } => "create",
        Wish::ChangeMembers { .. } => "changeMembers",
        Wish::Mute { .. } => "mute",
        Wish::Ban { .. } => "ban",
    }
}

fn change(fact: &Fact) -> &'static str {
    match fact.change {
        Some(fact::Change::Created(_)) => "created",
        Some(fact::Change::Members(_)) => "members",
        Some(fact::Change::Mute(_)) => "mute",
        Some(fact::Change::Ban(_)) => "ban",
        None => "",
    }
}

fn grant(change: &GrantChange) -> Option<Grant> {
    match &change.subject {
        GrantSubject::User { grant, .. } => *grant,
        GrantSubject::Conversation { .. } => None,
    }
}

fn delivered(event: &Event) -> Option<&Message> {
    match event {
        Event::Message(message) => Some(message),
        Event::ConversationChanged(_) => None,
    }
}
