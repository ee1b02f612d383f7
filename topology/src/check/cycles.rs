//! The order of the nodes, and the cycles that forbid one.

use imflow_kind::Family;

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::resolve::{Node, NodeId};

/// A wire that stays inside the dataflow: from an operator, into anything. What a sink emits, it emits
/// later, so sinks end a path.
type Inner<'a> = (NodeId, &'a Span);

fn inner_wires<'a>(node: &'a Node, nodes: &[Node]) -> Vec<Inner<'a>> {
    let ports = node.kind.description.inputs.iter().zip(&node.inputs);
    let wires = ports.filter(|(port, _)| !port.feedback).flat_map(|(_, wires)| wires);
    wires
        .map(|wire| (wire.from.0, &wire.span))
        .filter(|(id, _)| nodes[*id].kind.description.family == Family::Operator)
        .collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Producers before consumers. Every cycle is reported once, by the wire that closes it.
pub(super) fn order(nodes: &[Node], diagnostics: &mut Diagnostics) -> Vec<NodeId> {
    let producers: Vec<_> = nodes.iter().map(|node| inner_wires(node, nodes)).collect();
    let mut marks = vec![Mark::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    // Depth first with an explicit stack, so that a long chain cannot overflow ours.
    let mut stack: Vec<(NodeId, usize)> = Vec::new();
    for start in 0..nodes.len() {
        if marks[start] == Mark::New {
            marks[start] = Mark::Open;
            stack.push((start, 0));
        }
        while let Some((id, next)) = stack.last_mut() {
            let (id, at) = (*id, *next);
            let Some(&(producer, span)) = producers[id].get(at) else {
                marks[id] = Mark::Done;
                order.push(id);
                stack.pop();
                continue;
            };
            *next += 1;
            match marks[producer] {
                Mark::New => {
                    marks[producer] = Mark::Open;
                    stack.push((producer, 0));
                }
                Mark::Open => report(&stack, producer, span, nodes, diagnostics),
                Mark::Done => {}
            }
        }
    }
    order
}

/// Nodes of a path that are named in a message; a longer one is cut in the middle.
const NAMED: usize = 12;

/// `a -> b -> c`.
pub(super) fn path_text(names: &[&str]) -> String {
    if names.len() <= NAMED {
        return names.join(" -> ");
    }
    let (head, tail) = (&names[..NAMED / 2], &names[names.len() - NAMED / 2..]);
    let cut = names.len() - NAMED;
    format!("{} -> ({cut} more) -> {}", head.join(" -> "), tail.join(" -> "))
}

fn report(
    stack: &[(NodeId, usize)],
    back_to: NodeId,
    span: &Span,
    nodes: &[Node],
    diagnostics: &mut Diagnostics,
) {
    let from = stack.iter().position(|(id, _)| *id == back_to).unwrap_or(0);
    // The stack goes from consumers to producers; the path is told as records flow.
    let mut path: Vec<_> =
        stack[from..].iter().rev().map(|(id, _)| nodes[*id].name.as_str()).collect();
    path.insert(0, &nodes[back_to].name);
    let message = format!("a cycle: {}", path_text(&path));
    diagnostics
        .error(Code::Cycle, span, message, "this wire closes it")
        .help("only an input port that is declared as feedback may be fed from downstream; `imflow explain KIND` marks them");
}
