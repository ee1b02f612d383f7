//! What a stored message is.

use crate::wire::{Message, MessageType};

impl Message {
    /// Whether it is an entry that acts on an earlier message. It has a seq as messages have, and is none:
    /// nobody counts it as unread.
    pub fn is_action(&self) -> bool {
        self.action.is_some()
    }

    /// Whether it was revoked, as far as whoever read it from a store has said so.
    pub fn is_revoked(&self) -> bool {
        self.amended.as_ref().is_some_and(|amended| amended.revoked_at != 0)
    }

    /// Whether it acts on one of these messages of its conversation.
    pub fn acts_on(&self, targets: &[u64]) -> bool {
        self.action.as_ref().is_some_and(|action| targets.contains(&action.target_seq))
    }

    /// Whether its content was erased.
    pub fn is_erased(&self) -> bool {
        self.amended.as_ref().is_some_and(|amended| amended.erased)
    }
}

impl MessageType {
    /// The types of entries that act on an earlier message.
    pub const ACTIONS: [Self; 3] = [Self::Revoke, Self::Edit, Self::React];
}
