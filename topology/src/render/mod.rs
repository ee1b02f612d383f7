//! A plan to the timely dataflow of one instance. The only room of the compiler that names timely.

pub(crate) mod ingest;
pub(crate) mod shell;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use imflow_kind::{Batches, Form, Intake, Operator, OperatorContext, StartError, Stream};
use timely::dataflow::Scope;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::operator::empty;

use crate::plan::{Edge, EdgeKind, Plan, Stage, is_collection};
use crate::resolve::NodeId;
use ingest::Ingest;
use shell::Shell;

/// A running instance's handles into its dataflow; all of them stay on its thread.
pub(crate) struct Rendered {
    pub ingest: Rc<RefCell<Ingest>>,
    /// The operators that are state machines, with their names, for recovery and snapshots.
    pub operators: Vec<(String, SharedOperator)>,
    pub shells: Vec<Rc<ShellState>>,
}

pub(crate) type SharedOperator = Rc<RefCell<Box<dyn Operator>>>;

/// What a shell tells the instance's loop.
#[derive(Default)]
pub(crate) struct ShellState {
    /// The least time that may still arrive; `u64::MAX` once nothing can.
    pub frontier: Cell<u64>,
    /// The operator's next deadline, or `u64::MAX`.
    pub deadline: Cell<u64>,
}

impl Rendered {
    /// Whether every node has processed everything before `time`.
    pub fn is_done_before(&self, time: u64) -> bool {
        self.shells.iter().all(|shell| shell.frontier.get() >= time)
    }

    /// The earliest deadline of all operators.
    pub fn next_deadline(&self) -> u64 {
        self.shells.iter().map(|shell| shell.deadline.get()).min().unwrap_or(u64::MAX)
    }
}

/// Makes the parts of the graph that are not operators.
pub(crate) trait Parts {
    /// The context for an operator or a collection.
    fn context(&self, node: NodeId) -> OperatorContext<'_>;
    /// A sink's hand in this instance.
    fn intake(&self, node: NodeId) -> Box<dyn Intake>;
    /// Where records leave the instance for its own ingest or another stage.
    fn exit(&self, edge: &Edge) -> Box<dyn Intake>;
}

type Streams<'s> = HashMap<(NodeId, usize), Stream<'s>>;

/// Builds the dataflow of `stage` in `scope`.
pub(crate) fn render<'s>(
    scope: Scope<'s, u64>,
    plan: &Plan,
    stage: Stage,
    parts: &dyn Parts,
) -> Result<Rendered, StartError> {
    let (ingest, entries) = ingest::build(scope, &plan.entries(stage));
    let entries: Streams<'s> = plan.entries(stage).into_iter().zip(entries).collect();
    let mut direct: Streams<'s> = HashMap::new();
    let mut rendered = Rendered { ingest, operators: Vec::new(), shells: Vec::new() };
    let mut late = HashSet::new();
    for &id in plan.order.iter().filter(|id| plan.stages[**id] == stage) {
        let node = &plan.nodes[id];
        let inputs = streams_into(plan, id, stage, &entries, &direct);
        let context = parts.context(id);
        let outputs = match &node.kind.form {
            Form::Collection(build) => {
                let inputs = by_port(scope, node.inputs.len(), inputs);
                build(&context, scope, inputs)?.into_iter().map(Some).collect()
            }
            Form::Operator(build) => {
                let operator: SharedOperator = Rc::new(RefCell::new(build(&context)?));
                rendered.operators.push((node.name.clone(), Rc::clone(&operator)));
                let is_consumed = |port| plan.edges.iter().any(|e| e.from == (id, port));
                let consumed: Vec<bool> = (0..node.outputs.len()).map(is_consumed).collect();
                let shell = Shell {
                    name: &node.name,
                    outputs: &consumed,
                    whole_epochs: late.contains(&id),
                };
                shell.operator(scope, inputs, operator, &mut rendered.shells)
            }
            Form::Source(_) | Form::Sink(_) | Form::Missing { .. } => {
                unreachable!("the order of a plan holds operators only")
            }
        };
        for consumer in plan.edges.iter().filter(|e| e.from.0 == id && e.kind == EdgeKind::Direct) {
            // What comes through a collection comes later within an epoch than what does not.
            if is_collection(node) {
                late.insert(consumer.to.0);
            }
        }
        let streams = outputs.into_iter().enumerate();
        direct.extend(streams.filter_map(|(port, stream)| Some(((id, port), stream?))));
    }
    for (id, node) in
        plan.nodes.iter().enumerate().filter(|(_, n)| matches!(n.kind.form, Form::Sink(_)))
    {
        let inputs = streams_into(plan, id, stage, &entries, &direct);
        if !inputs.is_empty() {
            shell::intake(scope, &node.name, inputs, parts.intake(id), &mut rendered.shells);
        }
    }
    let leaves = |e: &&Edge| {
        matches!(e.kind, EdgeKind::Feedback | EdgeKind::Stage) && plan.stages[e.from.0] == stage
    };
    for edge in plan.exits().iter().filter(leaves) {
        let stream = direct[&edge.from].clone();
        let name = format!("{} leaves", plan.nodes[edge.from.0].name);
        shell::intake(scope, &name, vec![(0, stream)], parts.exit(edge), &mut rendered.shells);
    }
    Ok(rendered)
}

/// The streams into a node: its side ports first, so that within an activation an operator learns facts
/// and outcomes before it sees messages.
fn streams_into<'s>(
    plan: &Plan,
    node: NodeId,
    stage: Stage,
    entries: &Streams<'s>,
    direct: &Streams<'s>,
) -> Vec<(usize, Stream<'s>)> {
    let stream = |edge: &Edge| match edge.kind {
        EdgeKind::Direct => direct[&edge.from].clone(),
        EdgeKind::Entry | EdgeKind::Feedback | EdgeKind::Stage => entries[&edge.from].clone(),
    };
    let mut streams: Vec<_> = plan.inputs_of(node, stage).map(|e| (e.to.1, stream(e))).collect();
    streams.sort_by_key(|(port, _)| std::cmp::Reverse(*port));
    streams
}

fn by_port<'s>(
    scope: Scope<'s, u64>,
    ports: usize,
    inputs: Vec<(usize, Stream<'s>)>,
) -> Vec<Stream<'s>> {
    let mut by_port: Vec<Vec<Stream<'s>>> = (0..ports).map(|_| Vec::new()).collect();
    for (port, stream) in inputs {
        by_port[port].push(stream);
    }
    by_port
        .into_iter()
        .map(|streams| {
            if streams.is_empty() {
                empty::<u64, Batches>(scope)
            } else {
                scope.concatenate(streams)
            }
        })
        .collect()
}
