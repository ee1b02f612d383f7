//! A plan to the timely dataflow of one instance. The only room of the compiler that names timely.

pub(crate) mod ingest;
mod levels;
mod routes;
mod section;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use imflow_kind::{Form, Intake, Operator, OperatorContext, StartError, Stream};
use timely::dataflow::Scope;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::operator::empty;

use crate::plan::{Edge, EdgeKind, Plan, Stage, is_collection};
use crate::resolve::NodeId;
use ingest::Ingest;
use levels::Levels;
use routes::{Placed, Routes};
use section::{Inlets, SectionState};

/// A running instance's handles into its dataflow; all of them stay on its thread.
pub(crate) struct Rendered {
    pub ingest: Rc<RefCell<Ingest>>,
    /// The operators that are state machines, with their names, for recovery and snapshots.
    pub operators: Vec<(String, SharedOperator)>,
    /// The hands of sinks, asked whether they are full.
    intakes: Vec<SharedIntake>,
    sections: Vec<Rc<SectionState>>,
}

pub(crate) type SharedOperator = Rc<RefCell<Box<dyn Operator>>>;

pub(crate) type SharedIntake = Rc<RefCell<Box<dyn Intake>>>;

impl Rendered {
    /// Whether a sink wants nothing new for now.
    pub fn is_full(&self) -> bool {
        self.intakes.iter().any(|intake| intake.borrow().is_full())
    }

    /// Whether every node has processed everything before `time`.
    pub fn is_done_before(&self, time: u64) -> bool {
        self.sections.iter().all(|section| section.frontier.get() >= time)
    }

    /// The earliest deadline of all operators, or `u64::MAX`.
    pub fn next_deadline(&self) -> u64 {
        self.sections.iter().map(|section| section.deadline.get()).min().unwrap_or(u64::MAX)
    }
}

/// Makes the parts of the graph that are not operators.
pub(crate) trait Parts {
    /// The context for an operator or a collection.
    fn context(&self, node: NodeId) -> OperatorContext<'_>;
    /// An operator that has just been built, as the instance wants it.
    fn operator(&self, node: NodeId, operator: Box<dyn Operator>) -> Box<dyn Operator>;
    /// A sink's hand in this instance.
    fn intake(&self, node: NodeId) -> Box<dyn Intake>;
    /// Where records leave the instance for its own ingest or another stage.
    fn exit(&self, edge: &Edge) -> Box<dyn Intake>;
}

/// Builds the dataflow of `stage` in `scope`.
pub(crate) fn render<'s>(
    scope: Scope<'s, u64>,
    plan: &Plan,
    stage: Stage,
    parts: &dyn Parts,
) -> Result<Rendered, StartError> {
    let levels = Levels::new(plan, stage);
    let mut routes = Routes::new(plan, stage, &levels);
    let Placed { operators, intakes } = routes.place(parts)?;
    let doors = routes.doors();
    let fed = doors.fed.clone();
    let (ingest, entered) = ingest::build(scope, doors);
    let mut rendered = Rendered { ingest, operators, intakes, sections: Vec::new() };
    let mut collected = Collected { plan, stage, streams: HashMap::new() };
    collected.streams.extend(
        (plan.entries(stage).into_iter().zip(entered.collections))
            .filter_map(|(entry, stream)| Some((entry, stream?))),
    );
    let mut between = HashMap::new();
    for (level, from_ingest) in entered.sections.into_iter().enumerate() {
        let (section, outlets) = routes.section(level);
        let inlets = Inlets {
            ingest: from_ingest,
            sections: (0..level).filter_map(|from| between.remove(&(from, level))).collect(),
            collections: (routes.collections_into(level).into_iter())
                .map(|(from, wire)| (wire, collected.streams[&from].clone()))
                .collect(),
            fed: fed.clone(),
        };
        let name = format!("section {level}");
        let (state, streams) = section.build(&name, scope, inlets, outlets.counts());
        rendered.sections.push(state);
        between.extend(outlets.sections.into_iter().map(|to| (level, to)).zip(streams.sections));
        collected.streams.extend(outlets.collections.into_iter().zip(streams.collections));
        let here = |id: &&NodeId| {
            plan.stages[**id] == stage
                && is_collection(&plan.nodes[**id])
                && levels.of(**id) == level
        };
        for id in plan.order.iter().filter(here) {
            collected.build(*id, scope, parts)?;
        }
    }
    Ok(rendered)
}

/// The streams that collections take and give, by the port that sends on them.
struct Collected<'a, 's> {
    plan: &'a Plan,
    stage: Stage,
    streams: HashMap<(NodeId, usize), Stream<'s>>,
}

impl<'s> Collected<'_, 's> {
    fn build(
        &mut self,
        id: NodeId,
        scope: Scope<'s, u64>,
        parts: &dyn Parts,
    ) -> Result<(), StartError> {
        let node = &self.plan.nodes[id];
        let Form::Collection(build) = &node.kind.form else { return Ok(()) };
        let mut by_port: Vec<Vec<Stream<'s>>> = node.inputs.iter().map(|_| Vec::new()).collect();
        for edge in self.plan.inputs_of(id, self.stage) {
            by_port[edge.to.1].push(self.streams[&edge.from].clone());
        }
        let input = |streams: Vec<Stream<'s>>| match streams.is_empty() {
            true => empty(scope),
            false => scope.concatenate(streams),
        };
        let outputs = build(&parts.context(id), scope, by_port.into_iter().map(input).collect())?;
        self.streams.extend(outputs.into_iter().enumerate().map(|(port, s)| ((id, port), s)));
        Ok(())
    }
}

/// Whether a wire comes from a node of the same instance and the same epoch.
fn is_direct(edge: &Edge) -> bool {
    edge.kind == EdgeKind::Direct
}
