//! The JSON form of the wire, one envelope a line, borrowed where nothing is escaped.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Deserialize;

use super::event::{Command, Event, Message};
use crate::failure::{Context as _, Failure};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    id: u64,
    ack: Option<AckLine<'a>>,
    error: Option<ErrorLine>,
    #[serde(borrow)]
    push: Option<PushLine<'a>>,
    #[serde(borrow)]
    messages: Option<PageLine<'a>>,
    goodbye: Option<GoodbyeLine>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AckLine<'a> {
    #[serde(borrow)]
    server_msg_id: Cow<'a, str>,
    seq: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ErrorLine {
    code: String,
    message: String,
    retryable: bool,
    retry_after_ms: u64,
}

#[derive(Deserialize)]
struct PushLine<'a> {
    #[serde(borrow)]
    message: Option<MessageLine<'a>>,
    #[serde(borrow)]
    notify: Option<NotifyLine<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageLine<'a> {
    #[serde(borrow)]
    conversation_id: Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    server_msg_id: Cow<'a, str>,
    #[serde(borrow)]
    client_msg_id: Cow<'a, str>,
    #[serde(borrow)]
    sender_id: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NotifyLine<'a> {
    #[serde(borrow)]
    conversation_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PageLine<'a> {
    #[serde(borrow, default)]
    items: Vec<MessageLine<'a>>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct GoodbyeLine {
    #[serde(default)]
    reason: String,
}

/// Reads one line.
pub(super) fn read(line: &[u8]) -> Result<Event<'_>, Failure> {
    let doing = || "reading a line of the server's JSON".to_owned();
    let line: Line<'_> = serde_json::from_slice(line).context(doing)?;
    let id = line.id;
    if let Some(ack) = line.ack {
        let server_msg_id = ack.server_msg_id.parse().context(doing)?;
        return Ok(Event::Ack { id, server_msg_id, seq: ack.seq });
    }
    if let Some(ErrorLine { code, message, retryable, retry_after_ms }) = line.error {
        return Ok(Event::Refused { id, code, message, retryable, retry_after_ms });
    }
    if let Some(push) = line.push {
        return match push {
            PushLine { message: Some(message), .. } => message.read().map(Event::Message),
            PushLine { notify: Some(notify), .. } => {
                Ok(Event::Notify { conversation_id: notify.conversation_id })
            }
            _ => Ok(Event::Other),
        };
    }
    if let Some(page) = line.messages {
        let items: Result<Vec<_>, _> = page.items.into_iter().map(MessageLine::read).collect();
        return Ok(Event::Page { id, items: items?, more: page.more });
    }
    Ok(line.goodbye.map_or(Event::Other, |goodbye| Event::Goodbye { reason: goodbye.reason }))
}

impl<'a> MessageLine<'a> {
    fn read(self) -> Result<Message<'a>, Failure> {
        Ok(Message {
            server_msg_id: self
                .server_msg_id
                .parse()
                .context(|| "reading a serverMsgId".to_owned())?,
            conversation_id: self.conversation_id,
            seq: self.seq,
            client_msg_id: self.client_msg_id,
            sender_id: self.sender_id,
            text: self.text,
        })
    }
}

/// Appends one line. The driver's own ids need no escapes, and texts come with theirs.
pub(super) fn write(id: u64, command: &Command<'_>, into: &mut Vec<u8>) {
    if !into.is_empty() {
        into.push(b'\n');
    }
    let written = match command {
        Command::Send { conversation_id, client_msg_id, text } => write!(
            into,
            r#"{{"id":{id},"send":{{"conversationId":"{conversation_id}","clientMsgId":"{client_msg_id}","type":"TEXT","text":{}}}}}"#,
            text.json
        ),
        Command::History { conversation_id, after_seq, limit } => write!(
            into,
            r#"{{"id":{id},"history":{{"conversationId":"{conversation_id}","afterSeq":{after_seq},"limit":{limit}}}}}"#
        ),
        Command::Ping => write!(into, r#"{{"id":{id},"ping":{{}}}}"#),
    };
    written.expect("a Vec takes all");
}
