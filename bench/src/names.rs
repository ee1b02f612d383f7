//! How the driver names things, so that a message that comes back tells who sent it as its how many-th.
//!
//! A device is named after its session's number, a user after the user's number.

use std::fmt::Write as _;

use imflow_proto::id::ClientMsgId;

/// Which message of which session: the driver's own identity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageId {
    pub(crate) session: u32,
    pub(crate) local: u32,
}

pub(crate) fn user(number: u32) -> String {
    format!("u{number}")
}

pub(crate) fn device(session: u32) -> String {
    format!("d{session}")
}

pub(crate) fn conversation(number: u32) -> String {
    format!("g{number}")
}

/// A user of a herd, which is no session's.
pub(crate) fn herd_user(number: u32) -> String {
    format!("h{number}")
}

/// The number in a name that starts with `prefix`.
pub(crate) fn number(prefix: char, name: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.parse().ok()
}

/// Writes the clientMsgId in the standard form. It depends on the message only, so that a message that
/// is sent again carries the same one.
pub(crate) fn write_client_msg_id(into: &mut String, user: u32, id: MessageId, base_ms: u64) {
    into.clear();
    let MessageId { session, local } = id;
    write!(into, "u{user}-d{session}-{local}-{base_ms}").expect("a String takes all");
}

/// Reads a clientMsgId back: the user and the message.
pub(crate) fn read_client_msg_id(text: &str) -> Option<(u32, MessageId)> {
    let id = ClientMsgId::parse(text)?;
    let (user, device) = id.sender.split_once('-')?;
    let message =
        MessageId { session: number('d', device)?, local: u32::try_from(id.local_seq).ok()? };
    Some((number('u', user)?, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_message() {
        let (mut text, id) = (String::from("old"), MessageId { session: 17, local: 345 });
        write_client_msg_id(&mut text, 3, id, 1_732_440_000_000);
        assert_eq!(text, "u3-d17-345-1732440000000");
        assert_eq!(read_client_msg_id(&text), Some((3, id)));
        assert_eq!(read_client_msg_id("alice-phone-1-2"), None);
    }
}
