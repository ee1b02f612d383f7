//! The key of a message: `{conversation}/{sender}/{clientMsgId}`, built in one reused buffer.
//!
//! Ids of conversations and users hold no `/`, so different messages have different keys; a look-up
//! compares whole texts, so no collision of hashes can turn a new message into a repeat. Two prefixes
//! of the key are keys too: the queue's `{conversation}/{sender}` and, for an id in the standard form,
//! the mark's `{conversation}/{sender}/{userId}-{deviceId}`.

use imflow_proto::id::{ClientMsgId, partition_of};

#[derive(Default)]
pub(super) struct Key {
    text: String,
    conversation_end: usize,
    sender_end: usize,
}

impl Key {
    pub(super) fn set(&mut self, conversation: &str, sender: &str, client_msg_id: &str) {
        self.text.clear();
        self.text.push_str(conversation);
        self.conversation_end = self.text.len();
        self.text.push('/');
        self.text.push_str(sender);
        self.sender_end = self.text.len();
        self.text.push('/');
        self.text.push_str(client_msg_id);
    }

    pub(super) fn message(&self) -> &str {
        &self.text
    }

    /// What is kept in order: a sender in a conversation.
    pub(super) fn queue(&self) -> &str {
        &self.text[..self.sender_end]
    }

    /// The key of the device's mark and the id's counter, for an id in the standard form.
    pub(super) fn mark(&self) -> Option<(&str, u64)> {
        let start = self.sender_end + 1;
        // Nothing lies above the last counter, so a mark could not tell it from a repeat.
        let id = ClientMsgId::parse(&self.text[start..]).filter(|id| id.local_seq < u64::MAX)?;
        Some((&self.text[..start + id.sender.len()], id.local_seq))
    }

    pub(super) fn partition(&self, partitions: u32) -> u32 {
        partition_of(&self.text[..self.conversation_end], partitions)
    }
}
