//! What one connection was not given: for each conversation, up to which seq it has to pull.
//!
//! A gap opens when a message finds no room, or when the dataflow tells of messages instead of sending
//! them. Messages that follow only move its end; when the client has pulled that far it closes, and what is
//! said then is pushed again. So a client that reads on from what it has never sees a hole.

use bytes::Bytes;
use imflow_proto::frame::Format;
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, Notify, Push, push};
use rapidhash::RapidHashMap;

use super::frames;

/// The gaps of one connection, by the hash of the conversation's id.
#[derive(Default)]
pub(super) struct Gaps {
    of: RapidHashMap<u64, Gap>,
}

/// What is missing of one conversation.
#[derive(Debug, Default)]
pub(super) struct Gap {
    conversation_id: Box<str>,
    /// 0: no message is missing, but something else is.
    up_to_seq: u64,
    /// Its notice waits to be written.
    queued: bool,
    /// It has grown since its notice was written.
    grown: bool,
}

impl Gap {
    /// Something more is missing; of a message, its seq.
    pub(super) fn grow(&mut self, seq: u64) {
        self.up_to_seq = self.up_to_seq.max(seq);
        self.grown = true;
    }

    /// Messages are left out until they are pulled.
    pub(super) fn holds_messages(&self) -> bool {
        self.up_to_seq > 0
    }

    /// Whether its notice waits already.
    pub(super) fn is_queued(&self) -> bool {
        self.queued
    }

    pub(super) fn set_queued(&mut self) {
        self.queued = true;
    }

    /// About what its notice takes.
    pub(super) fn bytes(&self) -> usize {
        64 + self.conversation_id.len()
    }
}

impl Gaps {
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    pub(super) fn get_mut(&mut self, conversation: u64) -> Option<&mut Gap> {
        self.of.get_mut(&conversation)
    }

    /// Opens a gap, or lets the one that there is grow.
    pub(super) fn open(&mut self, conversation: u64, id: &str, seq: u64) {
        let new = || Gap { conversation_id: id.into(), ..Gap::default() };
        self.of.entry(conversation).or_insert_with(new).grow(seq);
    }

    /// The client has pulled all that there was, up to this seq. `true`: there is more by now, of which
    /// it does not know.
    pub(super) fn pulled(&mut self, conversation: u64, up_to_seq: u64) -> bool {
        let Some(gap) = self.of.get(&conversation) else { return false };
        if up_to_seq >= gap.up_to_seq {
            self.of.remove(&conversation);
            return false;
        }
        !gap.queued
    }

    /// The conversations whose gap has grown since it was told of.
    pub(super) fn grown(&self) -> Vec<u64> {
        let grown = self.of.iter().filter(|(_, gap)| gap.grown && !gap.queued);
        grown.map(|(conversation, _)| *conversation).collect()
    }

    /// The notice of a gap as a frame; `None`: it has closed.
    pub(super) fn tell(&mut self, conversation: u64, format: Format) -> Option<Bytes> {
        let gap = self.of.get_mut(&conversation)?;
        (gap.queued, gap.grown) = (false, false);
        let conversation_id = String::from(&*gap.conversation_id);
        let notify = Notify { conversation_id, up_to_seq: gap.up_to_seq };
        if !gap.holds_messages() {
            self.of.remove(&conversation);
        }
        let event = Some(push::Event::Notify(notify));
        let mut frame = Vec::new();
        let envelope = Envelope { id: 0, body: Some(Body::Push(Push { event })) };
        frames::append(format, &envelope, &mut frame);
        Some(frame.into())
    }
}
