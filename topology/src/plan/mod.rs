//! A graph that can run: its nodes in their stages, its wires, and how many instances there are.

mod split;

use std::collections::HashSet;

use imflow_kind::{Form, RoleName, Shape};

use crate::check::{Checked, input_shapes};
use crate::resolve::{Listener, Node, NodeId, Service};
pub use crate::stages::{Edge, EdgeKind, Stage};

/// A graph that can run.
pub struct Plan {
    pub service: Service,
    pub listeners: Vec<Listener>,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Operators, producers first.
    pub order: Vec<NodeId>,
    /// The stage of each node; sinks that inherit run in the stage of each wire.
    pub stages: Vec<Stage>,
    /// What the wires into each input port of each node carry, each shape once; both parts of a split node
    /// have those of the whole.
    pub inputs: Vec<Vec<Vec<Shape>>>,
    /// What each output port of each node carries, likewise.
    pub outputs: Vec<Vec<Option<Shape>>>,
    /// The node that the process recovers from.
    pub journal: Option<NodeId>,
}

impl Plan {
    /// The wires into a node, in one stage.
    pub fn inputs_of(&self, node: NodeId, stage: Stage) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |e| e.to.0 == node && e.stage == stage)
    }

    /// The number of instances: the conversation workers, one for the user stage, and one for the global
    /// stage if anything runs there.
    pub fn instances(&self) -> usize {
        let has_global = self.edges.iter().any(|edge| edge.stage == Stage::Global);
        self.service.workers + 1 + usize::from(has_global)
    }

    /// The stage of an instance.
    pub fn stage_of_instance(&self, instance: usize) -> Stage {
        match instance.checked_sub(self.service.workers) {
            None => Stage::Conversation,
            Some(0) => Stage::User,
            Some(_) => Stage::Global,
        }
    }

    /// The instances of a stage; that of the global stage is started only if anything runs there.
    pub fn instances_of(&self, stage: Stage) -> std::ops::Range<usize> {
        let workers = self.service.workers;
        match stage {
            Stage::Conversation => 0..workers,
            Stage::User => workers..workers + 1,
            Stage::Global => workers + 1..workers + 2,
        }
    }
}

pub(crate) fn plan(checked: Checked) -> Plan {
    let Checked { service, listeners, nodes, shapes, order, stages, edges } = checked;
    let inputs: Vec<_> = nodes.iter().map(|node| input_shapes(node, &shapes)).collect();
    let journal =
        nodes.iter().position(|n| n.kind.description.provides.contains(&RoleName::Journal));
    let order = order
        .into_iter()
        .filter(|id| matches!(nodes[*id].kind.form, Form::Operator(_) | Form::Collection(_)))
        .collect();
    let mut plan =
        Plan { service, listeners, nodes, edges, order, stages, inputs, outputs: shapes, journal };
    split::split(&mut plan);
    plan
}

/// Whether a node is written in differential.
pub(crate) fn is_collection(node: &Node) -> bool {
    matches!(node.kind.form, Form::Collection(_))
}

impl Plan {
    /// What enters a stage through its ingest: the output ports of other nodes, each once.
    pub fn entries(&self, stage: Stage) -> Vec<(NodeId, usize)> {
        let mut seen = HashSet::new();
        let into = self.edges.iter().filter(|e| e.stage == stage && e.kind != EdgeKind::Direct);
        into.map(|edge| edge.from).filter(|from| seen.insert(*from)).collect()
    }

    /// By node and output port: whether anybody takes what leaves there.
    pub fn taken(&self) -> Vec<Vec<bool>> {
        let mut taken: Vec<_> = self.outputs.iter().map(|ports| vec![false; ports.len()]).collect();
        for Edge { from: (node, port), .. } in &self.edges {
            if let Some(port) = taken[*node].get_mut(*port) {
                *port = true;
            }
        }
        taken
    }

    /// Output ports that leave an instance: one edge for each port and stage reached.
    pub fn exits(&self) -> Vec<Edge> {
        let mut seen = HashSet::new();
        let leaves = |e: &&Edge| matches!(e.kind, EdgeKind::Feedback | EdgeKind::Stage);
        let exits = self.edges.iter().filter(leaves).copied();
        exits.filter(|edge| seen.insert((edge.from, edge.stage))).collect()
    }
}
