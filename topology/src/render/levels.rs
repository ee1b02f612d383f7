//! Which nodes of a stage run together.
//!
//! ```text
//! ingest -> section 0 -> collections of level 0 -> section 1 -> collections of level 1 -> ...
//! ```
//! Collections are dataflows of their own; the state machines and sinks between them need no more than
//! their order, so those of one level make one *section*. Every node is as late as its consumers allow:
//! what feeds no collection shares the last section, and most files have one.

use crate::plan::{Edge, EdgeKind, Plan, Stage, is_collection};
use crate::resolve::NodeId;

/// The levels of one stage.
pub(crate) struct Levels {
    /// By node; what is of another stage has the last one and is not asked for.
    of: Vec<usize>,
    pub(crate) last: usize,
}

impl Levels {
    pub(crate) fn new(plan: &Plan, stage: Stage) -> Self {
        let order = || plan.order.iter().copied().filter(|id| plan.stages[*id] == stage);
        let is_collection = |id: NodeId| is_collection(&plan.nodes[id]);
        let into = |id: NodeId| plan.inputs_of(id, stage).filter(|e| e.kind == EdgeKind::Direct);
        // As early as producers allow: that is where the collections are, and how many levels there are.
        let mut of = vec![0; plan.nodes.len()];
        for id in order() {
            let behind = |from: NodeId| usize::from(is_collection(from) && !is_collection(id));
            of[id] = into(id).map(|e| of[e.from.0] + behind(e.from.0)).max().unwrap_or(0);
        }
        let is_read = |id: NodeId| {
            let from_here = |e: &&Edge| e.from.0 == id && !is_collection(e.to.0);
            is_collection(id) && plan.edges.iter().any(|e| from_here(&e))
        };
        let last = order().map(|id| of[id] + usize::from(is_read(id))).max().unwrap_or(0);
        // As late as consumers allow, for all that is no collection.
        let is_fixed: Vec<bool> =
            (0..of.len()).map(|id| is_collection(id) && plan.stages[id] == stage).collect();
        for (level, _) in of.iter_mut().zip(&is_fixed).filter(|(_, is_fixed)| !**is_fixed) {
            *level = last;
        }
        for id in order().collect::<Vec<_>>().into_iter().rev() {
            for edge in into(id).filter(|e| !is_fixed[e.from.0]) {
                of[edge.from.0] = of[edge.from.0].min(of[id]);
            }
        }
        Self { of, last }
    }

    /// The level of an operator, a collection or a sink of the stage.
    pub(crate) fn of(&self, node: NodeId) -> usize {
        self.of[node]
    }
}
