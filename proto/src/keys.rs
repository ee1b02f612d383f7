//! What a message is looked up by on its path, made once where it enters.
//!
//! Fingerprints for the operators' maps, which live in this process, and hashes that never change for
//! what is stored: the partition, the index of the log, the content.

use crate::content::Content;
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
    /// What the message says; see [`Content::hash`].
    pub content: u64,
    /// The key in the log's index, in halves: a `u128` would align all that holds keys to 16 bytes,
    /// which allocators are slow at.
    index: [u64; 2],
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
    /// The keys of what `sender` sends, or does with this action; `id` is what its clientMsgId reads as.
    pub fn of_send(
        sender: &str,
        send: &wire::Send,
        action: Option<&wire::Action>,
        id: Option<ClientMsgId<'_>>,
    ) -> Self {
        let content = Content {
            kind: send.r#type,
            text: &send.text,
            payload: &send.payload,
            reply_to: send.reply_to,
            forward_of: send.forward_of.as_deref(),
            mentions: &send.mentions,
            mention_all: send.mention_all,
            action,
            erased: false,
        };
        Self::read(&send.conversation_id, sender, &send.client_msg_id, id, content.hash())
    }

    /// The same keys, from what was stored.
    pub fn of_message(message: &wire::Message) -> Self {
        let content = Content::of(message).hash();
        let ids = (&message.conversation_id, &message.sender_id, &message.client_msg_id);
        Self::new(ids.0, ids.1, ids.2, content)
    }

    /// The keys of a message with this [`Content::hash`].
    pub fn new(conversation: &str, sender: &str, client_msg_id: &str, content: u64) -> Self {
        let id = ClientMsgId::parse(client_msg_id);
        Self::read(conversation, sender, client_msg_id, id, content)
    }

    fn read(
        conversation: &str,
        sender: &str,
        client_msg_id: &str,
        id: Option<ClientMsgId<'_>>,
        content: u64,
    ) -> Self {
        let of_conversation = Fingerprint::of(conversation);
        let member = of_conversation.then(Fingerprint::of(sender));
        // Nothing lies above the last counter, so it could not be told from a repeat.
        let standard = id.filter(|id| id.local_seq < u64::MAX);
        let count = standard.map(|id| Count {
            device: member.then(Fingerprint::of(id.sender)),
            local_seq: id.local_seq,
        });
        let index = id::index_key(conversation, sender, client_msg_id);
        Self {
            conversation: of_conversation,
            member,
            message: member.then(Fingerprint::of(client_msg_id)),
            count,
            index: [(index >> 64) as u64, index as u64],
            content,
            place: id::place_of(conversation),
        }
    }

    /// The key in the log's index; see [`id::index_key`].
    #[inline]
    pub fn index(&self) -> u128 {
        let [high, low] = self.index;
        u128::from(high) << 64 | u128::from(low)
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
        let of_send = |send: &wire::Send| {
            Keys::of_send("alice", send, None, ClientMsgId::parse(&send.client_msg_id))
        };
        let keys = of_send(&send);
        assert_eq!(keys, Keys::of_message(&message));
        assert_eq!(keys.count.map(|count| count.local_seq), Some(7));
        assert_eq!(keys.partition(64), id::partition_of("c1", 64));
        let other = of_send(&wire::Send { client_msg_id: "free".into(), ..send });
        assert_eq!((keys.member, None), (other.member, other.count));
        assert_ne!((keys.message, keys.index()), (other.message, other.index()));
    }
}
