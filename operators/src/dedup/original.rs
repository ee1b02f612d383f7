//! A committed message, as far as a repeat needs it.

use imflow_proto::wire::{Ack, AckStatus, Message};

/// What a repeat is compared with and answered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) content: u64,
    pub(super) server_msg_id: i64,
    pub(super) seq: u64,
    pub(super) created_at: i64,
}

impl Original {
    pub(super) fn of(message: &Message, content: u64) -> Self {
        Self {
            content,
            server_msg_id: message.server_msg_id,
            seq: message.seq,
            created_at: message.created_at,
        }
    }

    pub(super) fn ack(&self) -> Ack {
        let Self { server_msg_id, seq, created_at, .. } = *self;
        Ack { server_msg_id, seq, status: AckStatus::Ok.into(), created_at }
    }
}
