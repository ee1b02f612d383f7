//! Where each node runs and how each wire is carried.
//!
//! The *conversation* stage is the message path: one single-worker timely instance for each worker,
//! partitioned by conversation. The *user* stage is one instance for presence, devices and reads; the
//! *global* stage is one for groups that cut across both. Wires inside an instance are timely edges; all
//! others re-enter through an instance's ingest.

use imflow_kind::{Family, Key, Shape};
use imflow_proto::RecordType;

use crate::resolve::{Node, NodeId};

/// A set of timely instances with one partitioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Conversation,
    User,
    Global,
}

impl Stage {
    /// All, in the order of their instances.
    pub const ALL: [Self; 3] = [Self::Conversation, Self::User, Self::Global];

    /// As in `imflow graph`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::User => "user",
            Self::Global => "global",
        }
    }

    /// Whether a full edge into this stage drops records, and counts them, instead of holding its
    /// sender: the message path never waits for an analyst.
    pub fn is_lossy(self) -> bool {
        self == Self::Global
    }

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
    /// From an operator in another stage: a bounded queue. When it is full the sender's stage stops to
    /// drain its ingest, or drops ([`Stage::is_lossy`]).
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

/// The field by which the conversation stage is partitioned.
const PARTITION_FIELD: &str = "conversationId";

/// The stage of each node; `order` has producers first.
pub(crate) fn assign(
    nodes: &[Node],
    shapes: &[Vec<Option<Shape>>],
    order: &[NodeId],
) -> Vec<Stage> {
    let mut stages = vec![Stage::Conversation; nodes.len()];
    for &id in order {
        let node = &nodes[id];
        stages[id] = match node.kind.description.key {
            Key::Conversation => Stage::Conversation,
            Key::User => Stage::User,
            Key::Inherit => inherited(node, nodes, shapes, &stages),
            Key::Grouped(option) => {
                grouped(node, option, inherited(node, nodes, shapes, &stages), shapes)
            }
        };
    }
    stages
}

/// The stage that a node's first wire comes from.
fn inherited(
    node: &Node,
    nodes: &[Node],
    shapes: &[Vec<Option<Shape>>],
    stages: &[Stage],
) -> Stage {
    let declared = || node.kind.description.inputs.first()?.types.first().copied();
    match node.inputs.iter().flatten().next() {
        Some(wire) if nodes[wire.from.0].kind.description.family == Family::Operator => {
            stages[wire.from.0]
        }
        Some(wire) => shapes[wire.from.0][wire.from.1]
            .as_ref()
            .map_or(Stage::Conversation, |shape| Stage::of(shape.record_type())),
        None => declared().map_or(Stage::Conversation, Stage::of),
    }
}

/// Groups that are finer than the partitions stay where they are. A row's field may be anything that the
/// file has put under that name, so only native records count.
fn grouped(node: &Node, option: &str, stage: Stage, shapes: &[Vec<Option<Shape>>]) -> Stage {
    let mut wires = node.inputs.iter().flatten();
    let native =
        wires.all(|wire| matches!(shapes[wire.from.0][wire.from.1], Some(Shape::Native(_))));
    let by_partition = node.options.texts(option).iter().any(|field| field == PARTITION_FIELD);
    match stage {
        Stage::Conversation if native && by_partition => stage,
        Stage::Conversation => Stage::Global,
        // One instance owns everything there.
        Stage::User | Stage::Global => stage,
    }
}

/// One edge for each wire.
pub(crate) fn edges(nodes: &[Node], shapes: &[Vec<Option<Shape>>], stages: &[Stage]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (id, node) in nodes.iter().enumerate() {
        for (port, wires) in node.inputs.iter().enumerate() {
            for wire in wires {
                let shape = shapes[wire.from.0][wire.from.1].as_ref();
                let record = shape.expect("every wire of a checked graph has a type").record_type();
                edges.push(edge(wire.from, (id, port), record, nodes, stages));
            }
        }
    }
    edges
}

fn edge(
    from: (NodeId, usize),
    to: (NodeId, usize),
    record: RecordType,
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
    let kind = match (stage == stages[from.0], consumer.inputs[to.1].feedback) {
        (false, _) => EdgeKind::Stage,
        (true, true) => EdgeKind::Feedback,
        (true, false) => EdgeKind::Direct,
    };
    Edge { from, to, kind, record, stage }
}
