//! The runtime's side of [`Injector`]: from a node's output ports to the lanes of the instances that
//! consume them.

use std::pin::Pin;
use std::sync::Arc;

use imflow_kind::{Applied, Family, Injector};
use imflow_proto::ticket::Credit;
use imflow_proto::wire::Error;
use imflow_proto::{Record, RecordType, id};

use super::credit::Credits;
use super::lanes::{Batch, Lane, Lanes};
use crate::plan::{EdgeKind, Plan, Stage};
use crate::resolve::NodeId;

/// Feeds the output ports of one source or sink.
pub(crate) struct NodeInjector {
    partitions: u32,
    workers: usize,
    /// For each output port: the stages that take it, and as which entry.
    routes: Vec<Vec<(Stage, usize, Lane)>>,
    /// For each output port: whether its records end in the log.
    writes: Vec<bool>,
    lanes: Vec<Arc<Lanes>>,
    credits: Vec<Arc<Credits>>,
}

impl NodeInjector {
    pub fn new(plan: &Plan, node: NodeId, lanes: &[Arc<Lanes>], credits: &[Arc<Credits>]) -> Self {
        let mut routes = vec![Vec::new(); plan.nodes[node].outputs.len()];
        for stage in Stage::ALL {
            for (entry, (from, port)) in
                plan.entries(stage).into_iter().enumerate().filter(|(_, e)| e.0 == node)
            {
                debug_assert_eq!(from, node);
                let lane = if stage.is_lossy() { Lane::Facts } else { lane_of(plan, node, port) };
                routes[port].push((stage, entry, lane));
            }
        }
        let is_written = |types: &[RecordType]| {
            types.iter().any(|t| {
                matches!(t, RecordType::Submission | RecordType::Command | RecordType::Mark)
            })
        };
        let writes = plan.nodes[node].outputs.iter().map(|port| is_written(port.types)).collect();
        Self {
            writes,
            partitions: plan.service.partitions,
            workers: plan.service.workers,
            routes,
            lanes: lanes.to_vec(),
            credits: credits.to_vec(),
        }
    }

    fn route(
        &self,
        worker: usize,
        port: usize,
        mut records: Vec<Record>,
        applied: Option<&Applied>,
    ) {
        let routes = &self.routes[port];
        for (index, (stage, entry, lane)) in routes.iter().enumerate() {
            let records = if index + 1 == routes.len() {
                std::mem::take(&mut records)
            } else {
                records.clone()
            };
            if stage.is_lossy() {
                self.lanes[self.workers + 1].send_or_drop(*entry, records);
                continue;
            }
            let instance = match stage {
                // What a sink took in another stage may come out on any worker.
                Stage::Conversation => worker % self.workers,
                Stage::User | Stage::Global => self.workers,
            };
            self.lanes[instance]
                .send(*lane, Batch { entry: Some(*entry), records, applied: applied.cloned() });
        }
    }
}

fn lane_of(plan: &Plan, node: NodeId, port: usize) -> Lane {
    let record = plan
        .edges
        .iter()
        .find(|e| e.from == (node, port) && e.kind == EdgeKind::Entry)
        .map(|e| e.record);
    match (plan.nodes[node].kind.description.family, record) {
        (Family::Sink, _) => Lane::Completions,
        (_, Some(RecordType::Submission | RecordType::Query | RecordType::Mark)) => Lane::Messages,
        _ => Lane::Facts,
    }
}

impl Injector for NodeInjector {
    fn worker_of(&self, conversation_id: &str) -> usize {
        id::partition_of(conversation_id, self.partitions) as usize % self.workers
    }

    fn credit(&self, worker: usize, port: usize, bytes: usize) -> Result<Box<dyn Credit>, Error> {
        self.credits[worker].take(bytes, self.writes[port])
    }

    fn credit_returned(&self, worker: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.credits[worker].returned())
    }

    fn send(&self, worker: usize, port: usize, records: Vec<Record>) {
        self.route(worker, port, records, None);
    }

    fn send_and_track(&self, worker: usize, port: usize, records: Vec<Record>, applied: Applied) {
        self.route(worker, port, records, Some(&applied));
    }
}
