//! The loop of one instance: drain a batch, run it to completion, park.
//!
//! An epoch is one drained batch, and the next one is not drained before every node has processed the
//! last one, so nothing queues between operators. Without work the thread parks until somebody wakes it
//! or an operator's deadline is due: an idle service uses no CPU, and frontiers move without traffic.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use imflow_kind::{Applied, StartError, State, Time};
use imflow_proto::id;
use imflow_proto::record::{CommittedFact, Lsn};
use imflow_proto::{Record, RecordType};

use super::lanes::{Batch, Lane};
use super::parts::{Exits, InstanceParts};
use super::recovery;
use super::shared::Shared;
use crate::plan::{EdgeKind, Plan, Stage};
use crate::render::{Rendered, SharedOperator, render};
use crate::resolve::NodeId;

/// Records drained from the facts and messages lanes for one epoch, at least one batch each.
const EPOCH_RECORDS: usize = 2_048;
/// Each partition is snapshotted once in so many messages of its worker, one partition at a time.
const SNAPSHOT_EVERY: usize = 500_000;

/// Runs instance `index` until the service stops. Reports once when it has recovered.
pub(super) fn run(
    shared: &Arc<Shared>,
    index: usize,
    ready: &mpsc::Sender<Result<(), StartError>>,
) {
    let (shared, ready) = (Arc::clone(shared), ready.clone());
    timely::execute_directly(move |worker| {
        shared.lanes[index].attach();
        match Instance::start(&shared, index, worker) {
            Err(error) => {
                let _ = ready.send(Err(error));
                // What was rendered so far must not keep the thread.
                for dataflow in worker.installed_dataflows() {
                    worker.drop_dataflow(dataflow);
                }
            }
            Ok(mut instance) => {
                let _ = ready.send(Ok(()));
                instance.serve(worker);
            }
        }
    });
}

/// One instance: its dataflow, and what enters and leaves it.
pub(super) struct Instance {
    shared: Arc<Shared>,
    index: usize,
    stage: Stage,
    rendered: Rendered,
    recoverable: Vec<(String, SharedOperator)>,
    exits: Exits,
    now: Time,
    applied: Vec<Applied>,
    /// The last position of the log that this instance's state holds.
    lsn: Lsn,
    since_snapshot: usize,
    next_snapshot: u32,
}

/// What came of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// An epoch has run, or records have gone to another stage.
    Worked,
    /// There was nothing to do.
    Idle,
    /// There was nothing to do here, and another stage or a sink does not yet take what goes there.
    Held,
}

impl Instance {
    /// Renders instance `index` into `worker`, recovers its state and feeds it the present facts.
    pub(super) fn start(
        shared: &Arc<Shared>,
        index: usize,
        worker: &mut timely::worker::Worker,
    ) -> Result<Self, StartError> {
        let exits = Exits::default();
        let parts = InstanceParts { shared, index, exits: exits.clone() };
        let stage = shared.plan.stage_of_instance(index);
        let rendered = worker.dataflow(|scope| render(scope, &shared.plan, stage, &parts))?;
        let mut instance = Self::recover(shared, index, rendered, exits)?;
        instance.warm_facts(worker);
        Ok(instance)
    }

    fn recover(
        shared: &Arc<Shared>,
        index: usize,
        rendered: Rendered,
        exits: Exits,
    ) -> Result<Self, StartError> {
        let stage = shared.plan.stage_of_instance(index);
        let keeps_log_state = |name: &str| {
            shared
                .plan
                .nodes
                .iter()
                .any(|n| n.name == name && n.kind.description.state == State::Log)
        };
        let recoverable: Vec<_> =
            rendered.operators.iter().filter(|(name, _)| keeps_log_state(name)).cloned().collect();
        let mut instance = Self {
            shared: Arc::clone(shared),
            index,
            stage,
            rendered,
            recoverable,
            exits,
            now: Time::from_ms(shared.clock.now_ms()),
            applied: Vec::new(),
            lsn: 0,
            since_snapshot: 0,
            next_snapshot: index as u32,
        };
        if let (Some(journal), Stage::Conversation) = (&shared.journal, stage) {
            let owns = |partition| instance.owns(partition);
            instance.lsn = recovery::recover(
                journal,
                &instance.recoverable,
                shared.plan.service.partitions,
                &owns,
            )?;
        }
        Ok(instance)
    }

    /// The user and the global stage have one instance each, which sees the facts of all partitions.
    fn owns(&self, partition: u32) -> bool {
        self.stage != Stage::Conversation
            || partition as usize % self.shared.plan.service.workers == self.index
    }

