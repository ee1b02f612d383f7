//! The one place where records enter an instance's dataflow.
//!
//! The instance's loop fills the buffers and sets the time; the operator sends all of them at that time
//! and lets go of it, so an epoch is exactly one drained batch.

use std::cell::RefCell;
use std::rc::Rc;

use imflow_kind::{Batches, Stream};
use imflow_proto::Record;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::resolve::NodeId;

/// Buffers of the next epoch.
pub(crate) struct Ingest {
    /// One buffer for each entry, in the order of [`crate::Plan::entries`].
    pub buffers: Vec<Vec<Record>>,
    time: u64,
    closed: bool,
    activator: Option<Activator>,
}

impl Ingest {
    /// Sends what is buffered at `time`; the frontier moves past it.
    pub fn send(&mut self, time: u64) {
        self.time = time;
        self.activate();
    }

    /// Ends the dataflow's input.
    pub fn close(&mut self) {
        self.closed = true;
        self.activate();
    }

    fn activate(&self) {
        self.activator.as_ref().expect("set when built").activate();
    }
}

/// Builds the ingest operator: one output stream for each entry.
pub(crate) fn build<'s>(
    scope: Scope<'s, u64>,
    entries: &[(NodeId, usize)],
) -> (Rc<RefCell<Ingest>>, Vec<Stream<'s>>) {
    let ingest = Rc::new(RefCell::new(Ingest {
        buffers: entries.iter().map(|_| Vec::new()).collect(),
        time: 0,
        closed: false,
        activator: None,
    }));
    let mut builder = OperatorBuilder::new("ingest".to_owned(), scope);
    let address = builder.operator_info().address;
    ingest.borrow_mut().activator = Some(scope.activator_for(address));
    let (mut outputs, streams): (Vec<_>, Vec<_>) =
        entries.iter().map(|_| builder.new_output::<Batches>()).unzip();
    let state = Rc::clone(&ingest);
    builder.build(move |mut capabilities| {
        move |_frontiers| {
            let mut state = state.borrow_mut();
            let time = state.time;
            for (index, capability) in capabilities.iter_mut().enumerate() {
                let buffer = &mut state.buffers[index];
                if !buffer.is_empty() {
                    capability.downgrade(&time);
                    outputs[index].activate().give(&*capability, buffer);
                    buffer.clear();
                }
                capability.downgrade(&(time + 1));
            }
            if state.closed {
                capabilities.clear();
            }
        }
    });
    (ingest, streams)
}
