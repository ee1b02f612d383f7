//! Looks into a compiled plan, and feeds it: wires that the file does not have.
//!
//! A probe is one more sink on an output port, an injection one more source on an input port. The plan
//! carries them as it carries every other wire, so nothing else knows of them, and the graph behaves as
//! it does without.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use imflow_kind::{
    ANY, Description, Family, Injector, Intake, IoContext, Kind, Part, Port, Shape, Sink, Source,
    StartError, Time,
};
use imflow_proto::Record;
use imflow_proto::record::Scalar;

use crate::diagnostic::Span;
use crate::plan::{Edge, EdgeKind, Plan, Stage};
use crate::resolve::{Node, NodeId, Output};

const PROBE: Description = Description {
    name: "probe",
    family: Family::Sink,
    inputs: &[Port::of("records", ANY, "what the port carries")],
    ..Description::EMPTY
};

const INJECTION: Description = Description {
    name: "injection",
    family: Family::Source,
    outputs: &[Port::of("records", ANY, "what the port takes")],
    ..Description::EMPTY
};

/// What was seen on an output port, with its times.
#[derive(Clone, Default)]
pub struct Probe(Arc<Mutex<Vec<(Time, Record)>>>);

impl Probe {
    /// Takes what was seen since the last call.
    pub fn take(&self) -> Vec<(Time, Record)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The way into an input port.
#[derive(Clone)]
pub struct Injection {
    /// What the port takes.
    pub shape: Shape,
    /// The stage in which the port's node runs.
    stage: Stage,
    entrance: Arc<OnceLock<(Arc<dyn Injector>, usize)>>,
}

impl Injection {
    /// Puts a record on the port, at the worker that owns its conversation; what belongs to no
    /// conversation goes where the service would send it: to all workers if it describes users.
    ///
    /// # Panics
    /// Before the plan runs.
    pub fn send(&self, record: &Record) {
        let (injector, workers) = self.entrance.get().expect("the plan runs");
        let conversation = self.shape.field("conversationId").map(|slot| slot.value(record));
        let to = match conversation {
            _ if self.stage != Stage::Conversation => 0..1,
            Some(Scalar::String(id)) => {
                let worker = injector.worker_of(&id);
                worker..worker + 1
            }
            _ if Stage::of(record.record_type()) == Stage::User => 0..*workers,
            _ => 0..1,
        };
        to.for_each(|worker| injector.send(worker, 0, vec![record.clone()]));
    }
}

impl Plan {
    /// Adds a probe on an output port. `None`: the port carries nothing.
    pub fn add_probe(&mut self, (node, port): (NodeId, usize)) -> Option<Probe> {
        let record = self.outputs[node][port].as_ref()?.record_type();
        let (kind, stage) = match self.nodes[node].kind.description.family {
            Family::Operator => (EdgeKind::Direct, self.stages[node]),
            Family::Source => (EdgeKind::Entry, Stage::of(record)),
            Family::Sink => (EdgeKind::Entry, self.stages[node]),
        };
        Some(self.probe_beside(Edge { from: (node, port), to: (node, port), kind, record, stage }))
    }

    /// Adds a probe beside the consumer of a wire: it sees what comes over that wire, in the stage of the
    /// consumer.
    pub fn add_probe_on(&mut self, edge: usize) -> Probe {
        self.probe_beside(self.edges[edge])
    }

    /// A probe at the end of a wire like this one.
    fn probe_beside(&mut self, like: Edge) -> Probe {
        let probe = Probe::default();
        let seen = probe.clone();
        let kind = Kind::sink(&PROBE, move |_| Ok(Box::new(ProbeSink(seen.clone()))));
        let shapes = self.outputs[like.from.0].get(like.from.1).cloned().flatten();
        let id = self.add_node(kind, vec![shapes.into_iter().collect()], Vec::new(), like.stage);
        self.edges.push(Edge { to: (id, 0), ..like });
        probe
    }

    /// Adds an injection into an input port. `None`: nothing says what the port takes.
    pub fn add_injection(&mut self, (node, port): (NodeId, usize)) -> Option<Injection> {
        let to = (self.first_part_of(node), port);
        let shape = self.input_shape((node, port))?;
        let record = shape.record_type();
        // A sink that inherits takes each wire in the wire's own stage.
        let wired = self.edges.iter().find(|edge| edge.to == to).map(|edge| edge.stage);
        let stage = wired.unwrap_or_else(|| match self.nodes[to.0].kind.description.family {
            Family::Operator => self.stages[to.0],
            Family::Source | Family::Sink => Stage::of(record),
        });
        let entrance: Arc<OnceLock<_>> = Arc::default();
        let found = Arc::clone(&entrance);
        let kind = Kind::source(&INJECTION, move |context: &IoContext| {
            let (entrance, workers) = (Arc::clone(&found), context.workers);
            Ok(Box::new(InjectionSource { entrance, workers }))
        });
        let id = self.add_node(kind, Vec::new(), vec![Some(shape.clone())], stage);
        self.edges.push(Edge { from: (id, 0), to, kind: EdgeKind::Entry, record, stage });
        Some(Injection { shape, stage, entrance })
    }

    /// What an input port takes: what its wires carry, else the first type that it declares.
    pub fn input_shape(&self, (node, port): (NodeId, usize)) -> Option<Shape> {
        let declared = self.nodes[node].kind.description.inputs[port].types.first();
        self.inputs[node][port].first().cloned().or(declared.copied().map(Shape::Native))
    }

    /// The part of a node that takes its inputs.
    fn first_part_of(&self, node: NodeId) -> NodeId {
        let local = |edge: &&Edge| edge.to.0 == node && self.nodes[edge.from.0].part == Part::Local;
        self.edges.iter().find(local).map_or(node, |edge| edge.from.0)
    }

    fn add_node(
        &mut self,
        kind: Kind,
        inputs: Vec<Vec<Shape>>,
        outputs: Vec<Option<Shape>>,
        stage: Stage,
    ) -> NodeId {
        let id = self.nodes.len();
        let description = kind.description;
        let ports = description.outputs.iter();
        self.nodes.push(Node {
            // No name of a file holds a dot.
            name: format!("{}.{id}", description.name),
            span: Span::default(),
            kind: kind.simulated_as_it_is(),
            part: Part::Whole,
            options: Default::default(),
            written: Default::default(),
            outputs: ports.map(|p| Output { name: p.name.to_owned(), types: p.types }).collect(),
            was: None,
            is_unsafe: false,
            inputs: vec![Vec::new(); description.inputs.len()],
            given: vec![true; description.inputs.len()],
        });
        self.stages.push(stage);
        self.inputs.push(inputs);
        self.outputs.push(outputs);
        id
    }
}

struct ProbeSink(Probe);

impl Sink for ProbeSink {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(ProbeIntake(self.0.clone()))
    }

    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        Ok(())
    }
}

struct ProbeIntake(Probe);

impl Intake for ProbeIntake {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>) {
        let mut seen = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(records.drain(..).map(|record| (now, record)));
    }
}

struct InjectionSource {
    entrance: Arc<OnceLock<(Arc<dyn Injector>, usize)>>,
    workers: usize,
}

impl Source for InjectionSource {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        self.entrance.get_or_init(|| (injector, self.workers));
        Ok(())
    }
}
