//! Splits global nodes that can be: each worker condenses what it sees, the global stage merges.
//!
//! Without this every record would cross from the message path to the global stage, where a full edge
//! drops records; with it only what the groups of a worker add up to does.

use imflow_kind::{Form, Part};
use imflow_proto::RecordType;

use super::{Edge, EdgeKind, Plan, Stage};
use crate::resolve::{NodeId, Output};

pub(super) fn split(plan: &mut Plan) {
    let mut into: Vec<Vec<usize>> = vec![Vec::new(); plan.nodes.len()];
    for (index, edge) in plan.edges.iter().enumerate() {
        into[edge.to.0].push(index);
    }
    for id in plan.order.clone() {
        let from_path = |index: &usize| origin(plan, &plan.edges[*index]) == Stage::Conversation;
        if plan.nodes[id].kind.splits
            && plan.stages[id] == Stage::Global
            && into[id].iter().all(from_path)
        {
            split_node(plan, id, &into[id]);
        }
    }
}

/// The stage in which the records of a wire come up.
fn origin(plan: &Plan, edge: &Edge) -> Stage {
    match plan.nodes[edge.from.0].kind.form {
        Form::Source(_) => Stage::of(edge.record),
        _ => plan.stages[edge.from.0],
    }
}

/// The node itself becomes the merging part, so that its name and its outputs stay what they are.
fn split_node(plan: &mut Plan, id: NodeId, into: &[usize]) {
    let local = plan.nodes.len();
    let mut node = plan.nodes[id].clone();
    node.name += ".local"; // no name of the file holds a dot
    node.part = Part::Local;
    node.outputs = vec![Output { name: "partials".to_owned(), types: &[RecordType::Partial] }];
    plan.nodes.push(node);
    plan.stages.push(Stage::Conversation);
    plan.inputs.push(plan.inputs[id].clone());
    plan.outputs.push(plan.outputs[id].clone());
    plan.nodes[id].part = Part::Merge;
    for &index in into {
        let from_operator = !matches!(
            plan.nodes[plan.edges[index].from.0].kind.form,
            Form::Source(_) | Form::Sink(_)
        );
        let edge = &mut plan.edges[index];
        edge.to.0 = local;
        edge.stage = Stage::Conversation;
        edge.kind = if from_operator { EdgeKind::Direct } else { EdgeKind::Entry };
    }
    let (kind, record, stage) = (EdgeKind::Stage, RecordType::Partial, Stage::Global);
    plan.edges.push(Edge { from: (local, 0), to: (id, 0), kind, record, stage });
    let at = plan.order.iter().position(|other| *other == id).expect("it is an operator");
    plan.order.insert(at, local);
}
