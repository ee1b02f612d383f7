//! Where each node runs and how each wire is carried.
//!
//! The *conversation* stage is the message path: one single-worker timely instance for each worker,
//! partitioned by conversation. The *user* stage is one instance for presence, devices and reads. Wires
//! inside an instance are timely edges; all others re-enter through an instance's ingest.

use imflow_kind::{Family, Form, Key, RoleName};
use imflow_proto::RecordType;

use crate::check::Checked;
use crate::resolve::{Listener, Node, NodeId, Service};

/// A set of timely instances with one partitioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Conversation,
    User,
}

impl Stage {
    /// Both, in the order of their instances.
    pub const ALL: [Self; 2] = [Self::Conversation, Self::User];

    /// The stage of records of this type when nothing else decides.
    pub fn of(record: RecordType) -> Self {
        match record {
            RecordType::SessionEvent
            | RecordType::Online
            | RecordType::Subscription
            | RecordType::Presence
            | RecordType::Query => Self::User,
            _ => Self::Conversation,
        }
    }
}

/// How a wire is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// A timely edge inside an instance.
    Direct,
    /// From a source, or from a sink's completions: injected at ingest.
    Entry,
    /// From downstream in the same instance: re-enters as a completion in a later epoch.
    Feedback,
    /// From an operator in another stage: a bounded queue; when it is full the sender's stage stops to
    /// drain its ingest.
    Stage,
}

/// One wire.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: (NodeId, usize),
    pub to: (NodeId, usize),
    pub kind: EdgeKind,
    pub record: RecordType,
    /// The stage in which the consumer takes it.
    pub stage: Stage,
}

/// A graph that can run.
pub struct Plan {
    pub service: Service,
    pub listeners: Vec<Listener>,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Operators, producers first.
    pub order: Vec<NodeId>,
    /// The stage of each node; sinks that inherit run in the stage of each wire.
    pub stages: Vec<Stage>,
    /// The node that the process recovers from.
    pub journal: Option<NodeId>,
}

impl Plan {
    /// The wires into a node, in one stage.
    pub fn inputs_of(&self, node: NodeId, stage: Stage) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |e| e.to.0 == node && e.stage == stage)
    }

    /// The number of instances: the conversation workers, and one for the user stage.
    pub fn instances(&self) -> usize {
        self.service.workers + 1
    }

    /// The stage of an instance.
    pub fn stage_of_instance(&self, instance: usize) -> Stage {
        if instance < self.service.workers { Stage::Conversation } else { Stage::User }
    }

    /// The instances of a stage.
    pub fn instances_of(&self, stage: Stage) -> std::ops::Range<usize> {
        match stage {
            Stage::Conversation => 0..self.service.workers,
            Stage::User => self.service.workers..self.service.workers + 1,
        }
    }
}

pub(crate) fn plan(checked: Checked) -> Plan {
    let Checked { service, listeners, nodes, types, order } = checked;
    let mut stages = vec![Stage::Conversation; nodes.len()];
    for &id in &order {
        stages[id] = stage_of(&nodes[id], &nodes, &types, &stages);
    }
    let mut edges = Vec::new();
    for (id, node) in nodes.iter().enumerate() {
        for (port, wires) in node.inputs.iter().enumerate() {
            for wire in wires {
                let record = types[wire.from.0][wire.from.1]
                    .expect("every wire of a checked graph has a type");
                let feedback = node.kind.description.inputs[port].feedback;
                edges.push(edge(wire.from, (id, port), record, feedback, &nodes, &stages));
            }
        }
    }
    let journal =
        nodes.iter().position(|n| n.kind.description.provides.contains(&RoleName::Journal));
    let order = order
        .into_iter()
        .filter(|id| nodes[*id].kind.description.family == Family::Operator)
        .collect();
    Plan { service, listeners, nodes, edges, order, stages, journal }
}

fn stage_of(
    node: &Node,
    nodes: &[Node],
    types: &[Vec<Option<RecordType>>],
    stages: &[Stage],
) -> Stage {
    let description = node.kind.description;
    match description.key {
        Key::Conversation => Stage::Conversation,
        Key::User => Stage::User,
        Key::Inherit => {
            let declared = || description.inputs.first().and_then(|p| p.types.first()).copied();
            match node.inputs.iter().flatten().next() {
                Some(wire) if nodes[wire.from.0].kind.description.family == Family::Operator => {
                    stages[wire.from.0]
                }
                Some(wire) => {
                    types[wire.from.0][wire.from.1].map_or(Stage::Conversation, Stage::of)
                }
                None => declared().map_or(Stage::Conversation, Stage::of),
            }
        }
    }
}

fn edge(
    from: (NodeId, usize),
    to: (NodeId, usize),
    record: RecordType,
    feedback: bool,
    nodes: &[Node],
    stages: &[Stage],
) -> Edge {
    let producer = &nodes[from.0].kind.description;
    let consumer = &nodes[to.0].kind.description;
    let inherits = consumer.family == Family::Sink && consumer.key == Key::Inherit;
    if producer.family != Family::Operator {
        // A sink's completions go back to where the sink took the record from.
        let origin =
            if producer.family == Family::Sink { stages[from.0] } else { Stage::of(record) };
        let stage = if inherits { origin } else { stages[to.0] };
        return Edge { from, to, kind: EdgeKind::Entry, record, stage };
    }
    let stage = if inherits { stages[from.0] } else { stages[to.0] };
    let kind = match (stage == stages[from.0], feedback) {
        (false, _) => EdgeKind::Stage,
        (true, true) => EdgeKind::Feedback,
        (true, false) => EdgeKind::Direct,
    };
    Edge { from, to, kind, record, stage }
}

/// Whether a node is written in differential.
pub(crate) fn is_collection(node: &Node) -> bool {
    matches!(node.kind.form, Form::Collection(_))
}

impl Plan {
    /// What enters a stage through its ingest: the output ports of other nodes, each once.
    pub fn entries(&self, stage: Stage) -> Vec<(NodeId, usize)> {
        let mut entries = Vec::new();
        for edge in self.edges.iter().filter(|e| e.stage == stage && e.kind != EdgeKind::Direct) {
            if !entries.contains(&edge.from) {
                entries.push(edge.from);
            }
        }
        entries
    }

    /// Output ports that leave an instance: one edge for each port and stage reached.
    pub fn exits(&self) -> Vec<Edge> {
        let mut exits: Vec<Edge> = Vec::new();
        for edge in
            self.edges.iter().filter(|e| matches!(e.kind, EdgeKind::Feedback | EdgeKind::Stage))
        {
            if !exits.iter().any(|e| e.from == edge.from && e.stage == edge.stage) {
                exits.push(*edge);
            }
        }
        exits
    }
}
