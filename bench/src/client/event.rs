//! What a client can be told, as far as the driver cares; borrowed from the read buffer.

use std::borrow::Cow;

/// One envelope from the server.
#[derive(Debug, PartialEq)]
pub(super) enum Event<'a> {
    Ack {
        id: u64,
        server_msg_id: i64,
        seq: u64,
    },
    Refused {
        id: u64,
        code: String,
        message: String,
        retryable: bool,
        retry_after_ms: u64,
    },
    Message(Message<'a>),
    Page {
        id: u64,
        items: Vec<Message<'a>>,
        more: bool,
    },
    /// Pushes were left out; the client should pull them.
    Notify {
        conversation_id: Cow<'a, str>,
    },
    Goodbye {
        reason: String,
    },
    /// Welcome, presence, changes of conversations, pongs.
    Other,
}

/// A message, pushed or read.
#[derive(Debug, PartialEq)]
pub(super) struct Message<'a> {
    pub(super) conversation_id: Cow<'a, str>,
    pub(super) seq: u64,
    pub(super) server_msg_id: i64,
    pub(super) client_msg_id: Cow<'a, str>,
    pub(super) sender_id: Cow<'a, str>,
    pub(super) text: Cow<'a, str>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command<'a> {
    Send { conversation_id: &'a str, client_msg_id: &'a str, text: &'a crate::text::Text },
    History { conversation_id: &'a str, after_seq: u64, limit: u32 },
    Ping,
}
