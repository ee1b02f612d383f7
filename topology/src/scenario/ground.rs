//! The graph that a test stands on: ports by name, and the worlds around its simulated nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::{Outside, Roles};

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span, did_you_mean, quoted};
use crate::plan::Plan;
use crate::resolve::NodeId;

/// A plan and the worlds around its nodes.
pub(super) struct Ground<'a> {
    pub(super) plan: &'a Plan,
    outsides: BTreeMap<NodeId, Arc<dyn Outside>>,
}

/// Which ports a name may mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Inputs,
    Outputs,
}

impl<'a> Ground<'a> {
    /// The ground of a plan that was started with these roles.
    pub(super) fn new(plan: &'a Plan, roles: &Roles) -> Self {
        let outsides = plan.nodes.iter().enumerate().filter_map(|(id, node)| {
            roles.find::<Arc<dyn Outside>>(&node.name).map(|outside| (id, outside))
        });
        Self { plan, outsides: outsides.collect() }
    }

    /// The world around a node.
    pub(super) fn outside(&self, node: NodeId) -> Option<&Arc<dyn Outside>> {
        self.outsides.get(&node)
    }

    /// A node of the file.
    pub(super) fn node(
        &self,
        name: &str,
        place: &Span,
        diagnostics: &mut Diagnostics,
    ) -> Option<NodeId> {
        let found = self.plan.nodes.iter().position(|node| node.name == name);
        if found.is_none() {
            let known: Vec<_> = self.plan.nodes.iter().map(|node| node.name.as_str()).collect();
            let help = did_you_mean(name, known.iter().copied())
                .unwrap_or_else(|| format!("the nodes are {}", quoted(known)));
            let message = format!("the topology has no node `{name}`");
            diagnostics.error(Code::UnknownInput, place, message, "no such node").help(help);
        }
        found
    }

    /// The port that `NODE` or `NODE.PORT` means.
    pub(super) fn port(
        &self,
        text: &str,
        side: Side,
        place: &Span,
        diagnostics: &mut Diagnostics,
    ) -> Option<(NodeId, usize)> {
        let (name, port) = text.split_once('.').map_or((text, None), |(n, p)| (n, Some(p)));
        let node = self.node(name, place, diagnostics)?;
        let ports = self.ports(node, side);
        let index = match port {
            None => (!ports.is_empty()).then_some(0),
            Some(port) => ports.iter().position(|known| *known == port),
        };
        if index.is_none() {
            let word = if side == Side::Inputs { "input" } else { "output" };
            let help = port.and_then(|port| did_you_mean(port, ports.iter().copied()));
            let help = help.unwrap_or_else(|| {
                format!("its {word} ports are {}", quoted(ports.iter().copied()))
            });
            let message = match port {
                Some(port) => format!("`{name}` has no {word} port `{port}`"),
                None => format!("`{name}` has no {word} port"),
            };
            diagnostics.error(Code::UnknownPort, place, message, "no such port").help(help);
        }
        index.map(|port| (node, port))
    }

    fn ports(&self, node: NodeId, side: Side) -> Vec<&str> {
        let node = &self.plan.nodes[node];
        match side {
            Side::Inputs => node.kind.description.inputs.iter().map(|port| port.name).collect(),
            Side::Outputs => node.outputs.iter().map(|port| port.name.as_str()).collect(),
        }
    }
}
