//! What an instance gives its dataflow beside the operators: hands of the sinks, and the ends of wires
//! that leave the instance.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::PoisonError;

use imflow_kind::{Intake, Operator, OperatorContext, Time};
use imflow_proto::Record;

use super::faults;
use super::lanes::Batch;
use super::shared::Shared;
use crate::plan::{Edge, EdgeKind, Stage};
use crate::render::Parts;
use crate::resolve::NodeId;

/// Records on their way out of the instance.
#[derive(Clone, Default)]
pub(super) struct Exits {
    pub(super) feedback: Rc<RefCell<Vec<Batch>>>,
    pub(super) stages: Rc<RefCell<VecDeque<(Stage, Batch)>>>,
}

pub(super) struct InstanceParts<'a> {
    pub(super) shared: &'a Shared,
    pub(super) index: usize,
    pub(super) exits: Exits,
}

impl Parts for InstanceParts<'_> {
    fn context(&self, node: NodeId) -> OperatorContext<'_> {
        let plan = &self.shared.plan;
        let (inputs, outputs, taken) =
            (&plan.inputs[node], &plan.outputs[node], &self.shared.taken[node]);
        let node = &plan.nodes[node];
        OperatorContext {
            name: &node.name,
            options: &node.options,
            inputs,
            outputs,
            taken,
            part: node.part,
            partitions: plan.service.partitions,
            workers: plan.service.workers,
            ids: &self.shared.ids,
        }
    }

    fn operator(&self, node: NodeId, operator: Box<dyn Operator>) -> Box<dyn Operator> {
        faults::counted(&self.shared.plan.nodes[node], &self.shared.faults[node], operator)
    }

    fn intake(&self, node: NodeId) -> Box<dyn Intake> {
        let mut sinks = self.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.get_mut(&node).expect("every sink is built before the instances").intake(self.index)
    }

    fn exit(&self, edge: &Edge) -> Box<dyn Intake> {
        let entries = self.shared.plan.entries(edge.stage);
        let entry =
            entries.iter().position(|e| *e == edge.from).expect("an exit is an entry of its stage");
        Box::new(Exit {
            entry,
            stage: (edge.kind == EdgeKind::Stage).then_some(edge.stage),
            exits: self.exits.clone(),
        })
    }
}

/// The end of a wire that re-enters here (no stage) or in another stage.
struct Exit {
    entry: usize,
    stage: Option<Stage>,
    exits: Exits,
}

impl Intake for Exit {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        let batch =
            Batch { entry: Some(self.entry), records: std::mem::take(records), applied: None };
        match self.stage {
            Some(stage) => self.exits.stages.borrow_mut().push_back((stage, batch)),
            None => self.exits.feedback.borrow_mut().push(batch),
        }
    }
}
