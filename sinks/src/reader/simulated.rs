//! The reader in virtual time: answers each query before the call returns, on the thread that calls.

use std::sync::{Arc, OnceLock};

use imflow_kind::{Injector, Intake, IoContext, Sink, StartError, Store, Time};
use imflow_proto::Record;

use super::{reply_to, store_of};

pub(super) struct Simulated {
    context: IoContext,
    reads: Reads,
}

/// Found at start, before which nothing comes in.
type Reads = Arc<OnceLock<(Arc<dyn Store>, Arc<dyn Injector>)>>;

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    Ok(Box::new(Simulated { context: context.clone(), reads: Reads::default() }))
}

impl Sink for Simulated {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        Box::new(SimulatedIntake { worker, reads: Arc::clone(&self.reads) })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let store =
            store_of(&self.context.roles, &self.context.name, self.context.options.text("of"))?;
        self.reads.get_or_init(|| (store, injector));
        Ok(())
    }
}

struct SimulatedIntake {
    worker: usize,
    reads: Reads,
}

impl Intake for SimulatedIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        let Some((store, injector)) = self.reads.get() else { return records.clear() };
        let replies = records.drain(..).filter_map(|record| match record {
            Record::Query(query) => reply_to(&query, &**store),
            _ => None,
        });
        injector.send(self.worker, 0, replies.collect());
    }
}
