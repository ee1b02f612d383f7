//! The form in virtual time of sinks that only carry records out: whoever tests watches their input port.

use std::sync::Arc;

use imflow_kind::{Form, Injector, Intake, Sink, StartError, Time};
use imflow_proto::Record;

/// A sink that takes everything and keeps nothing.
pub(crate) fn form() -> Form {
    Form::Sink(Arc::new(|_| Ok(Box::new(Discard))))
}

struct Discard;

impl Sink for Discard {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(Self)
    }

    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        Ok(())
    }
}

impl Intake for Discard {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        records.clear();
    }
}
