//! Ids: which shapes are valid, how a clientMsgId is read, how a serverMsgId is made.

use std::sync::atomic::{AtomicI64, Ordering};

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// Longest id of a user or a device, in bytes.
pub const MAX_ID_BYTES: usize = 64;
/// Longest clientMsgId, in bytes.
pub const MAX_CLIENT_MSG_ID_BYTES: usize = 64;

/// Whether `id` can name a user or a device: 1 to 64 bytes, no control characters, no white space, no
/// `/`.
pub fn is_valid(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    let good = |c: char| !(c.is_control() || c.is_whitespace() || c == '/');
    !id.is_empty() && id.len() <= MAX_ID_BYTES && (id.bytes().all(plain) || id.chars().all(good))
}

/// Whether `id` can name a conversation: a name of its own, or two users' joined by `:`.
pub fn is_valid_conversation(id: &str) -> bool {
    id.split_once(':')
        .map_or_else(|| is_valid(id), |(first, second)| is_valid(first) && is_valid(second))
}

/// The id of the one-to-one conversation of two users: the same from both sides.
pub fn one_to_one(a: &str, b: &str) -> String {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    format!("{first}:{second}")
}

/// A clientMsgId in the standard form `{userId}-{deviceId}-{localSeq}-{timestamp ms}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientMsgId<'a> {
    /// `{userId}-{deviceId}`.
    pub sender: &'a str,
    pub local_seq: u64,
    pub timestamp_ms: u64,
}

impl<'a> ClientMsgId<'a> {
    /// Reads the last two fields from the right, so that user and device ids may hold a `-`.
    pub fn parse(id: &'a str) -> Option<Self> {
        let (rest, timestamp_ms) = split_number(id)?;
        let (sender, local_seq) = split_number(rest)?;
        (!sender.is_empty()).then_some(Self { sender, local_seq, timestamp_ms })
    }

    /// Whether the id names this user and device.
    pub fn is_of(&self, user_id: &str, device_id: &str) -> bool {
        self.sender
            .strip_prefix(user_id)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|device| device == device_id)
    }
}

/// What stands before the last `-`, and the number after it.
fn split_number(id: &str) -> Option<(&str, u64)> {
    let digits = id.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (rest, digits) = id.split_at(id.len() - digits);
    Some((rest.strip_suffix('-')?, digits.parse().ok()?))
}

/// Makes serverMsgIds: 41 bits of milliseconds since 2024, 8 bits of node, 14 bits of counter.
///
/// Ids increase on a node across all of its workers. When one millisecond's counter is used up the
/// next millisecond is borrowed, so that a burst never waits and a clock that steps back is harmless.
#[derive(Debug)]
pub struct ServerMsgIds {
    node: i64,
    /// Milliseconds and counter of the last id, without the node.
    last: AtomicI64,
}

const COUNTER_BITS: u32 = 14;
const NODE_BITS: u32 = 8;
/// 2024-01-01T00:00:00Z.
const EPOCH_MS: i64 = 1_704_067_200_000;

impl ServerMsgIds {
    /// A generator for node number `node` (only its low 8 bits count).
    pub fn new(node: u8) -> Self {
        Self { node: i64::from(node), last: AtomicI64::new(0) }
    }

    /// The next id at `now_ms` (milliseconds since the Unix epoch).
    pub fn next(&self, now_ms: i64) -> i64 {
        let floor = (now_ms - EPOCH_MS).max(0) << COUNTER_BITS;
        let step = |last: i64| Some(floor.max(last + 1));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        self.compose(floor.max(last.unwrap_or_else(|last| last) + 1))
    }

    /// Never gives `id` or a smaller one again; called for each recovered message.
    pub fn observe(&self, id: i64) {
        let counter = id & ((1 << COUNTER_BITS) - 1);
        let ms = id >> (COUNTER_BITS + NODE_BITS);
        let position = ms << COUNTER_BITS | counter;
        // Ids of this process were counted when they were made.
        if self.last.load(Ordering::Acquire) < position {
            self.last.fetch_max(position, Ordering::AcqRel);
        }
    }

    /// The last id that was given or observed; 0 when there is none.
    pub fn last(&self) -> i64 {
        match self.last.load(Ordering::Acquire) {
            0 => 0,
            position => self.compose(position),
        }
    }

    fn compose(&self, position: i64) -> i64 {
        let counter = position & ((1 << COUNTER_BITS) - 1);
        (position >> COUNTER_BITS) << (COUNTER_BITS + NODE_BITS)
            | self.node << COUNTER_BITS
            | counter
    }
}

/// The smallest serverMsgId that can be made at a time: all smaller ones are of earlier times.
pub fn first_server_msg_id_at(ms: i64) -> i64 {
    (ms - EPOCH_MS).max(0) << (COUNTER_BITS + NODE_BITS)
}

/// The partition of a key: the same function for messages, facts and every restart, so it is
/// pinned in the data directory.
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    partition_at(place_of(key), partitions)
}

/// What [`partition_of`] is made from, for [`partition_at`].
pub(crate) fn place_of(key: &str) -> u64 {
    rapidhash::v3::rapidhash_v3(key.as_bytes())
}

/// The partition of the key with this [`place_of`].
#[inline]
pub(crate) fn partition_at(place: u64, partitions: u32) -> u32 {
    (place % u64::from(partitions.max(1))) as u32
}

const INDEX_LOW: RapidSecrets = RapidSecrets::seed(0x696d_666c_6f77_0001);
const INDEX_HIGH: RapidSecrets = RapidSecrets::seed(0x696d_666c_6f77_0002);

/// The key of a clientMsgId in the log's index, kept on disk: 128 bits of (conversation, sender, id).
///
/// Whoever finds a message by it compares the fields, so that a collision can hide nothing and invent
/// nothing but a miss of the older message.
pub fn index_key(conversation_id: &str, sender_id: &str, client_msg_id: &str) -> u128 {
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
    u128::from(rapidhash_v3_seeded(joined, &INDEX_HIGH)) << 64
        | u128::from(rapidhash_v3_seeded(joined, &INDEX_LOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_fields_are_read_from_the_right() {
        let id = ClientMsgId::parse("u-1-dev-2-789-1612345678000").expect("standard form");
        assert_eq!(
            (id.sender, id.local_seq, id.timestamp_ms),
            ("u-1-dev-2", 789, 1_612_345_678_000)
        );
        assert!(id.is_of("u-1", "dev-2") && id.is_of("u", "1-dev-2") && !id.is_of("u-1", "dev"));
        assert_eq!(ClientMsgId::parse("10086-ios12345-+1-5"), None);
        assert_eq!(ClientMsgId::parse("free form"), None);
    }

    #[test]
    fn the_parts_of_an_index_key_are_kept_apart() {
        assert_ne!(index_key("a", "b", "c"), index_key("a", "bc", ""));
        assert_eq!(index_key("c1", "alice", "x"), index_key("c1", "alice", "x"));
    }

    #[test]
    fn server_ids_increase_when_the_clock_steps_back() {
        let ids = ServerMsgIds::new(3);
        let first = ids.next(1_800_000_000_000);
        let second = ids.next(1_700_000_000_000);
        assert!(second > first && first > 0);
        let restarted = ServerMsgIds::new(3);
        restarted.observe(second);
        assert!(restarted.next(0) > second);
    }
}