    /// Feeds the present facts through the graph, before anything else enters.
    fn warm_facts(&mut self, worker: &mut timely::worker::Worker) {
        let (Some(journal), Some(node)) = (&self.shared.journal, self.shared.plan.journal) else {
            return;
        };
        let entries = self.shared.plan.entries(self.stage);
        let is_facts = |(from, port): &(NodeId, usize)| {
            *from == node
                && self.shared.plan.nodes[node].outputs[*port].types.first()
                    == Some(&RecordType::Fact)
        };
        let Some(entry) = entries.iter().position(is_facts) else { return };
        let partitions = self.shared.plan.service.partitions;
        let mut records = Vec::new();
        let read = journal.facts(&mut |fact| {
            if self.owns(id::partition_of(&fact.conversation_id, partitions)) {
                records
                    .push(Record::Fact(Arc::new(CommittedFact { lsn: 0, fact: Arc::new(fact) })));
            }
        });
        if let Err(error) = read {
            tracing::error!(%error, "the present facts cannot be read");
        }
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let batch = records.by_ref().take(EPOCH_RECORDS * 8).collect();
            self.buffer(Batch { entry: Some(entry), records: batch, applied: None });
            self.run_epoch(worker);
        }
    }

    fn serve(&mut self, worker: &mut timely::worker::Worker) {
        loop {
            self.shared.lanes[self.index].rearm();
            match self.turn(worker) {
                Turn::Worked => {}
                Turn::Idle if self.shared.stopping.load(Ordering::Acquire) => break,
                idle => {
                    worker.step_or_park(Some(self.pause(idle == Turn::Idle)));
                }
            }
        }
        self.snapshot_all();
        self.close();
    }

    /// Runs one epoch of what waits or is due, if anything.
    pub(super) fn turn(&mut self, worker: &mut timely::worker::Worker) -> Turn {
        let waiting = self.exits.stages.borrow().len();
        let flushed = self.flush_stages();
        let sent = self.exits.stages.borrow().len() < waiting;
        // A service that stops lets everything out; its sinks bound what they still try.
        let stopping = self.shared.stopping.load(Ordering::Acquire);
        let open = flushed && (stopping || !self.rendered.is_full());
        if self.drain(open) > 0 || self.deadline_is_due() {
            self.run_epoch(worker);
            self.snapshot_when_due();
            return Turn::Worked;
        }
        match (sent, open) {
            (true, _) => Turn::Worked,
            (false, true) => Turn::Idle,
            (false, false) => Turn::Held,
        }
    }

    /// The earliest deadline of all operators.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        Some(self.rendered.next_deadline()).filter(|due| *due != u64::MAX).map(Time)
    }

    /// Ends the dataflow's input, so that it can finish.
    pub(super) fn close(&self) {
        self.rendered.ingest.borrow_mut().close();
    }

    /// How long the instance may sleep when nobody wakes it.
    fn pause(&self, flushed: bool) -> Duration {
        if !flushed {
            return Duration::from_millis(1);
        }
        let deadline = self.rendered.next_deadline();
        let ms = Time(deadline).ms().saturating_sub(self.shared.clock.now_ms());
        Duration::from_millis(ms.clamp(1, 1_000))
    }

    fn deadline_is_due(&self) -> bool {
        self.rendered.next_deadline() < Time::from_ms(self.shared.clock.now_ms() + 1).0
    }

    /// Moves what waits in the lanes into the ingest buffers; says how many batches that were.
    fn drain(&mut self, open: bool) -> usize {
        let lanes = Arc::clone(&self.shared.lanes[self.index]);
        let feedback: Vec<_> = self.exits.feedback.borrow_mut().drain(..).collect();
        let mut drained = feedback.len();
        feedback.into_iter().for_each(|batch| self.buffer(batch));
        while let Some(batch) = lanes.receive(Lane::Completions) {
            self.apply(&batch);
            self.buffer(batch);
            drained += 1;
        }
        // While another stage or a sink is behind, only completions are taken: they free what is under way.
        for lane in [Lane::Facts, Lane::Messages].into_iter().filter(|_| open) {
            let mut records = 0;
            while records < EPOCH_RECORDS
                && let Some(batch) = lanes.receive(lane)
            {
                records += batch.records.len().max(1);
                self.buffer(batch);
                drained += 1;
            }
        }
        drained
    }

    /// Folds what is durable into recoverable state before anybody hears of it.
    fn apply(&mut self, batch: &Batch) {
        // A batch is of one port, hence of one type.
        if let Some(Record::Moved(_)) = batch.records.first() {
            return self.apply_moved(batch);
        }
        let committed = || {
            batch.records.iter().filter_map(|record| match record {
                Record::Committed(committed) => Some(committed),
                _ => None,
            })
        };
        // Operator by operator, so that the state of one at a time is at hand.
        for (_, operator) in &self.recoverable {
            let mut operator = operator.borrow_mut();
            committed().for_each(|committed| operator.apply(committed));
        }
        if let Some(last) = committed().next_back() {
            self.lsn = self.lsn.max(last.lsn);
            self.since_snapshot += committed().count();
        }
    }

    fn apply_moved(&mut self, batch: &Batch) {
        for record in &batch.records {
            let Record::Moved(moved) = record else { continue };
            for (_, operator) in &self.recoverable {
                operator.borrow_mut().apply_moved(moved);
            }
            self.lsn = self.lsn.max(moved.lsn);
        }
    }

    fn buffer(&mut self, batch: Batch) {
        if let Some(entry) = batch.entry {
            let buffer = &mut self.rendered.ingest.borrow_mut().buffers[entry];
            if buffer.is_empty() {
                *buffer = batch.records;
            } else {
                buffer.extend(batch.records);
            }
        }
        self.applied.extend(batch.applied);
    }

    fn run_epoch(&mut self, worker: &mut timely::worker::Worker) {
        self.now = self.now.next(self.shared.clock.now_ms());
        self.rendered.ingest.borrow_mut().send(self.now.0);
        while {
            worker.step();
            !self.rendered.is_done_before(self.now.0 + 1)
        } {}
        if !self.exits.feedback.borrow().is_empty() {
            // What comes back belongs to what caused it: told when that is done too.
            return;
        }
        for applied in self.applied.drain(..) {
            // Other stages may have been reached by what this epoch sent them: they tell in their turn.
            for stage in Stage::ALL
                .into_iter()
                .filter(|stage| reaches(&self.shared.plan, self.stage, *stage))
            {
                let batch =
                    Batch { entry: None, records: Vec::new(), applied: Some(Arc::clone(&applied)) };
                self.exits.stages.borrow_mut().push_back((stage, batch));
            }
        }
    }

    /// Hands records to other stages, in order; says whether all have gone.
    fn flush_stages(&mut self) -> bool {
        let mut waiting = self.exits.stages.borrow_mut();
        while let Some((stage, _)) = waiting.front() {
            let instances = self.shared.plan.instances_of(*stage);
            if stage.is_lossy() {
                let Some((_, batch)) = waiting.pop_front() else { break };
                let entry = batch.entry.expect("nobody waits for a lossy stage");
                self.shared.lanes[instances.start].send_or_drop(entry, batch.records);
                continue;
            }
            if instances.clone().any(|instance| self.shared.lanes[instance].facts_are_full()) {
                return false;
            }
            let Some((_, batch)) = waiting.pop_front() else { break };
            for instance in instances {
                let (records, applied) = (batch.records.clone(), batch.applied.clone());
                self.shared.lanes[instance]
                    .send(Lane::Facts, Batch { entry: batch.entry, records, applied });
            }
        }
        true
    }

    fn snapshot_when_due(&mut self) {
        let partitions = self.shared.plan.service.partitions;
        let owned = (partitions as usize).div_ceil(self.shared.plan.service.workers);
        if self.since_snapshot < SNAPSHOT_EVERY / owned {
            return;
        }
        self.since_snapshot = 0;
        if self.next_snapshot >= partitions {
            self.next_snapshot = self.index as u32;
        }
        self.snapshot(self.next_snapshot);
        self.next_snapshot += self.shared.plan.service.workers as u32;
    }

    fn snapshot_all(&self) {
        (0..self.shared.plan.service.partitions)
            .filter(|p| self.owns(*p))
            .for_each(|p| self.snapshot(p));
    }

    fn snapshot(&self, partition: u32) {
        if let (Some(journal), Stage::Conversation) = (&self.shared.journal, self.stage) {
            journal.save_snapshot(
                partition,
                self.lsn,
                recovery::export(partition, &self.recoverable),
            );
        }
    }
}

/// Whether what happens in one stage counts only when another has seen it.
fn reaches(plan: &Plan, from: Stage, to: Stage) -> bool {
    from != to
        && !to.is_lossy()
        && plan
            .edges
            .iter()
            .any(|e| e.kind == EdgeKind::Stage && plan.stages[e.from.0] == from && e.stage == to)
}
