//! Builds the sources and sinks of a plan, and what all of its instances share. The live service and the
//! simulation begin alike; they differ in the form of each kind and in who turns the instances.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use imflow_kind::{
    Build, Clock, Feed, Form, Injector, IoContext, Journal, Kind, Meters, Roles, Source, StartError,
};
use imflow_proto::id::{self, ServerMsgIds};

use super::credit::Credits;
use super::injector::NodeInjector;
use super::lanes::Lanes;
use super::shared::Shared;
use crate::plan::Plan;
use crate::resolve::NodeId;

/// A built service that nothing has started.
pub(super) struct Assembly {
    pub(super) shared: Arc<Shared>,
    pub(super) sources: Vec<(NodeId, Box<dyn Source>)>,
    pub(super) credits: Vec<Arc<Credits>>,
}

impl Assembly {
    /// Builds every source and sink in the form that `form_of` picks.
    pub(super) fn build(
        plan: Plan,
        roles: &Roles,
        clock: &Arc<dyn Clock>,
        form_of: fn(&Kind) -> Option<&Form>,
    ) -> Result<Self, StartError> {
        let mut sinks = BTreeMap::new();
        let mut sources = Vec::new();
        for (id, node) in plan.nodes.iter().enumerate() {
            let context = || context(&plan, id, roles, clock);
            match form_of(&node.kind) {
                Some(Form::Sink(build)) => {
                    sinks.insert(id, built(build, &context(), &node.name)?);
                }
                Some(Form::Source(build)) => {
                    sources.push((id, built(build, &context(), &node.name)?));
                }
                Some(Form::Operator(_) | Form::Collection(_) | Form::Missing { .. }) | None => {}
            }
        }
        let journal = plan.journal.and_then(|id| roles.find(&plan.nodes[id].name));
        let gate = journal.as_ref().map(|journal: &Arc<dyn Journal>| journal.gate());
        let lanes = (0..plan.instances()).map(|_| Arc::new(Lanes::new())).collect();
        let credits = (0..plan.service.workers).map(|_| Credits::new(gate.clone())).collect();
        let node_number = id::partition_of(&plan.service.node, 256) as u8;
        let faults = plan.nodes.iter().map(|_| Arc::default()).collect();
        let shared = Arc::new(Shared {
            taken: plan.taken(),
            plan,
            lanes,
            sinks: Mutex::new(sinks),
            journal,
            clock: Arc::clone(clock),
            ids: Arc::new(ServerMsgIds::new(node_number)),
            faults,
            stopping: AtomicBool::new(false),
        });
        Ok(Self { shared, sources, credits })
    }

    /// Starts sinks, then sources, so that whatever a source lets in can come out.
    pub(super) fn start_nodes(&mut self) -> Result<(), StartError> {
        let Self { shared, sources, credits } = self;
        let plan = &shared.plan;
        let injector = |id: NodeId| -> Arc<dyn Injector> {
            Arc::new(NodeInjector::new(plan, id, &shared.lanes, credits))
        };
        for (id, sink) in shared.sinks.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            sink.start(injector(*id)).map_err(|e| in_node(&plan.nodes[*id].name, &e))?;
        }
        for (id, source) in sources {
            source.start(injector(*id)).map_err(|e| in_node(&plan.nodes[*id].name, &e))?;
        }
        Ok(())
    }
}

fn context(plan: &Plan, id: NodeId, roles: &Roles, clock: &Arc<dyn Clock>) -> IoContext {
    IoContext {
        name: plan.nodes[id].name.clone(),
        options: plan.nodes[id].options.clone(),
        feeds: plan
            .edges
            .iter()
            .filter(|edge| edge.to.0 == id)
            .map(|edge| Feed { from: plan.nodes[edge.from.0].name.clone(), record: edge.record })
            .collect(),
        data: PathBuf::from(&plan.service.data),
        node: plan.service.node.clone(),
        partitions: plan.service.partitions,
        workers: plan.service.workers,
        clock: Arc::clone(clock),
        meters: roles.find::<Meters>(Meters::NAME).unwrap_or_default().of(&plan.nodes[id].name),
        roles: roles.clone(),
    }
}

fn built<T: ?Sized>(
    build: &Build<T>,
    context: &IoContext,
    name: &str,
) -> Result<Box<T>, StartError> {
    build(context).map_err(|e| in_node(name, &e))
}

fn in_node(name: &str, error: &StartError) -> StartError {
    StartError::new(format!("`{name}`: {error}"))
}
