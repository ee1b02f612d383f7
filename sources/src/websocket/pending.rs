//! The unanswered commands of one connection, oldest first.
//!
//! All wait equally long, so only the oldest matters. Answered tickets are forgotten from the front;
//! behind a straggler they are swept once they are the greater part, so the queue stays within twice
//! the number of unanswered commands.

use std::collections::VecDeque;

use imflow_proto::Ticket;
use imflow_proto::wire::{Error, ErrorCode};

/// Tickets and when they were taken.
#[derive(Default)]
pub(super) struct Pending {
    queue: VecDeque<(u64, Ticket)>,
}

impl Pending {
    pub(super) fn push(&mut self, now: u64, ticket: Ticket) {
        self.queue.push_back((now, ticket));
    }

    /// Forgets what is answered, knowing that `unanswered` are not; gives the time of the oldest.
    pub(super) fn oldest(&mut self, unanswered: usize) -> Option<u64> {
        while self.queue.front().is_some_and(|(_, ticket)| ticket.is_answered()) {
            self.queue.pop_front();
        }
        if self.queue.len() > 2 * unanswered + 16 {
            self.queue.retain(|(_, ticket)| !ticket.is_answered());
        }
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            self.queue = VecDeque::new();
        }
        self.queue.front().map(|(since, _)| *since)
    }

    /// Answers TIMEOUT to every command taken at or before `limit`.
    pub(super) fn expire(&mut self, limit: u64) {
        while let Some((since, ticket)) = self.queue.front() {
            if *since > limit {
                break;
            }
            let sentence = "no answer in time; it may still take effect, so send it again under the same clientMsgId";
            ticket.refuse(Error::of(ErrorCode::Timeout, sentence));
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imflow_kind::testing::Answers;
    use imflow_proto::wire::Done;
    use imflow_proto::wire::envelope::Body;
    use std::sync::Arc;

    #[test]
    fn only_what_is_unanswered_and_old_times_out() {
        let answers = Arc::new(Answers::default());
        let mut pending = Pending::default();
        for (now, id) in [(10, 1), (10, 2), (20, 3)] {
            pending.push(now, answers.ticket(id));
        }
        pending.queue[0].1.answer(Body::Done(Done {}));
        assert_eq!(pending.oldest(2), Some(10));
        pending.expire(15);
        assert_eq!(pending.oldest(1), Some(20));
        let answers = answers.take();
        assert!(
            matches!(&answers[..], [(1, Body::Done(_)), (2, Body::Error(error))] if error.code() == ErrorCode::Timeout)
        );
    }

    #[test]
    fn a_straggler_does_not_keep_the_others() {
        let answers = Arc::new(Answers::default());
        let mut pending = Pending::default();
        for id in 0..1_000 {
            let ticket = answers.ticket(id);
            if id > 0 {
                ticket.answer(Body::Done(Done {}));
            }
            pending.push(id, ticket);
            pending.oldest(1);
        }
        assert!(pending.queue.len() < 20, "{}", pending.queue.len());
    }
}
