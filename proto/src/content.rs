//! What a message says, as a number: it tells a repeat from a conflict.
//!
//! The hash of a plain message never changes, as snapshots keep it. What the service itself fills in (what
//! a forward copies, who wrote a target) is no part of it, so that what was stored has the hash of what
//! was sent.

use rapidhash::v3::rapidhash_v3;

use crate::wire;

/// What a message says.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    pub(crate) kind: i32,
    pub(crate) text: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) reply_to: u64,
    pub(crate) forward_of: Option<&'a wire::Origin>,
    pub(crate) mentions: &'a [String],
    pub(crate) mention_all: bool,
    pub(crate) action: Option<&'a wire::Action>,
    pub(crate) erased: bool,
}

impl<'a> Content<'a> {
    /// The hash of what was erased: nobody can tell any more what it said.
    pub const ERASED: u64 = 0;

    /// What a stored message says.
    pub fn of(message: &'a wire::Message) -> Self {
        Self {
            kind: message.r#type,
            text: &message.text,
            payload: &message.payload,
            reply_to: message.reply_to,
            forward_of: message.forward_of.as_deref(),
            mentions: &message.mentions,
            mention_all: message.mention_all,
            action: message.action.as_deref(),
            erased: message.is_erased(),
        }
    }

    /// The hash.
    pub fn hash(&self) -> u64 {
        if self.erased {
            return Self::ERASED;
        }
        let plain = match self.forward_of {
            None => plain(self.kind, self.text, self.payload),
            Some(origin) => with(rapidhash_v3(origin.conversation_id.as_bytes()), origin.seq),
        };
        let is_plain = self.reply_to == 0
            && self.mentions.is_empty()
            && !self.mention_all
            && self.action.is_none();
        if is_plain { plain } else { self.extended(plain) }
    }

    fn extended(&self, plain: u64) -> u64 {
        let mut hash = with(plain, self.reply_to);
        for user in self.mentions {
            hash = with(hash, rapidhash_v3(user.as_bytes()));
        }
        hash = with(hash, u64::from(self.mention_all));
        if let Some(action) = self.action {
            hash = with(hash, action.target_seq);
            hash = with(hash, rapidhash_v3(action.emoji.as_bytes()));
            hash = with(hash, u64::from(action.remove));
        }
        hash
    }
}

fn plain(kind: i32, text: &str, payload: &[u8]) -> u64 {
    let seed = rapidhash_v3(text.as_bytes()) ^ (kind as u64).rotate_left(32);
    if payload.is_empty() { seed } else { seed.rotate_left(17) ^ rapidhash_v3(payload) }
}

/// The hash of what `hash` is of, followed by a number.
fn with(hash: u64, next: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
    bytes[8..].copy_from_slice(&next.to_le_bytes());
    rapidhash_v3(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn the_hash_of_a_plain_message_is_the_one_that_snapshots_hold() {
        let mut message = wire::Message { r#type: 1, text: "hi".into(), ..Default::default() };
        let first_release = rapidhash_v3(b"hi") ^ (1 << 32);
        assert_eq!(Content::of(&message).hash(), first_release);
        message.payload = b"ref".as_slice().into();
        let with_payload = first_release.rotate_left(17) ^ rapidhash_v3(b"ref");
        assert_eq!(Content::of(&message).hash(), with_payload);
    }

    #[test]
    fn each_part_of_what_is_said_counts_and_what_the_service_fills_in_does_not() {
        let action = |target_seq, emoji: &str, remove| wire::Action {
            target_seq,
            emoji: emoji.into(),
            remove,
            ..Default::default()
        };
        let message = |change: &dyn Fn(&mut wire::Message)| {
            let mut message = wire::Message { text: "hi".into(), ..Default::default() };
            change(&mut message);
            Content::of(&message).hash()
        };
        let origin = |seq| wire::Origin { conversation_id: "c".into(), seq, ..Default::default() };
        let hashes = [
            message(&|_| ()),
            message(&|m| m.reply_to = 1),
            message(&|m| m.mention_all = true),
            message(&|m| m.mentions = vec!["a".into()]),
            message(&|m| m.mentions = vec!["a".into(), "b".into()]),
            message(&|m| m.forward_of = Some(origin(1).into())),
            message(&|m| m.forward_of = Some(origin(2).into())),
            message(&|m| m.action = Some(action(1, "", false).into())),
            message(&|m| m.action = Some(action(1, "x", false).into())),
            message(&|m| m.action = Some(action(1, "x", true).into())),
        ];
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{at} says what an earlier one says");
        }
        let sent = wire::Send { forward_of: Some(origin(1).into()), ..Default::default() };
        let copied = wire::Message {
            sender_id: "a".into(),
            text: "copied".into(),
            forward_of: Some(wire::Origin { sender_id: "b".into(), ..origin(1) }.into()),
            ..Default::default()
        };
        assert_eq!(
            Keys::of_send("a", &sent, None, None).content,
            Keys::of_message(&copied).content
        );
    }
}
