//! Stages that would wait for each other.

use std::collections::HashMap;

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::resolve::{Node, NodeId};
use crate::stages::{Edge, EdgeKind, Stage};

/// A wire from one stage into another that holds its sender when it is full.
struct Holding<'a> {
    from: NodeId,
    to: NodeId,
    span: &'a Span,
}

/// Refuses wires that hold in both directions between two stages. The global stage never holds anybody,
/// so there are no longer cycles.
pub(super) fn check(
    nodes: &[Node],
    stages: &[Stage],
    edges: &[Edge],
    diagnostics: &mut Diagnostics,
) {
    let wires = nodes.iter().flat_map(|node| node.inputs.iter().flatten());
    let mut holding: HashMap<(Stage, Stage), Holding<'_>> = HashMap::new();
    // The edges are in the order of the wires.
    for (edge, wire) in edges.iter().zip(wires) {
        if edge.kind != EdgeKind::Stage || edge.stage.is_lossy() {
            continue;
        }
        let between = (stages[edge.from.0], edge.stage);
        if let Some(back) = holding.get(&(between.1, between.0)) {
            report(nodes, between, back, (edge.from.0, edge.to.0, &wire.span), diagnostics);
        }
        let (from, to) = (edge.from.0, edge.to.0);
        holding.entry(between).or_insert(Holding { from, to, span: &wire.span });
    }
}

fn report(
    nodes: &[Node],
    (one, other): (Stage, Stage),
    back: &Holding<'_>,
    (from, to, span): (NodeId, NodeId, &Span),
    diagnostics: &mut Diagnostics,
) {
    let name = |id: NodeId| nodes[id].name.as_str();
    let message = format!(
        "the {} stage and the {} stage would wait for each other: {} -> {}, and {} -> {}",
        one.name(),
        other.name(),
        name(from),
        name(to),
        name(back.from),
        name(back.to)
    );
    diagnostics
        .error(Code::StageCycle, span, message, format!("from the {} stage", one.name()))
        .also(back.span, format!("from the {} stage", other.name()))
        .help("keep the records of one direction in their own stage, for example with a node for each stage");
}
