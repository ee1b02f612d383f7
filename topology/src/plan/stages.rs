//! The stage of each node and the wires between them.

use imflow_kind::{Family, Key, Shape};
use imflow_proto::RecordType;

use super::{Edge, EdgeKind, Stage};
use crate::resolve::{Node, NodeId};

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
