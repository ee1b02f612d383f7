//! Gives what is durable back to the worker that it came from, in log order.
//!
//! Messages and facts of a worker leave in runs: a run ends where the type changes, so that a worker
//! meets a fact exactly between the messages that it was logged between. A change's answer leaves when
//! every stage has applied the fact, which is when the runtime drops [`Answers`].

use std::sync::Arc;

use imflow_kind::Injector;
use imflow_proto::record::{Change, Committed, CommittedFact};
use imflow_proto::wire::envelope::Body;
use imflow_proto::{Record, Ticket};

/// The index of the port `committed`.
pub(crate) const COMMITTED: usize = 0;
/// The index of the port `facts`.
pub(crate) const FACTS: usize = 1;
/// The index of the port `found`.
pub(crate) const FOUND: usize = 2;

pub(crate) struct Completions {
    injector: Arc<dyn Injector>,
    run: Run,
}

/// Records of one worker and one type, not yet sent.
#[derive(Default)]
struct Run {
    worker: usize,
    records: Vec<Record>,
    /// Empty for messages.
    answers: Vec<(Ticket, Body)>,
}

impl Completions {
    pub(crate) fn new(injector: Arc<dyn Injector>) -> Self {
        Self { injector, run: Run::default() }
    }

    pub(crate) fn message(&mut self, worker: usize, committed: Arc<Committed>) {
        if self.run.worker != worker || !self.run.answers.is_empty() {
            self.flush();
            self.run.worker = worker;
        }
        self.run.records.push(Record::Committed(committed));
    }

    pub(crate) fn fact(&mut self, worker: usize, fact: Arc<CommittedFact>, change: &Change) {
        if self.run.worker != worker || self.run.answers.is_empty() {
            self.flush();
            self.run.worker = worker;
        }
        self.run.records.push(Record::Fact(fact));
        self.run.answers.push((change.ticket.clone(), change.answer.clone()));
    }

    /// Sends the run.
    pub(crate) fn flush(&mut self) {
        let Run { worker, records, answers } = std::mem::take(&mut self.run);
        match (records.is_empty(), answers.is_empty()) {
            (true, _) => {}
            (false, true) => self.injector.send(worker, COMMITTED, records),
            (false, false) => {
                self.injector.send_and_track(worker, FACTS, records, Arc::new(Answers(answers)))
            }
        }
    }
}

/// Answers the commands behind facts when it is dropped.
struct Answers(Vec<(Ticket, Body)>);

impl Drop for Answers {
    fn drop(&mut self) {
        for (ticket, body) in self.0.drain(..) {
            ticket.answer(body);
        }
    }
}
