//! Edges, references and options of a resolved graph. A `Checked` graph can be planned and run.

mod types;

pub(crate) use types::input_shapes;

use imflow_kind::{Description, Family, OptType, Shape};
use imflow_proto::RecordType;

use crate::diagnostic::{Diagnostics, did_you_mean, quoted};
use crate::resolve::{Listener, Node, NodeId, Resolved, Service};
use crate::values::role_phrase;

/// A graph whose every wire carries what its ends expect.
pub struct Checked {
    pub service: Service,
    pub listeners: Vec<Listener>,
    pub nodes: Vec<Node>,
    /// What each output port of each node carries.
    pub shapes: Vec<Vec<Option<Shape>>>,
    /// Nodes such that every producer comes before its consumers, feedback and sink outputs aside.
    pub order: Vec<NodeId>,
}

pub(crate) fn check(resolved: Resolved, diagnostics: &mut Diagnostics) -> Checked {
    let Resolved { service, listeners, nodes } = resolved;
    check_listeners(&listeners, diagnostics);
    for node in &nodes {
        check_simulated(node, diagnostics);
        check_required(node, &nodes, diagnostics);
        check_references(node, &nodes, &listeners, diagnostics);
    }
    let order = order(&nodes, diagnostics);
    let fixed = |types: &[RecordType]| types.first().map(|record| Shape::Native(*record));
    let mut shapes: Vec<Vec<Option<Shape>>> =
        nodes.iter().map(|n| n.outputs.iter().map(|p| fixed(p.types)).collect()).collect();
    for &id in &order {
        types::check(id, &nodes, &mut shapes, diagnostics);
    }
    Checked { service, listeners, nodes, shapes, order }
}

fn check_listeners(listeners: &[Listener], diagnostics: &mut Diagnostics) {
    for (index, listener) in listeners.iter().enumerate() {
        let taken = listeners[..index]
            .iter()
            .find(|l| l.address == listener.address && l.address.port() != 0);
        if let Some(first) = taken {
            let message =
                format!("listeners `{}` and `{}` want the same address", first.name, listener.name);
            diagnostics
                .error("E014", &listener.span, message, "second use")
                .also(&first.span, "first used here");
        }
    }
}

/// Tests run every source and sink in virtual time, so one that cannot would make the file untestable.
fn check_simulated(node: &Node, diagnostics: &mut Diagnostics) {
    let Description { name, family, .. } = node.kind.description;
    if *family != Family::Operator && node.kind.simulated.is_none() {
        let message = format!("the {} kind `{name}` has no simulated form", family.word());
        diagnostics
            .error("E030", &node.span, message, "cannot run in `imflow test`")
            .help("its author adds one with `Kind::simulated_by`");
    }
}

fn check_required(node: &Node, nodes: &[Node], diagnostics: &mut Diagnostics) {
    for (port, given) in node.kind.description.inputs.iter().zip(&node.given) {
        if !port.required || *given {
            continue;
        }
        let fits = |n: &&Node| n.name != node.name;
        let producers = nodes.iter().filter(fits).flat_map(|n| {
            let carries = |index: &usize| {
                n.outputs[*index].types.iter().any(|record| port.types.contains(record))
            };
            (0..n.outputs.len()).filter(carries).map(|index| n.output_name(index))
        });
        let producers: Vec<_> = producers.collect();
        let help =
            format!("what carries that type: {}", quoted(producers.iter().map(String::as_str)));
        let message = format!(
            "{} `{}` has no input for its port `{}` ({})",
            node.kind.description.family.word(),
            node.name,
            port.name,
            type_names(port.types)
        );
        diagnostics
            .error("E012", &node.span, message, format!("`{}` is not wired here", port.name))
            .help(help);
    }
}

fn type_names(types: &[RecordType]) -> String {
    if types.is_empty() {
        return "any record type".to_owned();
    }
    let names: Vec<_> = types.iter().map(|t| format!("{t:?}")).collect();
    format!("record type {}", names.join(" or "))
}

fn check_references(
    node: &Node,
    nodes: &[Node],
    listeners: &[Listener],
    diagnostics: &mut Diagnostics,
) {
    for option in node.kind.description.options {
        let Some(imflow_kind::Value::Text(name)) = node.options.get(option.name) else { continue };
        let span = node.place_of(option.name);
        match option.kind {
            OptType::Listener if !listeners.iter().any(|l| l.name == *name) => {
                let known = listeners.iter().map(|l| l.name.as_str());
                let help = did_you_mean(name, known)
                    .unwrap_or_else(|| format!("add `[listeners.{name}]` with an `address`"));
                let message =
                    format!("`{}` wants the listener `{name}`, which is not defined", node.name);
                diagnostics.error("E013", span, message, "no such listener").help(help);
            }
            OptType::Reference(role) => {
                let able = nodes.iter().filter(|n| n.kind.description.provides.contains(&role));
                let able: Vec<_> = able.map(|n| n.name.as_str()).collect();
                if !able.contains(&name.as_str()) {
                    let message = format!(
                        "option `{}` of `{}`: `{name}` is not {}",
                        option.name,
                        node.name,
                        role_phrase(role)
                    );
                    let help = did_you_mean(name, able.iter().copied())
                        .unwrap_or_else(|| format!("nodes that are: {}", quoted(able)));
                    diagnostics.error("E013", span, message, "cannot serve here").help(help);
                }
            }
            _ => {}
        }
    }
}

/// Follows wires that stay inside the dataflow: into operators and sinks from operators. What a sink
/// emits, it emits later, so sinks end a path.
fn inner_wires(node: &Node, nodes: &[Node]) -> Vec<NodeId> {
    let ports = node.kind.description.inputs.iter().zip(&node.inputs);
    let wires = ports.filter(|(port, _)| !port.feedback).flat_map(|(_, wires)| wires);
    wires
        .map(|w| w.from.0)
        .filter(|id| nodes[*id].kind.description.family == Family::Operator)
        .collect()
}

fn order(nodes: &[Node], diagnostics: &mut Diagnostics) -> Vec<NodeId> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; nodes.len()];
    let mut order = Vec::new();
    for start in 0..nodes.len() {
        // Depth first with an explicit stack, so that a long chain cannot overflow ours.
        let mut stack = vec![(start, 0)];
        while let Some((id, next)) = stack.pop() {
            if next == 0 {
                if marks[id] != Mark::New {
                    continue;
                }
                marks[id] = Mark::Open;
            }
            let producers = inner_wires(&nodes[id], nodes);
            match producers.get(next) {
                None => {
                    marks[id] = Mark::Done;
                    order.push(id);
                }
                Some(&producer) => {
                    stack.push((id, next + 1));
                    match marks[producer] {
                        Mark::New => stack.push((producer, 0)),
                        Mark::Open => report_cycle(&stack, producer, nodes, diagnostics),
                        Mark::Done => {}
                    }
                }
            }
        }
    }
    order
}

fn report_cycle(
    stack: &[(NodeId, usize)],
    back_to: NodeId,
    nodes: &[Node],
    diagnostics: &mut Diagnostics,
) {
    let from = stack.iter().position(|(id, _)| *id == back_to).unwrap_or(0);
    let mut path: Vec<_> =
        stack[from..].iter().rev().map(|(id, _)| nodes[*id].name.as_str()).collect();
    path.push(path[0]);
    let node = &nodes[stack[stack.len() - 1].0];
    diagnostics
        .error("E015", &node.span, format!("a cycle: {}", path.join(" -> ")), "part of the cycle")
        .help("only an input port that is declared as feedback may be fed from downstream; `imflow explain KIND` marks them");
}
