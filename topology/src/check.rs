//! Edges, references and options of a resolved graph. A `Checked` graph can be planned and run.

use imflow_kind::{Family, OptType};
use imflow_proto::RecordType;

use crate::Registry;
use crate::diagnostic::{Diagnostics, did_you_mean, quoted};
use crate::resolve::{Listener, Node, NodeId, Resolved, Service, family_word};
use crate::values::role_phrase;

/// A graph whose every wire carries what its ends expect.
pub struct Checked {
    pub service: Service,
    pub listeners: Vec<Listener>,
    pub nodes: Vec<Node>,
    /// The record type of each output port of each node.
    pub types: Vec<Vec<Option<RecordType>>>,
    /// Nodes such that every producer comes before its consumers, feedback and sink outputs aside.
    pub order: Vec<NodeId>,
}

pub(crate) fn check(
    resolved: Resolved,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) -> Checked {
    let Resolved { service, listeners, nodes } = resolved;
    check_listeners(&listeners, diagnostics);
    for node in &nodes {
        check_required(node, &nodes, diagnostics);
        check_references(node, &nodes, &listeners, diagnostics);
    }
    let order = order(&nodes, diagnostics);
    let mut types: Vec<Vec<Option<RecordType>>> = nodes
        .iter()
        .map(|n| n.outputs().iter().map(|p| p.types.first().copied()).collect())
        .collect();
    for &id in &order {
        check_types(id, &nodes, &mut types, registry, diagnostics);
    }
    Checked { service, listeners, nodes, types, order }
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

fn check_required(node: &Node, nodes: &[Node], diagnostics: &mut Diagnostics) {
    for (port, given) in node.kind.description.inputs.iter().zip(&node.given) {
        if !port.required || *given {
            continue;
        }
        let fits = |n: &&Node| n.name != node.name;
        let producers =
            nodes.iter().filter(fits).flat_map(|n| {
                let matching = n
                    .outputs()
                    .iter()
                    .enumerate()
                    .filter(|(_, p)| p.types.iter().any(|t| port.types.contains(t)));
                matching.map(|(index, p)| {
                    if index == 0 { n.name.clone() } else { format!("{}.{}", n.name, p.name) }
                })
            });
        let producers: Vec<_> = producers.collect();
        let help =
            format!("what carries that type: {}", quoted(producers.iter().map(String::as_str)));
        let message = format!(
            "{} `{}` has no input for its port `{}` ({})",
            family_word(node.kind.description.family),
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
        let span = node.option_spans.get(option.name).unwrap_or(&node.span);
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
        .help("only an input port that is declared as feedback may be fed from downstream; `imflow list` marks them");
}

fn check_types(
    id: NodeId,
    nodes: &[Node],
    types: &mut [Vec<Option<RecordType>>],
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) {
    let node = &nodes[id];
    let description = node.kind.description;
    for (port, wires) in description.inputs.iter().zip(&node.inputs) {
        for wire in wires {
            let (from, output) = wire.from;
            let Some(carried) = types[from][output] else { continue };
            if !port.types.is_empty() && !port.types.contains(&carried) {
                let producer = &nodes[from];
                let message = format!(
                    "`{}.{}` carries {carried:?}, but port `{}` of `{}` takes {}",
                    producer.name,
                    producer.outputs()[output].name,
                    port.name,
                    node.name,
                    type_names(port.types)
                );
                diagnostics
                    .error("E011", &wire.span, message, format!("a {carried:?} here"))
                    .also(&producer.span, format!("`{}` is defined here", producer.name));
            }
        }
    }
    let Some(main) = node.inputs.first() else { return };
    let carried: Vec<_> = main.iter().filter_map(|w| types[w.from.0][w.from.1]).collect();
    let generic = description.inputs[0].types.is_empty();
    if generic && let Some(other) = carried.iter().position(|t| *t != carried[0]) {
        let message = format!(
            "the inputs of `{}` carry {:?} and {:?}",
            node.name, carried[0], carried[other]
        );
        diagnostics.error(
            "E011",
            &main[other].span,
            message,
            "another record type than the first input's",
        );
    }
    for (port, slot) in description.outputs.iter().zip(&mut types[id]) {
        if port.types.is_empty() {
            *slot = carried.first().copied();
        }
    }
    if let Some(record) = carried.first() {
        check_predicates(node, *record, registry, diagnostics);
    }
}

fn check_predicates(
    node: &Node,
    record: RecordType,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) {
    for option in node.kind.description.options.iter().filter(|o| o.kind == OptType::Predicate) {
        let Some(imflow_kind::Value::Text(source)) = node.options.get(option.name) else {
            continue;
        };
        let Err((offset, problem)) = (registry.check_predicate)(record, source) else { continue };
        let mut span = node.option_spans.get(option.name).unwrap_or(&node.span).clone();
        // The place inside the text, if the file spells it without escapes.
        let text = &diagnostics.sources.text(span.source)[span.range.clone()];
        if let Some(at) = text.find(source.as_str()) {
            let start = span.range.start + at + offset.min(source.len());
            span.range = start..(start + 1).min(span.range.end);
        }
        let message = format!(
            "option `{}` of `{}` is not a predicate on {record:?}: {problem}",
            option.name, node.name
        );
        diagnostics.error("E017", &span, message, "here");
    }
}
