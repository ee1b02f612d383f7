//! Holds the service to its promises, from the outside: by what clients sent, were told and were pushed.
//!
//! In each conversation the acks and the pushes fill one table by seq; whoever speaks of a seq must say
//! the same as those before. At the end the table must have no gap, each message one place, and each
//! session must have been pushed all of it, once and in order, except what it sent itself.
//! The tables grow with the run (24 bytes a message), which is what the run's length bounds.

mod broken;
mod receipt;
mod verify;

use std::collections::{HashMap, HashSet};

use broken::Broken;
pub(crate) use broken::Promise;
use receipt::Receipt;
pub(crate) use verify::Verdict;

use crate::names::MessageId;

/// A seq this far above all before it is nonsense, and is not given a place.
const MAX_LEAP: u64 = 1 << 20;

/// What is known of a message wherever it is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    pub(crate) id: MessageId,
    /// Of the text and the serverMsgId.
    pub(crate) hash: u64,
}

impl Print {
    pub(crate) fn new(id: MessageId, server_msg_id: i64, text_hash: u64) -> Self {
        Self { id, hash: text_hash ^ (server_msg_id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    print: Print,
    acked: bool,
}

#[derive(Debug, Default)]
struct Conversation {
    /// By seq, from 1.
    places: Vec<Option<Place>>,
    /// The sessions that are pushed its messages.
    sessions: Vec<u32>,
}

/// What all clients of a run have seen.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    conversations: Vec<Conversation>,
    /// By session, then by conversation.
    receipts: Vec<HashMap<u32, Receipt>>,
    /// Messages that were sent again after a refusal; they may have been overtaken.
    resent: HashSet<MessageId>,
    broken: Broken,
    pub(crate) acked: u64,
    pub(crate) repeats: u64,
    /// Pushes that the acks so far promise, and those that came.
    expected: u64,
    pub(crate) received: u64,
}

impl Checker {
    /// A checker of conversations, each given by the sessions of its members.
    pub(crate) fn new(sessions: usize, members: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let conversations =
            members.into_iter().map(|sessions| Conversation { sessions, ..Default::default() });
        Self {
            conversations: conversations.collect(),
            receipts: (0..sessions).map(|_| HashMap::new()).collect(),
            ..Self::default()
        }
    }

    /// A send was acked. A repeat of an acked message must find its own place again.
    pub(crate) fn acked(&mut self, conversation: u32, seq: u64, print: Print) {
        let Some(place) = self.place(conversation, seq, print) else { return };
        if place.print != print {
            let text = format!(
                "g{conversation} seq {seq} is acked for {:?} but belongs to {:?}",
                print.id, place.print.id
            );
            self.broken.add(Promise::Ack, text);
        } else if place.acked {
            self.repeats += 1;
        } else {
            place.acked = true;
            self.acked += 1;
            self.expected += self.conversations[conversation as usize].sessions.len() as u64 - 1;
        }
    }

    /// A session was pushed a message.
    pub(crate) fn pushed(&mut self, session: u32, conversation: u32, seq: u64, print: Print) {
        let Some(place) = self.place(conversation, seq, print) else { return };
        let known = place.print;
        let at = || format!("session {session}: g{conversation} seq {seq}");
        if known != print {
            self.broken.add(
                Promise::Content,
                format!("{} says {print:?}, others were told {known:?}", at()),
            );
        }
        if print.id.session == session {
            self.broken
                .add(Promise::Once, format!("{} went back to the session that sent it", at()));
            return;
        }
        let receipt = self.receipts[session as usize].entry(conversation).or_default();
        match receipt.take(seq) {
            Ok(()) => self.received += 1,
            Err(Promise::Order) => {
                self.received += 1;
                self.broken
                    .add(Promise::Order, format!("{} came after seq {}", at(), receipt.last()));
            }
            Err(promise) => self.broken.add(promise, format!("{} came twice", at())),
        }
    }

    /// A page of history held a message.
    pub(crate) fn read(&mut self, conversation: u32, seq: u64, print: Print) {
        let Some(place) = self.place(conversation, seq, print) else { return };
        if place.print != print {
            let text = format!(
                "g{conversation} seq {seq}: history has {print:?}, it was {:?}",
                place.print
            );
            self.broken.add(Promise::Content, text);
        }
    }

    /// A message goes out again after a refusal that said that it can succeed later.
    pub(crate) fn resent(&mut self, id: MessageId) {
        self.resent.insert(id);
    }

    /// Something else than a promise of this table was broken.
    pub(crate) fn report(&mut self, promise: Promise, text: String) {
        self.broken.add(promise, text);
    }

    /// Pushes that are still to come.
    pub(crate) fn outstanding(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// The last seq of a conversation.
    pub(crate) fn last_seq(&self, conversation: u32) -> u64 {
        self.conversations[conversation as usize].places.len() as u64
    }

    /// The place of a seq, taken by this print when it is free.
    fn place(&mut self, conversation: u32, seq: u64, print: Print) -> Option<&mut Place> {
        let Some(known) = self.conversations.get_mut(conversation as usize) else {
            self.broken
                .add(Promise::Content, format!("g{conversation} is no conversation of this run"));
            return None;
        };
        let places = &mut known.places;
        if seq == 0 || seq > places.len() as u64 + MAX_LEAP {
            let text = format!("g{conversation} has seq {seq} after {} messages", places.len());
            self.broken.add(Promise::Gapless, text);
            return None;
        }
        let index = (seq - 1) as usize;
        if index >= places.len() {
            places.resize(index + 1, None);
        }
        Some(places[index].get_or_insert(Place { print, acked: false }))
    }
}

#[cfg(test)]
mod tests;
