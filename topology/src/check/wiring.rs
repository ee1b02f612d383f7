//! The wires by producer, and which outputs owe replies.

use imflow_kind::{Debt, Family, Port, Shape};
use imflow_proto::RecordType;

use crate::diagnostic::Span;
use crate::resolve::{Node, NodeId};

/// A wire seen from its producer.
#[derive(Clone, Copy)]
pub(super) struct Out<'a> {
    pub to: NodeId,
    /// The input port.
    pub port: &'static Port,
    pub span: &'a Span,
}

/// A graph whose wires are sound, from producers to consumers.
pub(super) struct Wiring<'a> {
    pub nodes: &'a [Node],
    shapes: &'a [Vec<Option<Shape>>],
    /// By node and output port.
    outs: Vec<Vec<Vec<Out<'a>>>>,
}

impl<'a> Wiring<'a> {
    pub fn new(nodes: &'a [Node], shapes: &'a [Vec<Option<Shape>>]) -> Self {
        let mut outs: Vec<Vec<Vec<Out<'a>>>> =
            nodes.iter().map(|node| vec![Vec::new(); node.outputs.len()]).collect();
        for (to, node) in nodes.iter().enumerate() {
            for (port, wires) in node.kind.description.inputs.iter().zip(&node.inputs) {
                for wire in wires {
                    let out = Out { to, port, span: &wire.span };
                    outs[wire.from.0][wire.from.1].push(out);
                }
            }
        }
        Self { nodes, shapes, outs }
    }

    /// The wires from an output.
    pub fn outs(&self, node: NodeId, output: usize) -> &[Out<'a>] {
        &self.outs[node][output]
    }

    /// The outputs of a node whose records owe a reply.
    pub fn owing(&self, node: NodeId) -> impl Iterator<Item = usize> {
        let shapes = self.shapes[node].iter().enumerate();
        let owing = move |shape: &Shape| {
            let record = shape.record_type();
            record.owes_reply() && !self.lets_nothing_pass(node, record)
        };
        shapes.filter(move |(_, shape)| shape.as_ref().is_some_and(owing)).map(|(output, _)| output)
    }

    /// Whether a node lets records of this type pass by an input of its own for them, which has no wire.
    fn lets_nothing_pass(&self, node: NodeId, record: RecordType) -> bool {
        let node = &self.nodes[node];
        let ports = node.kind.description.inputs.iter().zip(&node.inputs);
        let mut own = ports.filter(|(port, _)| port.types == [record]).peekable();
        own.peek().is_some() && own.all(|(_, wires)| wires.is_empty())
    }

    /// What an output carries, for messages.
    pub fn carries(&self, node: NodeId, output: usize) -> String {
        self.shapes[node][output].as_ref().map_or_else(String::new, Shape::to_string)
    }

    /// Whether a wire hands the debt to the consumer's own outputs.
    pub fn passes(&self, out: &Out<'_>) -> bool {
        out.port.reply == Debt::Passed
            && self.nodes[out.to].kind.description.family == Family::Operator
    }
}
