//! What several record types hold: sessions, messages, wishes, facts.

use std::sync::Arc;

use imflow_proto::Record;
use imflow_proto::keys::Keys;
use imflow_proto::log::{self, Cursors, CursorsMoved, DeviceCursor, Fact, fact};
use imflow_proto::record::{
    Absent, Band, Command, Delivery, Entry, Event, FanoutCost, FanoutStats, FieldType, Grant,
    GrantChange, GrantSubject, Mark, MarkKind, Referent, Refused, Rejection, Reply, Row, Scalar,
    Schema, Scopes, Session, Submission, Target, Typing, Wish,
};
use imflow_proto::wire::{
    Action, ConversationType, Done, Error, ErrorCode, FanoutMode, MemberInfo, Message, MessageType,
    Role, Send, envelope::Body,
};

use super::fields::Fields;
use super::{Making, ticket};

impl Fields<'_> {
    pub(super) fn session(&mut self, user: &str) -> Arc<Session> {
        let user_id = self.string(user, "alice").into();
        let device_id = self.string("deviceId", "phone").into();
        let admin = self.bool("admin", false);
        let number = self.int("session", 1) as u64;
        let scopes = Scopes { send: true, read: true, create: true, admin };
        Arc::new(Session { number, user_id, device_id, scopes })
    }

    pub(super) fn submission(&mut self) -> Arc<Submission> {
        let session = self.session("senderId");
        let send = Send {
            conversation_id: self.string("conversationId", "lobby"),
            client_msg_id: self.client_msg_id(&session),
            r#type: self.message_type().into(),
            text: self.string("text", "hi"),
            reply_to: self.int("replyTo", 0) as u64,
            mention_all: self.bool("mentionAll", false),
            ..Send::default()
        };
        Arc::new(match self.action() {
            None => Submission::new(ticket(0), session, send),
            Some(action) => Submission::acting(ticket(0), session, send, action),
        })
    }

    /// An action, of records with a `targetSeq`.
    fn action(&mut self) -> Option<Action> {
        let (target_seq, emoji) = (self.int("targetSeq", 0) as u64, self.string("emoji", ""));
        let is_action = target_seq != 0 || !emoji.is_empty();
        is_action.then(|| Action { target_seq, emoji, ..Action::default() })
    }

    /// The message that a reply refers to; unless `known` is false, it is there.
    pub(super) fn referent(&mut self) -> Referent {
        let known = self.bool("known", true);
        let session = self.session("senderId");
        let send = Send {
            conversation_id: self.string("conversationId", "lobby"),
            client_msg_id: format!("{}-{}-1-1", session.user_id, session.device_id),
            reply_to: self.int("seq", 1) as u64,
            ..Send::default()
        };
        let message = Message {
            conversation_id: send.conversation_id.clone(),
            seq: send.reply_to,
            sender_id: "alice".to_owned(),
            r#type: MessageType::Text.into(),
            text: "hi".to_owned(),
            ..Message::default()
        };
        let target = known.then(|| Target { message: Arc::new(message), reactions: 0 });
        let submission = Arc::new(Submission::new(ticket(0), session, send));
        Referent { submission, target: Ok(target) }
    }

    pub(super) fn message(&mut self) -> Message {
        let session = self.session("senderId");
        Message {
            conversation_id: self.string("conversationId", "lobby"),
            seq: self.int("seq", self.making.number as i64) as u64,
            server_msg_id: self.int("serverMsgId", self.making.number as i64),
            client_msg_id: self.client_msg_id(&session),
            sender_id: session.user_id.to_string(),
            r#type: self.message_type().into(),
            text: self.string("text", "hi"),
            created_at: self.now("createdAt"),
            reply_to: self.int("replyTo", 0) as u64,
            mention_all: self.bool("mentionAll", false),
            action: self.action().map(Box::new),
            ..Message::default()
        }
    }

    pub(super) fn client_msg_id(&mut self, session: &Session) -> String {
        let Making { now_ms, number } = self.making;
        let made = format!("{}-{}-{number}-{now_ms}", session.user_id, session.device_id);
        self.string("clientMsgId", &made)
    }

    pub(super) fn message_type(&mut self) -> MessageType {
        self.name("type", MessageType::Text.as_str_name(), MessageType::from_str_name)
            .unwrap_or_default()
    }

    pub(super) fn rejection(&mut self) -> Rejection {
        let session = self.session("userId");
        let code = self.name("code", ErrorCode::Invalid.as_str_name(), ErrorCode::from_str_name);
        let sentence = self.string("message", "refused");
        let mut error = Error::of(code.unwrap_or_default(), sentence);
        error.retryable = self.bool("retryable", error.retryable);
        let conversation_id = self.string("conversationId", "lobby");
        let send = Send { conversation_id, ..Send::default() };
        let refused = Refused::Submission(Arc::new(Submission::new(ticket(0), session, send)));
        Rejection { refused, error }
    }

    pub(super) fn reply(&mut self) -> Reply {
        let code = self.name("code", "", |name| match name {
            "" => Some(None),
            name => ErrorCode::from_str_name(name).map(Some),
        });
        let body = match code.flatten() {
            Some(code) => Body::Error(Error::of(code, "refused")),
            None => Body::Done(Done {}),
        };
        Reply { ticket: ticket(self.int("id", 1) as u64), body }
    }

    /// A wish of each sort, about the first field that its sort needs.
    pub(super) fn command(&mut self) -> Command {
        let session = self.session("userId");
        let member =
            |user: &str| MemberInfo { user_id: user.to_owned(), role: Role::Member.into() };
        let wish = self.name("wish", "create", |name| {
            Some(match name {
                "create" => Wish::Create {
                    kind: ConversationType::Group,
                    name: String::new(),
                    members: vec![member(&session.user_id)],
                    history_since_join: false,
                },
                "changeMembers" => {
                    Wish::ChangeMembers { set: vec![member("bob")], remove: Vec::new() }
                }
                "mute" => Wish::Mute { user_id: "bob".to_owned(), until: i64::MAX },
                "ban" => Wish::Ban { user_id: "bob".to_owned(), banned: true },
                "erase" => Wish::Erase { user_id: None },
                "setLevel" => {
                    Wish::SetLevel { user_id: "bob".to_owned(), level: "gold".to_owned() }
                }
                "pinFanout" => Wish::PinFanout { mode: FanoutMode::Notify },
                _ => return None,
            })
        });
        let wish = wish.unwrap_or(Wish::Ban { user_id: String::new(), banned: false });
        let conversation_id = self.string("conversationId", "lobby");
        Command { ticket: ticket(0), session, conversation_id, wish }
    }

    pub(super) fn fact(&mut self) -> Fact {
        let bob = || MemberInfo { user_id: "bob".to_owned(), role: Role::Member.into() };
        let change = self.name("change", "created", |name| {
            Some(match name {
                "created" => fact::Change::Created(log::ConversationCreated {
                    r#type: ConversationType::Group.into(),
                    name: String::new(),
                    members: vec![bob()],
                    ..Default::default()
                }),
                "members" => fact::Change::Members(log::MembersChanged {
                    set: vec![bob()],
                    removed: Vec::new(),
                }),
                "mute" => fact::Change::Mute(log::MuteChanged {
                    user_id: "bob".to_owned(),
                    until: i64::MAX,
                }),
                "ban" => {
                    fact::Change::Ban(log::BanChanged { user_id: "bob".to_owned(), banned: true })
                }
                "erased" => fact::Change::Erased(log::Erased { user_id: String::new() }),
                "level" => fact::Change::Level(log::LevelChanged {
                    user_id: "bob".to_owned(),
                    level: "gold".to_owned(),
                }),
                "fanout" => {
                    fact::Change::Fanout(log::FanoutChanged { mode: FanoutMode::Notify.into() })
                }
                _ => return None,
            })
        });
        Fact {
            conversation_id: self.string("conversationId", "lobby"),
            at: self.now("at"),
            by: self.string("by", ""),
            change,
        }
    }

    pub(super) fn grant(&mut self) -> GrantChange {
        let conversation_id = self.string("conversationId", "lobby").into();
        let user_id = self.string("userId", "alice");
        let role = self.name("role", Role::Member.as_str_name(), Role::from_str_name);
        let muted_until = self.int("mutedUntil", 0);
        let banned = self.bool("banned", false);
        let role = role.unwrap_or_default();
        let subject = if user_id.is_empty() {
            GrantSubject::Conversation { kind: ConversationType::Group }
        } else {
            // As it reads: without a role, a mute and a ban there is no standing.
            let none = role == Role::Unspecified && muted_until == 0 && !banned;
            let grant = (!none).then_some(Grant { role, muted_until, banned });
            GrantSubject::User { user_id: user_id.into(), grant }
        };
        GrantChange { conversation_id, subject }
    }

    pub(super) fn delivery(&mut self) -> Delivery {
        let to = self.strings("recipients", &["bob"]).into_iter().map(Arc::from).collect();
        let event = Event::Message(Arc::new(self.entry()));
        Delivery { event, to, except: 0, band: Band::P1 }
    }

    /// A message in its conversation, without a ticket and without a place in the log.
    pub(super) fn entry(&mut self) -> Entry {
        let (session, message) = (Some(self.session("senderId")), self.message());
        let keys = Keys::of_message(&message);
        Entry { lsn: 0, ticket: None, session, message, keys }
    }

    pub(super) fn mark(&mut self) -> Mark {
        let kind = match self.bool("read", false) {
            true => MarkKind::Read,
            false => MarkKind::Delivered,
        };
        Mark {
            ticket: ticket(0),
            session: self.session("userId"),
            conversation_id: self.string("conversationId", "lobby"),
            seq: self.int("seq", 1).max(0) as u64,
            last_seq: 0,
            kind,
        }
    }

    /// Of one member, who uses one device.
    pub(super) fn moves(&mut self) -> CursorsMoved {
        let (read, delivered) = (self.int("readSeq", 1), self.int("deliveredSeq", 1));
        let device = DeviceCursor { device_id: "phone".into(), delivered: delivered.max(0) as u64 };
        let cursors = Cursors {
            user_id: self.string("userId", "alice"),
            read: read.max(0) as u64,
            devices: vec![device],
        };
        CursorsMoved {
            conversation_id: self.string("conversationId", "lobby"),
            members: vec![cursors],
        }
    }

    pub(super) fn fanout_stats(&mut self) -> FanoutStats {
        let kind = self.name(
            "conversationType",
            ConversationType::Group.as_str_name(),
            ConversationType::from_str_name,
        );
        FanoutStats {
            conversation_type: kind.unwrap_or_default(),
            direct: self.bool("direct", true),
            recipients: self.int("recipients", 1) as u32,
            bytes: self.int("bytes", 100) as u32,
            cost_ms: self.int("costMs", 0) as u32,
        }
    }

    pub(super) fn fanout_cost(&mut self) -> FanoutCost {
        FanoutCost {
            conversation_id: self.string("conversationId", "lobby").into(),
            recipients: self.int("recipients", 1) as u32,
            cost_ms: self.int("costMs", 0) as u32,
        }
    }

    pub(super) fn absent(&mut self) -> Absent {
        let users = self.strings("userIds", &["bob"]).into_iter().map(Arc::from).collect();
        Absent { entry: Arc::new(self.entry()), users }
    }

    pub(super) fn typing(&mut self) -> Typing {
        let session = self.session("userId");
        let conversation_id = self.string("conversationId", "lobby");
        Typing { session, conversation_id, credit: None }
    }

    pub(super) fn row(&mut self, schema: &Arc<Schema>) -> Record {
        let slots = schema.fields.iter().map(|(name, kind)| {
            let default = match kind {
                FieldType::Bool => Scalar::Bool(false),
                FieldType::Int => Scalar::Int(0),
                FieldType::Double => Scalar::Double(0.0),
                FieldType::String => Scalar::String("".into()),
                FieldType::Strings => Scalar::Strings(Arc::from([])),
            };
            self.take(name, *kind).unwrap_or(default)
        });
        let slots = slots.collect();
        Record::Row(Arc::new(Row { schema: Arc::clone(schema), slots, retracted: false }))
    }
}
