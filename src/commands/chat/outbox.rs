//! Lines that wait for their ack.
//!
//! One is on its way at a time, so that the conversation shows them in the order they were typed even
//! when the server refuses one for a while. A line keeps its clientMsgId until it is answered: sent
//! again after a lost connection it gets the first answer, never a second message.

use std::collections::VecDeque;

use imflow_proto::wire::Envelope;

use super::entry::Entry;

/// At this many waiting lines the keyboard (or the pipe) is not read any more.
const MAX_WAITING: usize = 256;

/// Lines in the order they were typed; the first may be on its way.
pub(super) struct Outbox {
    /// `{userId}-{deviceId}`.
    sender: String,
    counter: u64,
    waiting: VecDeque<Waiting>,
    in_flight: Option<u64>,
}

/// A line and how it is sent.
#[derive(Debug, PartialEq)]
struct Waiting {
    conversation_id: String,
    client_msg_id: String,
    entry: Entry,
}

impl Outbox {
    /// An outbox of one device. `counter` must exceed those of earlier runs: the start time does.
    pub(super) fn new(user: &str, device: &str, counter: u64) -> Self {
        Self {
            sender: format!("{user}-{device}"),
            counter,
            waiting: VecDeque::new(),
            in_flight: None,
        }
    }

    /// Takes a line at `now_ms`.
    pub(super) fn push(&mut self, conversation_id: &str, entry: Entry, now_ms: u64) {
        self.counter += 1;
        self.waiting.push_back(Waiting {
            conversation_id: conversation_id.to_owned(),
            client_msg_id: format!("{}-{}-{now_ms}", self.sender, self.counter),
            entry,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// The next line as the command `id`, unless one is on its way.
    pub(super) fn next(&mut self, id: u64) -> Option<Envelope> {
        let waiting = self.waiting.front().filter(|_| self.in_flight.is_none())?;
        let Waiting { conversation_id, client_msg_id, entry } = waiting;
        self.in_flight = Some(id);
        let body = entry.command(conversation_id.clone(), client_msg_id.clone());
        Some(Envelope { id, body: Some(body) })
    }

    /// The line that the command `id` carried, answered for good, and its conversation.
    pub(super) fn answered(&mut self, id: u64) -> Option<(String, Entry)> {
        self.in_flight.take_if(|in_flight| *in_flight == id)?;
        self.waiting.pop_front().map(|waiting| (waiting.conversation_id, waiting.entry))
    }

    /// Whether the command `id` is the line on its way.
    pub(super) fn carries(&self, id: u64) -> bool {
        self.in_flight == Some(id)
    }

    /// The line on its way will be sent again: the connection is lost, or the server asked for patience.
    pub(super) fn take_back(&mut self) {
        self.in_flight = None;
    }
}

#[cfg(test)]
mod tests {
    use imflow_proto::wire::envelope::Body;

    use super::*;

    #[test]
    fn a_line_sent_again_keeps_its_id_and_its_place() {
        let mut outbox = Outbox::new("alice", "cli", 7);
        let say = |text: &str| Entry::Say { text: text.into(), reply_to: 0 };
        outbox.push("lobby", say("one"), 1000);
        outbox.push("lobby", say("two"), 1001);
        let first = outbox.next(1).expect("a line waits");
        assert_eq!(outbox.next(2), None);
        outbox.take_back();
        let again = outbox.next(3).expect("it waits again");
        assert_eq!(first.body, again.body);
        assert_eq!(outbox.answered(1), None);
        assert!(
            matches!(&again.body, Some(Body::Send(send)) if send.client_msg_id == "alice-cli-8-1000")
        );
        assert_eq!(outbox.answered(3), Some(("lobby".into(), say("one"))));
        assert!(
            matches!(outbox.next(4).and_then(|e| e.body), Some(Body::Send(send)) if send.text == "two")
        );
    }
}
