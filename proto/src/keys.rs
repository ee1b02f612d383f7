//! What a message is looked up by on its path, made once where it enters.
//!
//! Fingerprints for the operators' maps, which live in this process, and hashes that never change for
//! what is stored: the partition, the index of the log, the content.

use crate::fingerprint::Fingerprint;
use crate::id::{self, ClientMsgId};
use crate::wire;

/// The keys of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The conversation.
    pub conversation: Fingerprint,
    /// The sender in the conversation.
    pub member: Fingerprint,
    /// The clientMsgId of the sender in the conversation.
    pub message: Fingerprint,
    /// Where an id in the standard form counts.
    pub count: Option<Count>,
    /// The key in the log's index.
    pub index: u128,
    /// What the message says; see [`id::content_hash`].
    pub content: u64,
    /// The conversation's place among the partitions, whatever their number.
    place: u64,
}

/// The counter of a clientMsgId in the standard form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The device of the sender in the conversation.
    pub device: Fingerprint,
    pub local_seq: u64,
}

impl Keys {
    /// The keys of the message that `sender` sends.
    pub fn of_send(sender: &str, send: &wire::Send) -> Self {
        let content = id::content_hash(send.r#type, &send.text, &send.payload);
        Self::new(&send.conversation_id, sender, &send.client_msg_id, content)
    }

    /// The same keys, from what was stored.
    pub fn of_message(message: &wire::Message) -> Self {
        let content = id::content_hash(message.r#type, &message.text, &message.payload);
        let ids = (&message.conversation_id, &message.sender_id, &message.client_msg_id);
        Self::new(ids.0, ids.1, ids.2, content)
    }

    /// The keys of a message with this [`id::content_hash`].
    pub fn new(conversation: &str, sender: &str, client_msg_id: &str, content: u64) -> Self {
        let of_conversation = Fingerprint::of(conversation);
        let member = of_conversation.then(Fingerprint::of(sender));
        // Nothing lies above the last counter, so it could not be told from a repeat.
        let standard = ClientMsgId::parse(client_msg_id).filter(|id| id.local_seq < u64::MAX);
        let count = standard.map(|id| Count {
            device: member.then(Fingerprint::of(id.sender)),
            local_seq: id.local_seq,
        });
        Self {
            conversation: of_conversation,
            member,
            message: member.then(Fingerprint::of(client_msg_id)),
            count,
            index: id::index_key(conversation, sender, client_msg_id),
            content,
            place: id::place_of(conversation),
        }
    }

    /// The partition of the conversation.
    #[inline]
    pub fn partition(&self, partitions: u32) -> u32 {
        id::partition_at(self.place, partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_has_the_keys_of_what_was_sent() {
        let send = wire::Send {
            conversation_id: "c1".into(),
            client_msg_id: "alice-phone-7-1".into(),
            text: "hi".into(),
            ..Default::default()
        };
        let message = wire::Message {
            conversation_id: "c1".into(),
            sender_id: "alice".into(),
            client_msg_id: "alice-phone-7-1".into(),
            text: "hi".into(),
            seq: 9,
            ..Default::default()
        };
        let keys = Keys::of_send("alice", &send);
        assert_eq!(keys, Keys::of_message(&message));
        assert_eq!(keys.count.map(|count| count.local_seq), Some(7));
        assert_eq!(keys.partition(64), id::partition_of("c1", 64));
        let other = Keys::of_send("alice", &wire::Send { client_msg_id: "free".into(), ..send });
        assert_eq!((keys.member, None), (other.member, other.count));
        assert_ne!((keys.message, keys.index), (other.message, other.index));
    }
}
