//! The key of a clientMsgId: 128 bits of (conversation, sender, id).
//!
//! Whoever finds a message by it compares the fields, so that a collision can hide nothing and invent
//! nothing but a miss of the older message.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

const LOW: RapidSecrets = RapidSecrets::seed(0x696d_666c_6f77_0001);
const HIGH: RapidSecrets = RapidSecrets::seed(0x696d_666c_6f77_0002);

pub(crate) fn hash(conversation_id: &str, sender_id: &str, client_msg_id: &str) -> u128 {
    let parts =
        [conversation_id.as_bytes(), b"\0", sender_id.as_bytes(), b"\0", client_msg_id.as_bytes()];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Three ids of at most 64 bytes fit the stack.
    let mut stack = [0; 256];
    let mut heap = Vec::new();
    let joined = if length <= stack.len() {
        &mut stack[..length]
    } else {
        heap.resize(length, 0);
        &mut heap[..]
    };
    let mut at = 0;
    for part in parts {
        joined[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    u128::from(rapidhash_v3_seeded(joined, &HIGH)) << 64
        | u128::from(rapidhash_v3_seeded(joined, &LOW))
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn the_key_is_pinned_as_it_is_kept_on_disk() {
        assert_ne!(hash("a", "b", "c"), hash("a", "bc", ""));
        assert_eq!(hash("c1", "alice", "alice-phone-1-1"), hash("c1", "alice", "alice-phone-1-1"));
    }
}
