//! The fields of each record type: a name, a type and the way to the value.
//!
//! Expressions, row-making kinds, tests and taps see records through these. Names are those of the wire
//! where the wire has them. A slot borrows from the record; nothing is copied.

use std::sync::Arc;

use imflow_proto::log::{Cursors, CursorsMoved, Fact, fact};
use imflow_proto::record::{
    Event, FieldType, Grant, GrantChange, GrantSubject, MarkKind, Refused, Rejection, Scalar, Wish,
};
use imflow_proto::wire::{Message, Role, envelope::Body};
use imflow_proto::{Record, RecordType};

/// The way to a field's value.
#[derive(Clone, Copy, Debug)]
pub enum Slot {
    Bool(fn(&Record) -> bool),
    Int(fn(&Record) -> i64),
    String(fn(&Record) -> &str),
    Strings(fn(&Record) -> &[Arc<str>]),
    /// A slot of a [`Row`](imflow_proto::record::Row), of this type.
    Row(usize, FieldType),
}

impl Slot {
    /// The type of the value.
    pub fn field_type(self) -> FieldType {
        match self {
            Self::Bool(_) => FieldType::Bool,
            Self::Int(_) => FieldType::Int,
            Self::String(_) => FieldType::String,
            Self::Strings(_) => FieldType::Strings,
            Self::Row(_, kind) => kind,
        }
    }

    /// The value, for those that show records; expressions read the slots themselves.
    pub fn value(self, record: &Record) -> Scalar {
        match self {
            Self::Bool(field) => Scalar::Bool(field(record)),
            Self::Int(field) => Scalar::Int(field(record)),
            Self::String(field) => Scalar::String(field(record).into()),
            Self::Strings(field) => Scalar::Strings(field(record).into()),
            Self::Row(slot, _) => row_slot(record, slot).clone(),
        }
    }
}

/// A slot of a row.
///
/// # Panics
/// When the record is of another type or schema than its port says: a bug of the compiler.
pub fn row_slot(record: &Record, slot: usize) -> &Scalar {
    match record {
        Record::Row(row) => &row.slots[slot],
        other => panic!("a row was expected and {:?} came", other.record_type()),
    }
}

/// A record as a JSON object of its fields, for files, taps and error reports.
pub fn to_json(record: &Record) -> serde_json::Map<String, serde_json::Value> {
    let json = |value: &Scalar| serde_json::to_value(value).unwrap_or(serde_json::Value::Null);
    if let Record::Row(row) = record {
        let fields = row.schema.fields.iter().zip(&row.slots);
        let mut object: serde_json::Map<_, _> =
            fields.map(|((name, _), value)| (name.to_string(), json(value))).collect();
        if row.retracted {
            object.insert("retracted".to_owned(), true.into());
        }
        return object;
    }
    let fields = fields_of(record.record_type()).iter();
    fields.map(|(name, slot)| ((*name).to_owned(), json(&slot.value(record)))).collect()
}

/// A name and the way to the value.
pub type Field = (&'static str, Slot);

/// A table of fields of the records that match a pattern.
macro_rules! fields {
    ($pattern:pat => $($name:literal: $kind:ident($value:expr)),* $(,)?) => {
        &[$(($name, Slot::$kind(|record| match record {
            $pattern => $value,
            _ => panic!("a field was asked of a record of another type than its port says"),
        }))),*]
    };
}

/// The fields of a record type, in the order in which they are shown. A row's stand in its schema.
pub fn fields_of(record: RecordType) -> &'static [Field] {
    match record {
        RecordType::Submission | RecordType::Lookup | RecordType::Reference => SUBMISSION,
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
        RecordType::Referent => REFERENT,
        RecordType::Delivery => DELIVERY,
        RecordType::Mark => MARK,
        RecordType::Moves => MOVES,
        RecordType::Moved => MOVED,
        RecordType::Nudge => NUDGE,
        RecordType::Typing => TYPING,
        RecordType::Absent => ABSENT,
        RecordType::FanoutStats => FANOUT_STATS,
        RecordType::FanoutCost => FANOUT_COST,
        RecordType::Row | RecordType::Partial => &[],
    }
}

