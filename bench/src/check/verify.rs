//! The verdict at the end, when all that was promised has had its time to come.

use std::collections::{HashMap, HashSet};

use super::{Broken, Checker, Conversation, Promise};
use crate::names::MessageId;
use crate::report::grouped;

/// What a run comes to.
pub(crate) struct Verdict {
    /// One line: how much was checked and what was found.
    pub(crate) summary: String,
    /// The broken promises; empty is good.
    pub(crate) broken: Vec<String>,
}

impl Checker {
    /// Judges the whole run.
    pub(crate) fn verify(mut self) -> Verdict {
        for (number, conversation) in self.conversations.iter().enumerate() {
            check_table(number, conversation, &self.resent, &mut self.broken);
            for session in &conversation.sessions {
                let receipt =
                    self.receipts[*session as usize].remove(&(number as u32)).unwrap_or_default();
                let own = |seq: &u64| {
                    let place = conversation.places[(*seq - 1) as usize];
                    place.is_none_or(|place| place.print.id.session == *session)
                };
                let lost =
                    receipt.missing(conversation.places.len() as u64).filter(|seq| !own(seq));
                for seq in lost {
                    let text = format!("session {session} was never pushed g{number} seq {seq}");
                    self.broken.add(Promise::Delivered, text);
                }
            }
        }
        let count = |promise| grouped(self.broken.count(promise));
        let summary = format!(
            "{} lost, {} duplicated, {} reordered, {} gaps, of {} acked messages, {} pushes, {} repeats",
            count(Promise::Delivered),
            count(Promise::Once),
            count(Promise::Order),
            count(Promise::Gapless),
            grouped(self.acked),
            grouped(self.received),
            grouped(self.repeats),
        );
        Verdict { summary, broken: self.broken.lines() }
    }
}

/// No gap, each message at one place, each acked, a sender's messages in their order.
fn check_table(
    number: usize,
    conversation: &Conversation,
    resent: &HashSet<MessageId>,
    broken: &mut Broken,
) {
    let mut seqs: HashMap<MessageId, u64> = HashMap::with_capacity(conversation.places.len());
    let mut last_of: HashMap<u32, u32> = HashMap::new();
    for (seq, place) in (1u64..).zip(&conversation.places) {
        let Some(place) = place else {
            broken.add(Promise::Gapless, format!("g{number} seq {seq} is missing"));
            continue;
        };
        let id = place.print.id;
        if let Some(first) = seqs.insert(id, seq) {
            broken.add(
                Promise::Once,
                format!("g{number} holds {id:?} at seq {first} and again at {seq}"),
            );
            continue;
        }
        if !place.acked {
            broken.add(
                Promise::Ack,
                format!("g{number} seq {seq}, {id:?}, was seen but never acked"),
            );
        }
        let last = last_of.entry(id.session).or_insert(0);
        if id.local < *last && !resent.contains(&id) {
            broken.add(
                Promise::Order,
                format!("g{number} seq {seq}: {id:?} comes after the sender's later {last}"),
            );
        }
        // What went out again says nothing about those that came before it.
        if !resent.contains(&id) {
            *last = id.local.max(*last);
        }
    }
}
