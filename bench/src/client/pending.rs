//! Commands that wait for their reply, by the id that the reply will carry.
//!
//! Bounded by the load: a closed loop has a window, an open loop its rate. An id holds the place and
//! how often the place was used, so that a second reply to a command is told from the first to another.

use tokio::sync::oneshot;

use crate::check::Print;
use crate::names::MessageId;

const PLACE_BITS: u32 = 20;

/// A send under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) id: MessageId,
    pub(super) conversation: u32,
    /// Which of the crowd's texts.
    pub(super) text: u32,
    /// When the schedule wanted it to leave; nanoseconds of the crowd's clock.
    pub(super) intended_ns: u64,
    pub(super) attempt: u8,
    /// The same message, sent once more on purpose.
    pub(super) repeat: bool,
    /// It is to be sent once more when its ack has come.
    pub(super) repeat_after_ack: bool,
}

/// A page of history: seqs and prints, and whether more follow.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<(u64, Print)>,
    pub(crate) more: bool,
}

/// What a reply is for.
#[derive(Debug)]
pub(super) enum Pending {
    Send(Sent),
    Page(oneshot::Sender<Page>),
}

#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<(u64, Option<Pending>)>,
    free: Vec<u32>,
}

impl Table {
    /// Keeps a command; gives its id, which is never 0.
    pub(super) fn put(&mut self, pending: Pending) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.0 += 1;
        place.1 = Some(pending);
        place.0 << PLACE_BITS | u64::from(index)
    }

    /// Takes the command that a reply is for; `None` when none waits under this id.
    pub(super) fn take(&mut self, id: u64) -> Option<Pending> {
        let index = id & ((1 << PLACE_BITS) - 1);
        let (uses, pending) = self.places.get_mut(index as usize)?;
        if *uses != id >> PLACE_BITS {
            return None;
        }
        let taken = pending.take()?;
        self.free.push(index as u32);
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(local: u32) -> Pending {
        let id = MessageId { session: 0, local };
        Pending::Send(Sent {
            id,
            conversation: 0,
            text: 0,
            intended_ns: 0,
            attempt: 0,
            repeat: false,
            repeat_after_ack: false,
        })
    }

    #[test]
    fn a_second_reply_finds_nothing_even_when_the_place_is_used_again() {
        let mut table = Table::default();
        let first = table.put(send(1));
        assert!(table.take(first).is_some() && table.take(first).is_none());
        let second = table.put(send(2));
        assert!(second != first && table.take(first).is_none());
        assert!(matches!(
            table.take(second),
            Some(Pending::Send(Sent { id: MessageId { local: 2, .. }, .. }))
        ));
    }
}
