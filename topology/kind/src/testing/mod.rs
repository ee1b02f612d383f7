//! For tests of kinds: drives one operator in virtual time, and stands in for the dataflow around a
//! source or sink.

mod clock;
mod injector;

use std::sync::Arc;
use std::sync::Mutex;

use imflow_proto::wire::envelope::Body;
use imflow_proto::{Record, Requester, Ticket};

use imflow_proto::id::ServerMsgIds;

use crate::{
    Description, Form, Inference, Kind, Operator, OperatorContext, Options, Out, Part, Shape,
    StartError, Time,
};

pub use clock::ManualClock;
pub use injector::{FakeInjector, Sent};

/// An operator under test, its clock and what it has sent.
pub struct Driver<O> {
    pub operator: O,
    description: &'static Description,
    now: Time,
    out: Out,
    sent: Vec<Vec<Record>>,
}

/// Builds an operator as the runtime does, for inputs of these shapes.
///
/// # Errors
/// What the kind finds wrong.
pub fn build(
    kind: &Kind,
    options: &Options,
    part: Part,
    inputs: &[Shape],
) -> Result<Box<dyn Operator>, StartError> {
    let Form::Operator(build) = &kind.form else {
        return Err(StartError::new("only state machines can be driven"));
    };
    let inputs: Vec<_> = inputs.iter().cloned().map(Some).collect();
    let count = kind.description.outputs.len();
    let inference = Inference { inputs: &inputs, options, outputs: count };
    let outputs: Vec<_> = match kind.infer.map(|infer| infer(&inference)) {
        Some(Ok(shapes)) => shapes.into_iter().map(Some).collect(),
        Some(Err(mistakes)) => return Err(StartError::new(mistakes[0].message.clone())),
        None => vec![None; count],
    };
    build(&OperatorContext {
        name: "test",
        options,
        inputs: &inputs,
        outputs: &outputs,
        part,
        partitions: 1,
        workers: 1,
        ids: &Arc::new(ServerMsgIds::new(0)),
    })
}

/// Starts at 1,000,000 ms.
pub fn drive<O: Operator>(operator: O, description: &'static Description) -> Driver<O> {
    let ports = description.outputs.len();
    Driver {
        operator,
        description,
        now: Time::from_ms(1_000_000),
        out: Out::new(ports),
        sent: vec![Vec::new(); ports],
    }
}

impl<O: Operator> Driver<O> {
    /// Sends a batch to the input port of this name.
    pub fn send(&mut self, port: &str, records: impl IntoIterator<Item = Record>) -> &mut Self {
        let index = self.description.inputs.iter().position(|p| p.name == port);
        let index = index.unwrap_or_else(|| panic!("no input port `{port}`"));
        self.now = self.now.next(self.now.ms());
        let mut records: Vec<Record> = records.into_iter().collect();
        self.operator.on_batch(self.now, index, &mut records, &mut self.out);
        self.collect();
        self
    }

    /// Lets `ms` pass, waking the operator at each of its deadlines.
    pub fn pass(&mut self, ms: u64) -> &mut Self {
        let end = self.now.after_ms(ms);
        while let Some(due) = self.operator.next_deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.operator.on_time(self.now, &mut self.out);
            self.collect();
        }
        self.now = end;
        self
    }

    /// The present time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Takes what was sent on the output port of this name since the last call.
    pub fn take(&mut self, port: &str) -> Vec<Record> {
        let index = self.description.outputs.iter().position(|p| p.name == port);
        std::mem::take(&mut self.sent[index.unwrap_or_else(|| panic!("no output port `{port}`"))])
    }

    fn collect(&mut self) {
        for port in 0..self.out.ports() {
            self.sent[port].append(self.out.port(port));
        }
    }
}

/// A requester that remembers its answers.
#[derive(Default)]
pub struct Answers(Mutex<Vec<(u64, Body)>>);

impl Answers {
    /// A ticket for command `id`, answered here.
    pub fn ticket(self: &Arc<Self>, id: u64) -> Ticket {
        Ticket::new(id, Arc::clone(self) as Arc<dyn Requester>, None)
    }

    /// Takes the answers so far.
    pub fn take(&self) -> Vec<(u64, Body)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Requester for Answers {
    fn answer(&self, id: u64, body: Body) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((id, body));
    }
}
