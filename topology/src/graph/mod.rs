//! Pictures of a plan.
//!
//! A [`Picture`] is what all forms draw: nodes in groups, and wires between their ports. Mermaid and DOT leave
//! the layout to others; the terminal and SVG are laid out here.

mod dot;
mod layers;
mod layout;
mod mermaid;
mod order;
mod rails;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use imflow_kind::Family;

use crate::plan::{EdgeKind, Plan, Stage};

/// A plan, reduced to what a picture shows.
pub struct Picture {
    groups: Vec<Group>,
    nodes: Vec<NodeBox>,
    wires: Vec<Wire>,
    /// Whether the record type of each wire is shown.
    types: bool,
}

/// The sources, the sinks, or the operators of a stage. Never empty.
struct Group {
    title: String,
    nodes: Vec<usize>,
}

/// A node. The first port of each side is its main one.
struct NodeBox {
    name: String,
    kind: &'static str,
    summary: &'static str,
    family: Family,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

struct Wire {
    /// Node and output port.
    from: (usize, usize),
    /// Node and input port.
    to: (usize, usize),
    record: String,
    kind: WireKind,
}

/// Why a wire is drawn as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum WireKind {
    /// What happens at once, or enters.
    Flow,
    /// What a sink has made durable, or answers: it re-enters later.
    Completion,
    /// Declared feedback: the way back that is no cycle.
    Feedback,
}

impl WireKind {
    fn is_dotted(self) -> bool {
        self != Self::Flow
    }
}

impl Picture {
    /// The picture of a plan, with or without the record types of its wires.
    pub fn of(plan: &Plan, types: bool) -> Self {
        let nodes = plan.nodes.iter().map(|node| NodeBox {
            name: node.name.clone(),
            kind: node.kind.description.name,
            summary: node.kind.description.summary,
            family: node.kind.description.family,
            inputs: node.kind.description.inputs.iter().map(|port| port.name.to_owned()).collect(),
            outputs: node.outputs.iter().map(|port| port.name.clone()).collect(),
        });
        let wires = plan.edges.iter().map(|edge| Wire {
            from: edge.from,
            to: edge.to,
            record: format!("{:?}", edge.record),
            kind: match (edge.kind, plan.nodes[edge.from.0].kind.description.family) {
                (EdgeKind::Feedback, _) => WireKind::Feedback,
                (_, Family::Sink) => WireKind::Completion,
                _ => WireKind::Flow,
            },
        });
        Self { groups: groups(plan), nodes: nodes.collect(), wires: wires.collect(), types }
    }

    /// What is written on a wire: the output port unless it is the main one, and the type if types are shown.
    fn label(&self, wire: &Wire) -> String {
        self.port_label(&self.nodes[wire.from.0].outputs, wire.from.1, &wire.record)
    }

    fn port_label(&self, ports: &[String], port: usize, record: &str) -> String {
        match (port, self.types) {
            (0, false) => String::new(),
            (0, true) => record.to_owned(),
            (_, false) => ports[port].clone(),
            (_, true) => format!("{}: {record}", ports[port]),
        }
    }

    /// A wire in words: `store.found -> fresh.answers`.
    fn sentence(&self, wire: &Wire) -> String {
        let end = |(node, port): (usize, usize), ports: &[String]| match port {
            0 => self.nodes[node].name.clone(),
            _ => format!("{}.{}", self.nodes[node].name, ports[port]),
        };
        let from = end(wire.from, &self.nodes[wire.from.0].outputs);
        let to = end(wire.to, &self.nodes[wire.to.0].inputs);
        format!("{from} -> {to}")
    }

    /// Which ports of a node have a wire, inputs and outputs.
    fn wired(&self, node: usize) -> (Vec<bool>, Vec<bool>) {
        let mut inputs = vec![false; self.nodes[node].inputs.len()];
        let mut outputs = vec![false; self.nodes[node].outputs.len()];
        for wire in &self.wires {
            if wire.to.0 == node {
                inputs[wire.to.1] = true;
            }
            if wire.from.0 == node {
                outputs[wire.from.1] = true;
            }
        }
        (inputs, outputs)
    }

    /// Identifiers for languages that have words and rules of their own: of the groups, and of the nodes.
    fn identifiers(&self) -> (Vec<String>, Vec<String>) {
        let groups: Vec<_> =
            self.groups.iter().map(|group| group.title.replace(' ', "_")).collect();
        let mut taken: HashSet<String> = groups.iter().cloned().collect();
        let nodes = self.nodes.iter().enumerate().map(|(index, node)| {
            let own = is_plain(&node.name) && !taken.contains(&node.name);
            let id = if own { node.name.clone() } else { format!("node_{index}_") };
            taken.insert(id.clone());
            id
        });
        let nodes = nodes.collect();
        (groups, nodes)
    }
}

/// Sources, the stages with their operators (producers first), sinks.
fn groups(plan: &Plan) -> Vec<Group> {
    let family = |family: Family| {
        let of = |id: &usize| plan.nodes[*id].kind.description.family == family;
        (0..plan.nodes.len()).filter(of).collect()
    };
    let stage = |stage: Stage| Group {
        title: format!("{} stage", stage.name()),
        nodes: plan.order.iter().copied().filter(|id| plan.stages[*id] == stage).collect(),
    };
    let sources = Group { title: "sources".to_owned(), nodes: family(Family::Source) };
    let sinks = Group { title: "sinks".to_owned(), nodes: family(Family::Sink) };
    let all = [sources].into_iter().chain(Stage::ALL.map(stage)).chain([sinks]);
    all.filter(|group| !group.nodes.is_empty()).collect()
}

/// Whether a name is an identifier in Mermaid and in DOT, and no word of theirs.
fn is_plain(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "end",
        "graph",
        "subgraph",
        "flowchart",
        "direction",
        "style",
        "class",
        "classdef",
        "click",
        "linkstyle",
        "node",
        "edge",
    ];
    let lower = name.to_ascii_lowercase();
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !WORDS.contains(&lower.as_str())
        && !["digraph", "strict"].contains(&lower.as_str())
}

/// Text inside XML, and inside Mermaid's labels, which are HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not allowed in XML, not even escaped.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
