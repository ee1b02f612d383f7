//! For tests of kinds: drives one operator in virtual time, and stands in for the dataflow around a
//! source or sink.

pub mod archive;
mod injector;

use std::path::Path;
use std::sync::{Arc, Mutex};

use imflow_proto::wire::envelope::Body;
use imflow_proto::{Record, Requester, Ticket};

use imflow_proto::id::ServerMsgIds;

use crate::{
    Description, Form, Inference, IoContext, Kind, Meters, Mistake, Operator, OperatorContext,
    Options, Out, Part, Roles, Shape, StartError, SystemClock, Time, Value,
};

pub use injector::{FakeInjector, Sent};

/// What a source or sink is built with, on a node with one worker and nothing beside it.
pub fn io_context(name: &str, options: Options, data: &Path) -> IoContext {
    IoContext {
        name: name.into(),
        options,
        feeds: Vec::new(),
        data: data.into(),
        node: "node-1".into(),
        partitions: 64,
        workers: 1,
        clock: Arc::new(SystemClock),
        meters: Meters::default().of(name),
        roles: Roles::default(),
    }
}

/// An operator under test, its clock and what it has sent.
pub struct Driver<O> {
    pub operator: O,
    inputs: Vec<String>,
    outputs: Vec<String>,
    now: Time,
    out: Out,
    sent: Vec<Vec<Record>>,
}

/// One node of a kind as the file would have it.
#[derive(Clone)]
pub struct Node<'a> {
    pub kind: &'a Kind,
    pub options: &'a Options,
    /// By input port: what its wires carry.
    pub inputs: &'a [Vec<Shape>],
    pub part: Part,
    pub workers: usize,
}

impl<'a> Node<'a> {
    /// A whole node whose every input port has one wire.
    pub fn new(kind: &'a Kind, options: &'a Options, inputs: &'a [Vec<Shape>]) -> Self {
        Self { kind, options, inputs, part: Part::Whole, workers: 1 }
    }

    /// One part of a split node, with so many workers.
    pub fn part(mut self, part: Part, workers: usize) -> Self {
        (self.part, self.workers) = (part, workers);
        self
    }

    /// What its outputs carry.
    ///
    /// # Errors
    /// The mistakes that the kind finds in its options.
    pub fn shapes(&self) -> Result<Vec<Shape>, Vec<Mistake>> {
        let outputs = self.output_names().len();
        let inference = Inference { inputs: self.inputs, options: self.options, outputs };
        self.kind.infer.map_or_else(|| Ok(Vec::new()), |infer| infer(&inference))
    }

    /// Builds its operator as the runtime does.
    ///
    /// # Errors
    /// What the kind finds wrong.
    pub fn build(&self) -> Result<Box<dyn Operator>, StartError> {
        let Form::Operator(build) = &self.kind.form else {
            return Err(StartError::new("only state machines can be driven"));
        };
        let shapes = self.shapes().map_err(|all| StartError::new(all[0].message.clone()))?;
        let mut outputs: Vec<_> = shapes.into_iter().map(Some).collect();
        outputs.resize(self.output_names().len(), None);
        build(&OperatorContext {
            name: "test",
            options: self.options,
            inputs: self.inputs,
            outputs: &outputs,
            taken: &vec![true; outputs.len()],
            part: self.part,
            partitions: 1,
            workers: self.workers,
            ids: &Arc::new(ServerMsgIds::new(0)),
        })
    }

    /// Its operator under test.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn drive(&self) -> Driver<Box<dyn Operator>> {
        let operator = self.build().unwrap_or_else(|e| panic!("it cannot be built: {e}"));
        let inputs = match self.part {
            Part::Merge => vec!["partials".to_owned()],
            Part::Whole | Part::Local => names(self.kind.description.inputs),
        };
        let outputs = match self.part {
            Part::Local => vec!["partials".to_owned()],
            Part::Whole | Part::Merge => self.output_names(),
        };
        Driver::new(operator, inputs, outputs)
    }

    fn output_names(&self) -> Vec<String> {
        let description = self.kind.description;
        let mut all = names(description.outputs);
        let named = description.outputs_from.and_then(|option| self.options.get(option));
        if let Some(Value::Entries(entries)) = named {
            all.extend(entries.iter().map(|(name, _)| name.clone()));
        }
        all
    }
}

fn names(ports: &[crate::Port]) -> Vec<String> {
    ports.iter().map(|port| port.name.to_owned()).collect()
}

/// Starts at 1,000,000 ms.
pub fn drive<O: Operator>(operator: O, description: &'static Description) -> Driver<O> {
    Driver::new(operator, names(description.inputs), names(description.outputs))
}

impl<O: Operator> Driver<O> {
    fn new(operator: O, inputs: Vec<String>, outputs: Vec<String>) -> Self {
        let ports = outputs.len();
        Self {
            operator,
            inputs,
            outputs,
            now: Time::from_ms(1_000_000),
            out: Out::new(ports),
            sent: vec![Vec::new(); ports],
        }
    }

    /// Sends a batch to the input port of this name.
    pub fn send(&mut self, port: &str, records: impl IntoIterator<Item = Record>) -> &mut Self {
        let index = self.inputs.iter().position(|name| name == port);
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
        let index = self.outputs.iter().position(|name| name == port);
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
