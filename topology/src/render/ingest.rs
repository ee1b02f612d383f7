//! The one place where records enter an instance's dataflow.
//!
//! The instance's loop fills the buffers and sets the time; the operator sends all of them at that time
//! and lets go of it, so an epoch is exactly one drained batch: one bundle for each section, and a batch
//! for each collection that hears from outside. Most epochs hold nothing for collections. Those do not
//! touch them: the collections' time stands still, and [`Fed`] tells the sections that nothing is to come.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use imflow_kind::{Batches, Stream};
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use super::section::{Bundle, Bundles, Outlet};

/// Buffers of the next epoch.
pub(crate) struct Ingest {
    /// One buffer for each entry, in the order of [`crate::Plan::entries`].
    pub buffers: Vec<Batches>,
    time: u64,
    closed: bool,
    activator: Option<Activator>,
}

/// Who takes what enters.
pub(crate) struct Doors {
    pub entries: Vec<Door>,
    /// How many sections there are.
    pub sections: usize,
    pub fed: Fed,
}

/// Who takes what one entry brings.
pub(crate) struct Door {
    /// Sections, each with its wire.
    pub sections: Vec<(usize, usize)>,
    /// Whether collections do.
    pub collected: bool,
}

/// The first time after the last one at which the collections of an instance were given something.
#[derive(Clone, Default)]
pub(crate) struct Fed(Rc<Cell<u64>>);

impl Fed {
    /// Where sections feed collections too, their time never stands still.
    pub(crate) fn always() -> Self {
        Self(Rc::new(Cell::new(u64::MAX)))
    }

    /// The least time at which a collection may still send, if its stream has this frontier.
    pub(crate) fn least(&self, frontier: u64) -> u64 {
        if frontier >= self.0.get() { u64::MAX } else { frontier }
    }

    fn stands_still(&self) -> bool {
        self.0.get() < u64::MAX
    }

    fn note(&self, time: u64) {
        // Stays what it is where their time never stands still.
        self.0.set(self.0.get().max(time + 1));
    }
}

/// The streams of the ingest.
pub(crate) struct Entered<'s> {
    /// By section.
    pub sections: Vec<Bundles<'s>>,
    /// By entry, for those that collections take.
    pub collections: Vec<Option<Stream<'s>>>,
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

/// Builds the ingest operator.
pub(crate) fn build<'s>(scope: Scope<'s, u64>, doors: Doors) -> (Rc<RefCell<Ingest>>, Entered<'s>) {
    let ingest = Rc::new(RefCell::new(Ingest {
        buffers: doors.entries.iter().map(|_| Batches::new()).collect(),
        time: 0,
        closed: false,
        activator: None,
    }));
    let mut builder = OperatorBuilder::new("ingest".to_owned(), scope);
    let address = builder.operator_info().address;
    ingest.borrow_mut().activator = Some(scope.activator_for(address));
    let (to_sections, sections): (Vec<_>, Vec<_>) =
        (0..doors.sections).map(|_| builder.new_output::<Bundle>()).unzip();
    let (to_collections, collections): (Vec<_>, Vec<_>) = (doors.entries.iter())
        .map(|door| door.collected.then(|| builder.new_output::<Batches>()).unzip())
        .unzip();
    let state = Rc::clone(&ingest);
    builder.build(move |capabilities| {
        let mut capabilities = capabilities.into_iter();
        let mut next = || capabilities.next().expect("one for each output");
        let sections = to_sections.into_iter().map(|output| ((output, next()), Bundle::new()));
        let mut entrance = Entrance {
            sections: sections.collect(),
            collections: to_collections
                .into_iter()
                .map(|output| output.map(|output| (output, next())))
                .collect(),
            doors,
        };
        move |_frontiers| {
            let mut state = state.borrow_mut();
            let time = state.time;
            entrance.send(&mut state.buffers, time);
            if state.closed {
                entrance.sections.clear();
                entrance.collections.clear();
            }
        }
    });
    (ingest, Entered { sections, collections })
}

/// The streams of the ingest, from within.
struct Entrance {
    sections: Vec<(Outlet<Bundle>, Bundle)>,
    /// By entry.
    collections: Vec<Option<Outlet<Batches>>>,
    doors: Doors,
}

impl Entrance {
    /// Sends what is buffered, and lets go of `time`.
    fn send(&mut self, buffers: &mut [Batches], time: u64) {
        let waiting = buffers.iter_mut().zip(&self.doors.entries).zip(&mut self.collections);
        let mut feeds = !self.doors.fed.stands_still();
        for ((buffer, door), collection) in waiting.filter(|((buffer, _), _)| !buffer.is_empty()) {
            if let Some((output, capability)) = collection {
                feeds = true;
                output.activate().give(&capability.delayed(&time), &mut buffer.clone());
            }
            for (index, (section, wire)) in door.sections.iter().enumerate() {
                let is_last = index + 1 == door.sections.len();
                let batch = if is_last { std::mem::take(buffer) } else { buffer.clone() };
                self.sections[*section].1.push((*wire, batch));
            }
            buffer.clear();
        }
        for ((output, capability), bundle) in &mut self.sections {
            if !bundle.is_empty() {
                output.activate().give(&capability.delayed(&time), bundle);
                bundle.clear();
            }
            capability.downgrade(&(time + 1));
        }
        if feeds {
            self.doors.fed.note(time);
            for (_, capability) in self.collections.iter_mut().flatten() {
                capability.downgrade(&(time + 1));
            }
        }
    }
}
