//! The reader in virtual time: answers each query before the call returns, on the thread that calls.

use std::sync::{Arc, OnceLock};

use imflow_kind::{Injector, Intake, IoContext, Sink, StartError, Time};
use imflow_proto::Record;

use super::Desk;

pub(super) struct Simulated {
    context: IoContext,
    reads: Reads,
}

/// Found at start, before which nothing comes in.
type Reads = Arc<OnceLock<(Desk, Arc<dyn Injector>)>>;

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    Ok(Box::new(Simulated { context: context.clone(), reads: Reads::default() }))
}

impl Sink for Simulated {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        Box::new(SimulatedIntake { worker, reads: Arc::clone(&self.reads) })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let desk = Desk::of(&self.context)?;
        self.reads.get_or_init(|| (desk, injector));
        Ok(())
    }
}

struct SimulatedIntake {
    worker: usize,
    reads: Reads,
}

impl Intake for SimulatedIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        let Some((desk, injector)) = self.reads.get() else { return records.clear() };
        for record in records.drain(..) {
            if let Record::Query(query) = record {
                desk.serve(self.worker, query, &**injector);
            }
        }
    }
}
