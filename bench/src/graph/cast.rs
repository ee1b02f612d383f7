//! Who takes part in the graph's load, and what they send.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use imflow_proto::record::{Command, Scopes, Session, SessionEvent, Wish};
use imflow_proto::wire::{self, ConversationType, MessageType, Role};
use imflow_proto::{Record, Ticket};

use crate::names::{self, MessageId};
use crate::text::{self, Text};

const TEXT_BYTES: usize = 256;
/// Each user is in so many conversations.
const CONVERSATIONS_PER_USER: u32 = 5;

#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) conversations: u32,
    pub(super) members: u32,
}

/// Users with one session each.
pub(super) struct Cast {
    pub(super) size: Size,
    sessions: Vec<Arc<Session>>,
    /// The last local seq of each user.
    locals: Vec<u32>,
    texts: Vec<Text>,
    base_ms: u64,
    sent: u64,
}

/// A message that waits for its turn: who sends it, and what.
pub(super) type Made = (Arc<Session>, wire::Send);

impl Cast {
    pub(super) fn new(size: Size) -> Self {
        let users =
            (size.conversations * size.members).div_ceil(CONVERSATIONS_PER_USER).max(size.members);
        let scopes = Scopes { send: true, read: true, create: true, admin: false };
        let session = |user: u32| Session {
            number: u64::from(user) + 1,
            user_id: names::user(user).into(),
            device_id: names::device(user).into(),
            scopes,
        };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            size,
            sessions: (0..users).map(|user| Arc::new(session(user))).collect(),
            locals: vec![0; users as usize],
            texts: text::plain(TEXT_BYTES),
            base_ms: since_epoch.map_or(0, |d| d.as_millis() as u64),
            sent: 0,
        }
    }

    /// Everybody comes online.
    pub(super) fn arrivals(&self) -> Vec<Record> {
        let at = self.base_ms as i64;
        let node_id: Arc<str> = "node-1".into();
        let arrival = |session: &Arc<Session>| {
            SessionEvent::began(Arc::clone(session), Arc::clone(&node_id), at)
        };
        self.sessions
            .iter()
            .map(|session| Record::SessionEvent(Arc::new(arrival(session))))
            .collect()
    }

    /// The command that creates a conversation.
    pub(super) fn creation(&self, conversation: u32, ticket: Ticket) -> Record {
        let member = |place| wire::MemberInfo {
            user_id: self.sessions[self.user(conversation, place)].user_id.to_string(),
            role: Role::Member.into(),
        };
        let members = (0..self.size.members).map(member).collect();
        let admin = Scopes { admin: true, ..Scopes::default() };
        let session = Session {
            number: 0,
            user_id: "admin".into(),
            device_id: "bench".into(),
            scopes: admin,
        };
        Record::Command(Arc::new(Command {
            ticket,
            session: Arc::new(session),
            conversation_id: names::conversation(conversation),
            wish: Wish::Create {
                kind: ConversationType::Group,
                name: String::new(),
                members,
                history_since_join: false,
            },
        }))
    }

    fn user(&self, conversation: u32, place: u32) -> usize {
        (conversation as usize * self.size.members as usize + place as usize) % self.sessions.len()
    }

    /// The next message: round the conversations, and in each round the members.
    pub(super) fn make(&mut self) -> Made {
        let conversations = u64::from(self.size.conversations);
        let conversation = (self.sent % conversations) as u32;
        let place = (self.sent / conversations % u64::from(self.size.members)) as u32;
        let user = self.user(conversation, place);
        self.sent += 1;
        self.locals[user] += 1;
        let mut client_msg_id = String::with_capacity(48);
        let id = MessageId { session: user as u32, local: self.locals[user] };
        names::write_client_msg_id(&mut client_msg_id, user as u32, id, self.base_ms);
        let send = wire::Send {
            conversation_id: names::conversation(conversation),
            client_msg_id,
            r#type: MessageType::Text.into(),
            text: self.texts[self.sent as usize % self.texts.len()].text.clone(),
            ..Default::default()
        };
        (Arc::clone(&self.sessions[user]), send)
    }

    /// The sum of all seqs. Messages go round the conversations, so their numbers differ by at most one.
    pub(super) fn expected_seqs(&self) -> u64 {
        let (each, more) = (
            self.sent / u64::from(self.size.conversations),
            self.sent % u64::from(self.size.conversations),
        );
        let sum = |messages: u64| messages * (messages + 1) / 2;
        more * sum(each + 1) + (u64::from(self.size.conversations) - more) * sum(each)
    }

    /// Every member but the sender gets a message.
    pub(super) fn expected_recipients(&self) -> u64 {
        self.sent * u64::from(self.size.members - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_for_each_device_and_members_differ() {
        let mut cast = Cast::new(Size { conversations: 7, members: 10 });
        let mut last = std::collections::HashMap::new();
        for _ in 0..500 {
            let (session, send) = cast.make();
            let (_, id) =
                names::read_client_msg_id(&send.client_msg_id).expect("the standard form");
            assert!(last.insert(session.number, id.local).unwrap_or(0) < id.local);
        }
        for conversation in 0..7 {
            let members: std::collections::HashSet<_> =
                (0..10).map(|place| cast.user(conversation, place)).collect();
            assert_eq!(members.len(), 10);
        }
        // 500 messages in 7 conversations: three of them have 72, four have 71.
        assert_eq!(cast.expected_seqs(), 3 * (72 * 73 / 2) + 4 * (71 * 72 / 2));
    }
}
