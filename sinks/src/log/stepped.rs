//! The sink without threads: whatever it is given is committed, indexed and answered before the call
//! returns, on the thread that calls.
//!
//! So a run is a function of what it is fed, and nothing happens while nobody calls. The parts are
//! those of the threaded form; only who calls them differs. For files in memory, which make nobody
//! wait.

use std::sync::{Arc, OnceLock};

use imflow_kind::{Injector, Intake, IoContext, Sink, StartError, Time};
use imflow_proto::Record;
use parking_lot::Mutex;

use super::files::Files;
use super::parts::{Opened, Storage, Works};
use super::snapshots::Snapshots;
use super::space::Space;

pub(crate) struct SteppedLog {
    unstarted: Option<Opened>,
    steps: Shared,
}

/// One log for the hands of all workers; empty until it is started, before which nothing comes in.
type Shared = Arc<OnceLock<Mutex<Steps>>>;

struct Steps {
    works: Works,
    space: Arc<Space>,
}

impl SteppedLog {
    pub(crate) fn build(
        context: &IoContext,
        storage: &Storage,
        snapshots: Arc<dyn Files>,
    ) -> Result<Self, StartError> {
        let (log, _) = Opened::open(context, storage, Snapshots::written_at_once(snapshots))?;
        Ok(Self { unstarted: Some(log), steps: Arc::default() })
    }
}

impl Sink for SteppedLog {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        Box::new(SteppedIntake { worker, steps: Arc::clone(&self.steps) })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        if let Some(log) = self.unstarted.take() {
            let space = log.space();
            self.steps.get_or_init(|| Mutex::new(Steps { works: log.works(injector), space }));
        }
        Ok(())
    }
}

struct SteppedIntake {
    worker: usize,
    steps: Shared,
}

impl Intake for SteppedIntake {
    fn on_batch(&mut self, _now: Time, port: usize, records: &mut Vec<Record>) {
        let Some(steps) = self.steps.get() else { return records.clear() };
        let mut steps = steps.lock();
        match port {
            0 => steps.store(self.worker, records),
            2 => steps.works.references.answer(self.worker, std::mem::take(records)),
            _ => steps.works.lookups.answer(self.worker, std::mem::take(records)),
        }
    }
}

impl Steps {
    fn store(&mut self, worker: usize, records: &mut Vec<Record>) {
        for record in records.drain(..) {
            if self.works.committer.is_full() {
                self.commit();
            }
            self.works.committer.add(worker, record);
        }
        while !self.works.committer.is_empty() {
            self.commit();
        }
        while let Ok(true) = self.works.eraser.step() {}
    }

    fn commit(&mut self) {
        // A failure closes the gate; what was admitted still fits.
        while self.space.make_one().is_ok_and(|made| made) {}
        let Some(group) = self.works.committer.commit() else { return };
        if let Ok(Some(sealed)) = self.works.indexer.apply(&group) {
            self.works.ingester.take(&sealed);
        }
    }
}