const SUBMISSION: &[Field] = fields!(Record::Submission(it) | Record::Lookup(it) | Record::Reference(it) =>
    "conversationId": String(&it.send.conversation_id),
    "clientMsgId": String(&it.send.client_msg_id),
    "senderId": String(&it.session.user_id),
    "deviceId": String(&it.session.device_id),
    "admin": Bool(it.session.scopes.admin),
    "type": String(it.send.r#type().as_str_name()),
    "text": String(&it.send.text),
    "payloadBytes": Int(it.send.payload.len() as i64),
    "targetSeq": Int(it.action().map_or(0, |action| action.target_seq as i64)),
    "emoji": String(it.action().map_or("", |action| &action.emoji)),
    "replyTo": Int(it.send.reply_to as i64),
    "isForward": Bool(it.send.forward_of.is_some()),
    "mentionCount": Int(it.send.mentions.len() as i64),
    "mentionAll": Bool(it.send.mention_all),
);

/// The fields of what holds a message, and others before them.
macro_rules! message_fields {
    ($pattern:pat => $message:expr, $($name:literal: $kind:ident($value:expr)),*) => {
        fields!($pattern =>
            $($name: $kind($value),)*
            "conversationId": String(&$message.conversation_id),
            "seq": Int($message.seq as i64),
            "serverMsgId": Int($message.server_msg_id),
            "clientMsgId": String(&$message.client_msg_id),
            "senderId": String(&$message.sender_id),
            "type": String($message.r#type().as_str_name()),
            "text": String(&$message.text),
            "payloadBytes": Int($message.payload.len() as i64),
            "createdAt": Int($message.created_at),
            "targetSeq": Int($message.action.as_ref().map_or(0, |action| action.target_seq as i64)),
            "emoji": String($message.action.as_ref().map_or("", |action| &action.emoji)),
            "replyTo": Int($message.reply_to as i64),
            "isForward": Bool($message.forward_of.is_some()),
            "mentionCount": Int($message.mentions.len() as i64),
            "mentionAll": Bool($message.mention_all),
        )
    };
}

const ORDERED: &[Field] = message_fields!(Record::Ordered(it) => it.message,);
const COMMITTED: &[Field] =
    message_fields!(Record::Committed(it) => it.message, "lsn": Int(it.lsn as i64));

const ABSENT: &[Field] =
    message_fields!(Record::Absent(it) => it.entry.message, "userIds": Strings(&it.users));

const REJECTION: &[Field] = fields!(Record::Rejection(it) =>
    "conversationId": String(refused(it).0),
    "userId": String(refused(it).1),
    "code": String(it.error.code().as_str_name()),
    "message": String(&it.error.message),
    "retryable": Bool(it.error.retryable),
);

const REPLY: &[Field] = fields!(Record::Reply(it) =>
    "id": Int(it.ticket.id() as i64),
    "isError": Bool(matches!(it.body, Body::Error(_))),
    "code": String(match &it.body { Body::Error(error) => error.code().as_str_name(), _ => "" }),
);

const COMMAND: &[Field] = fields!(Record::Command(it) =>
    "conversationId": String(&it.conversation_id),
    "userId": String(&it.session.user_id),
    "admin": Bool(it.session.scopes.admin),
    "wish": String(wish(&it.wish)),
);

const CHANGE: &[Field] = fields!(Record::Change(it) =>
    "conversationId": String(&it.fact.conversation_id),
    "by": String(&it.fact.by),
    "at": Int(it.fact.at),
    "change": String(change(&it.fact)),
);

const FACT: &[Field] = fields!(Record::Fact(it) =>
    "lsn": Int(it.lsn as i64),
    "conversationId": String(&it.fact.conversation_id),
    "by": String(&it.fact.by),
    "at": Int(it.fact.at),
    "change": String(change(&it.fact)),
);

const GRANT: &[Field] = fields!(Record::Grant(it) =>
    "conversationId": String(&it.conversation_id),
    "userId": String(match &it.subject { GrantSubject::User { user_id, .. } => user_id, _ => "" }),
    "role": String(grant(it).map_or(Role::Unspecified, |grant| grant.role).as_str_name()),
    "mutedUntil": Int(grant(it).map_or(0, |grant| grant.muted_until)),
    "banned": Bool(grant(it).is_some_and(|grant| grant.banned)),
);

const SESSION_EVENT: &[Field] = fields!(Record::SessionEvent(it) =>
    "userId": String(&it.session.user_id),
    "deviceId": String(&it.session.device_id),
    "session": Int(it.session.number as i64),
    "online": Bool(it.online),
    "at": Int(it.at),
    "eventId": String(&it.id),
    "nodeId": String(&it.node_id),
    "since": Int(it.since),
);

const ONLINE: &[Field] = fields!(Record::Online(it) =>
    "userId": String(&it.user_id),
    "online": Bool(it.online),
    "lastActiveAt": Int(it.last_active_at),
);

const SUBSCRIPTION: &[Field] = fields!(Record::Subscription(it) =>
    "userId": String(&it.session.user_id),
    "users": Int(it.user_ids.len() as i64),
    "conversations": Int(it.conversation_ids.len() as i64),
);

const PRESENCE: &[Field] = fields!(Record::Presence(it) =>
    "userId": String(&it.user_id),
    "online": Bool(it.online),
    "lastActiveAt": Int(it.last_active_at),
    "sessions": Int(it.sessions.len() as i64),
);

const QUERY: &[Field] = fields!(Record::Query(it) =>
    "userId": String(&it.session.user_id),
    "deviceId": String(&it.session.device_id),
);

const FOUND: &[Field] = fields!(Record::Found(it) =>
    "conversationId": String(&it.submission.send.conversation_id),
    "clientMsgId": String(&it.submission.send.client_msg_id),
    "senderId": String(&it.submission.session.user_id),
    "known": Bool(matches!(it.original, Ok(Some(_)))),
);

const REFERENT: &[Field] = fields!(Record::Referent(it) =>
    "conversationId": String(it.submission.refers_to().map_or("", |(conversation, _)| conversation)),
    "seq": Int(it.submission.refers_to().map_or(0, |(_, seq)| seq as i64)),
    "senderId": String(&it.submission.session.user_id),
    "known": Bool(matches!(it.target, Ok(Some(_)))),
);

const DELIVERY: &[Field] = fields!(Record::Delivery(it) =>
    "event": String(event_name(&it.event)),
    "conversationId": String(it.event.conversation_id()),
    "senderId": String(delivered(&it.event).map_or("", |message| &message.sender_id)),
    "type": String(delivered(&it.event).map_or("", |message| message.r#type().as_str_name())),
    "text": String(delivered(&it.event).map_or("", |message| &message.text)),
    "seq": Int(match &it.event {
        Event::Message(entry) => entry.message.seq as i64,
        Event::Status(status) => status.seq as i64,
        Event::Recalled(recalled) => recalled.seq as i64,
        Event::Notify(notify) => notify.up_to_seq as i64,
        Event::ConversationChanged(_) | Event::Receipt(_) | Event::Typing(_) => 0,
    }),
    "recipients": Strings(&it.to),
);

const MARK: &[Field] = fields!(Record::Mark(it) =>
    "conversationId": String(&it.conversation_id),
    "userId": String(&it.session.user_id),
    "deviceId": String(&it.session.device_id),
    "seq": Int(it.seq as i64),
    "read": Bool(it.kind == MarkKind::Read),
);

const MOVES: &[Field] = fields!(Record::Moves(it) =>
    "conversationId": String(&it.conversation_id),
    "members": Int(it.members.len() as i64),
    "userId": String(first_of(it).map_or("", |cursors| &cursors.user_id)),
    "deliveredSeq": Int(first_of(it).map_or(0, |cursors| cursors.delivered() as i64)),
    "readSeq": Int(first_of(it).map_or(0, |cursors| cursors.read as i64)),
);

const MOVED: &[Field] = fields!(Record::Moved(it) =>
    "lsn": Int(it.lsn as i64),
    "conversationId": String(&it.moves.conversation_id),
    "members": Int(it.moves.members.len() as i64),
    "userId": String(first_of(&it.moves).map_or("", |cursors| &cursors.user_id)),
    "deliveredSeq": Int(first_of(&it.moves).map_or(0, |cursors| cursors.delivered() as i64)),
    "readSeq": Int(first_of(&it.moves).map_or(0, |cursors| cursors.read as i64)),
);

const NUDGE: &[Field] = fields!(Record::Nudge(it) =>
    "conversationId": String(&it.notify.conversation_id),
    "userId": String(&it.session.user_id),
    "deviceId": String(&it.session.device_id),
    "session": Int(it.session.number as i64),
    "upToSeq": Int(it.notify.up_to_seq as i64),
);

const FANOUT_STATS: &[Field] = fields!(Record::FanoutStats(it) =>
    "conversationType": String(it.conversation_type.as_str_name()),
    "direct": Bool(it.direct),
    "recipients": Int(i64::from(it.recipients)),
    "bytes": Int(i64::from(it.bytes)),
    "costMs": Int(i64::from(it.cost_ms)),
);

const FANOUT_COST: &[Field] = fields!(Record::FanoutCost(it) =>
    "conversationId": String(&it.conversation_id),
    "recipients": Int(i64::from(it.recipients)),
    "costMs": Int(i64::from(it.cost_ms)),
);

const TYPING: &[Field] = fields!(Record::Typing(it) =>
    "conversationId": String(&it.conversation_id),
    "userId": String(&it.session.user_id),
);

/// Conversation and user of what was refused.
fn refused(rejection: &Rejection) -> (&str, &str) {
    match &rejection.refused {
        Refused::Submission(it) => (&it.send.conversation_id, &it.session.user_id),
        Refused::Command(it) => (&it.conversation_id, &it.session.user_id),
        Refused::Query(it) => (it.ask.conversation_id(), &it.session.user_id),
        Refused::Mark(it) => (&it.conversation_id, &it.session.user_id),
    }
}

fn wish(wish: &Wish) -> &'static str {
    match wish {
        Wish::Create { .. } => "create",
        Wish::ChangeMembers { .. } => "changeMembers",
        Wish::Mute { .. } => "mute",
        Wish::Ban { .. } => "ban",
        Wish::Erase { .. } => "erase",
        Wish::SetLevel { .. } => "setLevel",
        Wish::PinFanout { .. } => "pinFanout",
    }
}

fn change(fact: &Fact) -> &'static str {
    match fact.change {
        Some(fact::Change::Created(_)) => "created",
        Some(fact::Change::Members(_)) => "members",
        Some(fact::Change::Mute(_)) => "mute",
        Some(fact::Change::Ban(_)) => "ban",
        Some(fact::Change::Erased(_)) => "erased",
        Some(fact::Change::Level(_)) => "level",
        Some(fact::Change::Fanout(_)) => "fanout",
        None => "",
    }
}

fn grant(change: &GrantChange) -> Option<Grant> {
    match &change.subject {
        GrantSubject::User { grant, .. } => *grant,
        GrantSubject::Conversation { .. } => None,
    }
}

/// The first of the members whose cursors moved; most often the only one.
fn first_of(moves: &CursorsMoved) -> Option<&Cursors> {
    moves.members.first()
}

fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Message(_) => "message",
        Event::ConversationChanged(_) => "conversationChanged",
        Event::Receipt(_) => "receipt",
        Event::Recalled(_) => "recalled",
        Event::Status(_) => "status",
        Event::Notify(_) => "notify",
        Event::Typing(_) => "typing",
    }
}

fn delivered(event: &Event) -> Option<&Message> {
    match event {
        Event::Message(entry) => Some(&entry.message),
        Event::ConversationChanged(_)
        | Event::Receipt(_)
        | Event::Recalled(_)
        | Event::Status(_)
        | Event::Notify(_)
        | Event::Typing(_) => None,
    }
}
