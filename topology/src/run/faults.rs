//! Counts what leaves on outputs of faults: records for which an expression had no value, and what a bound
//! refused.
//!
//! The graph goes on, and whether anything takes the port is up to the file. So that nobody has to wire it
//! to learn that something is wrong, the number is told in the service's log: at the first, and then at
//! each doubling.

use std::sync::Arc;

use imflow_kind::{Dropped, Operator, Out, Snapshot, Time, fields};
use imflow_proto::Record;
use imflow_proto::record::{Committed, Moved};

use crate::resolve::Node;

/// The operator itself, or in a shell that counts when its kind has an output of faults.
pub(super) fn counted(
    node: &Node,
    count: &Arc<Dropped>,
    operator: Box<dyn Operator>,
) -> Box<dyn Operator> {
    let ports = node.kind.description.outputs;
    let Some(described) = ports.iter().find(|port| port.faults) else { return operator };
    // A part of a split node has other outputs than its kind.
    let port = node.outputs.iter().position(|output| output.name == described.name);
    let Some(port) = port else { return operator };
    Box::new(Counted { operator, port, name: node.output_name(port), count: Arc::clone(count) })
}

struct Counted {
    operator: Box<dyn Operator>,
    port: usize,
    /// As in `spam.errors`.
    name: String,
    count: Arc<Dropped>,
}

impl Counted {
    /// Counts what has come to the port behind the `before` records that wait there.
    fn look(&self, before: usize, out: &mut Out) {
        let new = &out.port(self.port)[before..];
        let (Some(last), Some(count)) = (new.last(), self.tally(new.len())) else { return };
        // Not the error itself: it may cite what somebody wrote.
        let last = fields::to_json(last);
        let option = last.get("option").and_then(|option| option.as_str()).unwrap_or("");
        tracing::warn!(
            port = self.name,
            count,
            option,
            "records met a fault; each left on this port"
        );
    }

    fn tally(&self, new: usize) -> Option<u64> {
        if new == 0 { None } else { self.count.add(new) }
    }
}

impl Operator for Counted {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        let before = out.port(self.port).len();
        self.operator.on_batch(now, port, records, out);
        self.look(before, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.operator.next_deadline()
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        let before = out.port(self.port).len();
        self.operator.on_time(now, out);
        self.look(before, out);
    }

    fn apply(&mut self, committed: &Committed) {
        self.operator.apply(committed);
    }

    fn apply_moved(&mut self, moved: &Moved) {
        self.operator.apply_moved(moved);
    }

    fn export(&self, partition: u32) -> Option<Snapshot> {
        self.operator.export(partition)
    }

    fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        self.operator.import(partition, snapshot)
    }
}
