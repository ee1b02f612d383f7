//! The protobuf form of the wire, by hand and in place: only the fields that the driver needs.
//!
//! Field numbers are those of `envelope.proto`; the tests hold them against the schema's own types.

use std::borrow::Cow;

use super::event::{Command, Event, Message};
use crate::failure::Failure;

/// Reads one length-delimited envelope; gives it and what follows.
pub(super) fn read(bytes: &[u8]) -> Result<(Event<'_>, &[u8]), Failure> {
    let mut fields = Fields(bytes);
    let envelope = fields.bytes().ok_or_else(broken)?;
    Ok((read_envelope(envelope).ok_or_else(broken)?, fields.0))
}

fn broken() -> Failure {
    Failure::new("the server sent a frame that is not length-delimited protobuf envelopes")
}

fn read_envelope(bytes: &[u8]) -> Option<Event<'_>> {
    let (mut id, mut tag, mut body) = (0, 0, &[][..]);
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(number)) => id = number,
            (number, Value::Bytes(bytes)) => (tag, body) = (number, bytes),
            _ => {}
        }
    }
    match tag {
        31 => read_ack(id, body),
        32 => read_error(id, body),
        33 => read_push(body),
        34 => read_page(id, body),
        40 => {
            Some(Event::Goodbye { reason: find(body, 2)?.text().unwrap_or_default().into_owned() })
        }
        _ => Some(Event::Other),
    }
}

fn read_ack<'a>(id: u64, bytes: &[u8]) -> Option<Event<'a>> {
    let (mut server_msg_id, mut seq) = (0, 0);
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(number)) => server_msg_id = number as i64,
            (2, Value::Number(number)) => seq = number,
            _ => {}
        }
    }
    Some(Event::Ack { id, server_msg_id, seq })
}

fn read_error<'a>(id: u64, bytes: &[u8]) -> Option<Event<'a>> {
    let code = i32::try_from(find(bytes, 1)?.number()).ok()?;
    let code =
        imflow_proto::wire::ErrorCode::try_from(code).unwrap_or_default().as_str_name().to_owned();
    let message = find(bytes, 2)?.text()?.into_owned();
    let (retryable, retry_after_ms) = (find(bytes, 3)?.number() != 0, find(bytes, 4)?.number());
    Some(Event::Refused { id, code, message, retryable, retry_after_ms })
}

fn read_push(bytes: &[u8]) -> Option<Event<'_>> {
    match Fields(bytes).next()? {
        Some((1, Value::Bytes(message))) => read_message(message).map(Event::Message),
        Some((4, Value::Bytes(notify))) => {
            Some(Event::Notify { conversation_id: find(notify, 1)?.text()? })
        }
        _ => Some(Event::Other),
    }
}

fn read_page(id: u64, bytes: &[u8]) -> Option<Event<'_>> {
    let (mut items, mut more) = (Vec::new(), false);
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(item)) => items.push(read_message(item)?),
            (2, Value::Number(number)) => more = number != 0,
            _ => {}
        }
    }
    Some(Event::Page { id, items, more })
}

fn read_message(bytes: &[u8]) -> Option<Message<'_>> {
    let empty = Cow::Borrowed("");
    let mut message = Message {
        conversation_id: empty.clone(),
        seq: 0,
        server_msg_id: 0,
        client_msg_id: empty.clone(),
        sender_id: empty.clone(),
        text: empty,
    };
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => message.conversation_id = value.text()?,
            2 => message.seq = value.number(),
            3 => message.server_msg_id = value.number() as i64,
            4 => message.client_msg_id = value.text()?,
            5 => message.sender_id = value.text()?,
            7 => message.text = value.text()?,
            _ => {}
        }
    }
    Some(message)
}

/// The first field with this number; a zero when it is not there, as protobuf has it.
fn find(bytes: &[u8], wanted: u64) -> Option<Value<'_>> {
    let mut fields = Fields(bytes);
    while let Some((number, value)) = fields.next()? {
        if number == wanted {
            return Some(value);
        }
    }
    Some(Value::Number(0))
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Number(_) => Some(Cow::Borrowed("")),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        }
    }
}

/// The fields of a message in their order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// `None`: malformed; `Some(None)`: the end.
    #[expect(clippy::option_option, reason = "so that `?` ends at what is malformed")]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.split(8)?),
            2 => Value::Bytes(self.bytes()?),
            5 => Value::Bytes(self.split(4)?),
            _ => return None,
        };
        Some(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.split(length)
    }

    fn split(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Appends one length-delimited envelope.
pub(super) fn write(id: u64, command: &Command<'_>, into: &mut Vec<u8>) {
    match command {
        Command::Send { conversation_id, client_msg_id, text } => {
            // The type TEXT is 1.
            let text = text.text.as_str();
            let body = field_length(conversation_id)
                + field_length(client_msg_id)
                + 2
                + field_length(text);
            write_head(id, 10, body, into);
            write_text(1, conversation_id, into);
            write_text(2, client_msg_id, into);
            into.extend([3 << 3, 1]);
            write_text(4, text, into);
        }
        Command::History { conversation_id, after_seq, limit } => {
            let limit = u64::from(*limit);
            let body = field_length(conversation_id)
                + 1
                + varint_length(*after_seq)
                + 1
                + varint_length(limit);
            write_head(id, 14, body, into);
            write_text(1, conversation_id, into);
            into.push(2 << 3);
            write_varint(*after_seq, into);
            into.push(3 << 3);
            write_varint(limit, into);
        }
        Command::Ping => write_head(id, 17, 0, into),
    }
}

/// Length, id, and the head of the body that follows.
fn write_head(id: u64, tag: u64, body: usize, into: &mut Vec<u8>) {
    let key = tag << 3 | 2;
    let length = 1 + varint_length(id) + varint_length(key) + varint_length(body as u64) + body;
    write_varint(length as u64, into);
    into.push(1 << 3);
    write_varint(id, into);
    write_varint(key, into);
    write_varint(body as u64, into);
}

fn write_text(number: u8, text: &str, into: &mut Vec<u8>) {
    into.push(number << 3 | 2);
    write_varint(text.len() as u64, into);
    into.extend_from_slice(text.as_bytes());
}

fn field_length(text: &str) -> usize {
    1 + varint_length(text.len() as u64) + text.len()
}

fn write_varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn varint_length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
#[path = "proto_tests.rs"]
mod tests;
