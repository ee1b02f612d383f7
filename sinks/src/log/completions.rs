//! Gives what is durable back to the worker that it came from, in log order.
//!
//! What belongs to a worker leaves in runs: a run ends where the type changes, so that a worker meets a fact
//! exactly between the messages that it was logged between. A change's answer leaves when
//! every stage has applied the fact, which is when the runtime drops [`Answers`].

use std::sync::Arc;

use imflow_kind::Injector;
use imflow_proto::record::{Change, Committed, CommittedFact, Moved};
use imflow_proto::wire::envelope::Body;
use imflow_proto::{Record, Ticket};

/// The index of the port `committed`.
pub(crate) const COMMITTED: usize = 0;
/// The index of the port `facts`.
pub(crate) const FACTS: usize = 1;
/// The index of the port `found`.
pub(crate) const FOUND: usize = 2;
/// The index of the port `moved`.
pub(crate) const MOVED: usize = 3;
/// The index of the port `referents`.
pub(crate) const REFERENTS: usize = 4;

pub(crate) struct Completions {
    injector: Arc<dyn Injector>,
    run: Run,
}

/// Records of one worker and one type, not yet sent.
#[derive(Default)]
struct Run {
    worker: usize,
    port: usize,
    records: Vec<Record>,
    /// One for each fact.
    answers: Vec<(Ticket, Body)>,
}

impl Completions {
    pub(crate) fn new(injector: Arc<dyn Injector>) -> Self {
        Self { injector, run: Run::default() }
    }

    pub(crate) fn message(&mut self, worker: usize, committed: Arc<Committed>) {
        self.begin(worker, COMMITTED);
        self.run.records.push(Record::Committed(committed));
    }

    pub(crate) fn fact(&mut self, worker: usize, fact: Arc<CommittedFact>, change: &Change) {
        self.begin(worker, FACTS);
        self.run.records.push(Record::Fact(fact));
        self.run.answers.push((change.ticket.clone(), change.answer.clone()));
    }

    pub(crate) fn moved(&mut self, worker: usize, moved: Arc<Moved>) {
        self.begin(worker, MOVED);
        self.run.records.push(Record::Moved(moved));
    }

    /// Goes on with the run, or begins another.
    fn begin(&mut self, worker: usize, port: usize) {
        if (self.run.worker, self.run.port) != (worker, port) {
            self.flush();
            (self.run.worker, self.run.port) = (worker, port);
        }
    }

    /// Sends the run.
    pub(crate) fn flush(&mut self) {
        let Run { worker, port, records, answers } = std::mem::take(&mut self.run);
        match (records.is_empty(), answers.is_empty()) {
            (true, _) => {}
            (false, true) => self.injector.send(worker, port, records),
            (false, false) => {
                self.injector.send_and_track(worker, port, records, Arc::new(Answers(answers)))
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
