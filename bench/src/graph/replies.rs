//! What the graph answers: given to the requester as a gateway would, and added up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use imflow_proto::wire::envelope::Body;
use imflow_proto::{Record, Requester};

use crate::report::grouped;

/// What the replies add up to.
#[derive(Default)]
pub(super) struct Replies {
    acked: AtomicU64,
    seqs: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
    first_error: OnceLock<String>,
}

impl Requester for Replies {
    fn answer(&self, _id: u64, body: Body) {
        match body {
            Body::Ack(ack) => {
                self.acked.fetch_add(1, Ordering::Relaxed);
                self.seqs.fetch_add(ack.seq, Ordering::Relaxed);
            }
            Body::Error(error) => {
                self.first_error
                    .get_or_init(|| format!("{}: {}", error.code().as_str_name(), error.message));
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.done.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Replies {
    /// Messages that were acked or refused.
    pub(super) fn answered(&self) -> u64 {
        self.acked.load(Ordering::Relaxed) + self.refused.load(Ordering::Relaxed)
    }

    /// Commands that were carried out.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// The sum of the seqs of all acks.
    pub(super) fn seqs(&self) -> u64 {
        self.seqs.load(Ordering::Relaxed)
    }

    pub(super) fn refusals(&self) -> Option<String> {
        let count = grouped(self.refused.load(Ordering::Relaxed));
        self.first_error
            .get()
            .map(|error| format!("refused: {count} commands, the first with {error}"))
    }
}

/// Answers the command behind a record that came back.
pub(super) fn answer(record: &Record) {
    match record {
        Record::Committed(committed) => {
            if let Some(ticket) = &committed.ticket {
                ticket.answer(Body::Ack(committed.ack()));
            }
        }
        Record::Reply(reply) => {
            reply.ticket.answer(reply.body.clone());
        }
        Record::Rejection(rejection) => {
            rejection.ticket().refuse(rejection.error.clone());
        }
        _ => {}
    }
}
