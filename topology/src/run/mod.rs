//! A plan to a running service: builds the kinds, recovers, starts, and stops without losing anything.

mod credit;
mod injector;
mod instance;
mod lanes;
mod parts;
mod recovery;
mod shared;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use imflow_kind::{Clock, Feed, Form, Injector, IoContext, Journal, Roles, Source, StartError};
use imflow_proto::id::{self, ServerMsgIds};

use crate::plan::Plan;
use crate::resolve::NodeId;
use credit::Credits;
use injector::NodeInjector;
use lanes::Lanes;
use shared::Shared;

/// How long a stopping service waits for commands that are under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A running service.
pub struct Running {
    shared: Arc<Shared>,
    sources: Vec<Box<dyn Source>>,
    credits: Vec<Arc<Credits>>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a plan. Call it inside a tokio runtime. It returns once everything has recovered and every
/// source accepts.
///
/// # Errors
/// When a kind cannot be built or started, or the log cannot be recovered.
pub fn start(plan: Plan, roles: &Roles, clock: &Arc<dyn Clock>) -> Result<Running, StartError> {
    let context = |id: NodeId| IoContext {
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
        roles: roles.clone(),
    };
    let mut sinks = HashMap::new();
    let mut sources = Vec::new();
    for (id, node) in plan.nodes.iter().enumerate() {
        let in_node = |e: StartError| StartError::new(format!("`{}`: {e}", node.name));
        match &node.kind.form {
            Form::Sink(build) => {
                sinks.insert(id, build(&context(id)).map_err(in_node)?);
            }
            Form::Source(build) => sources.push((id, build(&context(id)).map_err(in_node)?)),
            Form::Operator(_) | Form::Collection(_) => {}
        }
    }
    let journal = plan.journal.and_then(|id| roles.find::<Arc<dyn Journal>>(&plan.nodes[id].name));
    let gate = journal.as_ref().map(|journal| journal.gate());
    let lanes: Vec<_> = (0..plan.instances()).map(|_| Arc::new(Lanes::new())).collect();
    let credits: Vec<_> = (0..plan.service.workers).map(|_| Credits::new(gate.clone())).collect();
    let node_number = id::partition_of(&plan.service.node, 256) as u8;
    let shared = Arc::new(Shared {
        plan,
        lanes,
        sinks: Mutex::new(sinks),
        journal,
        clock: Arc::clone(clock),
        ids: Arc::new(ServerMsgIds::new(node_number)),
        stopping: AtomicBool::new(false),
    });
    let mut running = Running { threads: Vec::new(), sources: Vec::new(), credits, shared };
    running.start_instances()?;
    running.start_nodes(sources)?;
    Ok(running)
}

impl Running {
    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    fn start_instances(&mut self) -> Result<(), StartError> {
        let (ready, started) = mpsc::channel();
        for index in 0..self.shared.plan.instances() {
            let (shared, ready) = (Arc::clone(&self.shared), ready.clone());
            let name = match index {
                _ if index < self.shared.plan.service.workers => format!("conversation-{index}"),
                _ => self.shared.plan.stage_of_instance(index).name().to_owned(),
            };
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || instance::run(&shared, index, &ready));
            self.threads.push(
                thread.map_err(|e| StartError::new(format!("a thread cannot be started: {e}")))?,
            );
        }
        for _ in 0..self.shared.plan.instances() {
            started.recv().map_err(|_| StartError::new("an instance ended while it started"))??;
        }
        Ok(())
    }

    /// Sinks first, so that whatever a source lets in can come out.
    fn start_nodes(&mut self, sources: Vec<(NodeId, Box<dyn Source>)>) -> Result<(), StartError> {
        let plan = &self.shared.plan;
        let injector = |id: NodeId| -> Arc<dyn Injector> {
            Arc::new(NodeInjector::new(plan, id, &self.shared.lanes, &self.credits))
        };
        let in_node = |id: NodeId| {
            move |e: StartError| StartError::new(format!("`{}`: {e}", plan.nodes[id].name))
        };
        for (id, sink) in
            self.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner).iter_mut()
        {
            sink.start(injector(*id)).map_err(in_node(*id))?;
        }
        for (id, mut source) in sources {
            source.start(injector(id)).map_err(in_node(id))?;
            self.sources.push(source);
        }
        Ok(())
    }

    /// Stops: no new commands, those under way finish, the log is synced, clients are told.
    pub fn stop(mut self) {
        self.credits.iter().for_each(|credits| credits.close());
        self.sources.iter_mut().for_each(|source| source.drain());
        let end = Instant::now() + DRAIN_LIMIT;
        while self.credits.iter().any(|credits| credits.under_way() > 0) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.lanes.iter().for_each(|lanes| lanes.wake());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an instance ended with a panic");
            }
        }
        for sink in self.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            sink.stop();
        }
        self.sources.iter_mut().for_each(|source| source.stop());
    }
}
