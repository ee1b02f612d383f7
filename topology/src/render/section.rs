//! The shell that puts state machines and sinks into timely: all of one section in one operator.
//!
//! A section runs whole epochs. What arrives at a time is kept until nothing of that time can arrive any
//! more; then the nodes run in their order, each with its side ports before its main port, so that a fact
//! and a message of one epoch always meet in the same order. Between nodes of a section a batch is moved
//! and nothing else happens: progress is tracked for the section as a whole (decision 14). It holds one
//! capability for each output and keeps it at its frontier, so it may emit at any time that is not over.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use imflow_kind::{Batches, Out, Stream, Time};
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;

use super::ingest::Fed;
use super::{SharedIntake, SharedOperator};

/// Batches for a section, each with the wire that it comes on.
pub(crate) type Bundle = Vec<(usize, Batches)>;

/// The end of a stream, and the right to send on it.
pub(crate) type Outlet<C> = (Output<u64, C>, Capability<u64>);

/// A stream of bundles.
pub(crate) type Bundles<'s> = timely::dataflow::Stream<'s, u64, Bundle>;

/// What a section tells the instance's loop.
pub(crate) struct SectionState {
    /// The least time that may still arrive; `u64::MAX` once nothing can.
    pub frontier: Cell<u64>,
    /// The earliest deadline of its operators, or `u64::MAX`.
    pub deadline: Cell<u64>,
}

/// State machines and sinks that run together, producers first.
#[derive(Default)]
pub(crate) struct Section {
    pub members: Vec<Member>,
    /// By wire from outside: who takes what comes on it.
    pub wires: Vec<Vec<(usize, usize)>>,
}

/// A node in its section.
pub(crate) struct Member {
    body: Body,
    /// By input port: what waits for the node.
    waiting: Vec<Batches>,
    out: Out,
    /// By output port: where its records go.
    pub targets: Vec<Vec<Target>>,
}

enum Body {
    Operator(SharedOperator),
    Intake(SharedIntake),
}

/// Where the records of an output port go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// A member of the section, and its input port.
    Member(usize, usize),
    /// A later section (by its place among [`Outlets::sections`]), and the wire into it.
    Section(usize, usize),
    /// A collection, by its place among [`Outlets::collections`].
    Collection(usize),
}

/// How many streams leave a section.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outlets {
    pub sections: usize,
    pub collections: usize,
}

/// The streams into a section.
pub(crate) struct Inlets<'s> {
    /// What the ingest sends: at most one bundle an epoch.
    pub ingest: Bundles<'s>,
    pub sections: Vec<Bundles<'s>>,
    /// Streams of collections, with their wires.
    pub collections: Vec<(usize, Stream<'s>)>,
    pub fed: Fed,
}

/// The streams out of a section, in the order of its [`Outlets`].
pub(crate) struct Streams<'s> {
    pub sections: Vec<Bundles<'s>>,
    pub collections: Vec<Stream<'s>>,
}

impl Member {
    /// A state machine with so many ports.
    pub(crate) fn operator(operator: SharedOperator, inputs: usize, outputs: usize) -> Self {
        Self::new(Body::Operator(operator), inputs, outputs)
    }

    /// A sink's hand.
    pub(crate) fn intake(intake: SharedIntake, inputs: usize) -> Self {
        Self::new(Body::Intake(intake), inputs, 0)
    }

    fn new(body: Body, inputs: usize, outputs: usize) -> Self {
        Self {
            body,
            waiting: (0..inputs).map(|_| Vec::new()).collect(),
            out: Out::new(outputs),
            targets: vec![Vec::new(); outputs],
        }
    }

    /// Takes what waits, the side ports first.
    fn run(&mut self, now: Time) {
        for (port, waiting) in self.waiting.iter_mut().enumerate().rev() {
            if waiting.is_empty() {
                continue;
            }
            match &mut self.body {
                Body::Operator(operator) => {
                    operator.borrow_mut().on_batch(now, port, waiting, &mut self.out);
                }
                Body::Intake(intake) => intake.borrow_mut().on_batch(now, port, waiting),
            }
            waiting.clear();
        }
    }

    /// Does what is due at `now`.
    fn tick(&mut self, now: Time) {
        if let Body::Operator(operator) = &self.body {
            let mut operator = operator.borrow_mut();
            while operator.next_deadline().is_some_and(|due| due <= now) {
                operator.on_time(now, &mut self.out);
            }
        }
    }

    fn deadline(&self) -> u64 {
        match &self.body {
            Body::Operator(operator) => {
                operator.borrow().next_deadline().map_or(u64::MAX, |due| due.0)
            }
            Body::Intake(_) => u64::MAX,
        }
    }
}

impl Section {
    /// Puts the section into the dataflow.
    pub(crate) fn build<'s>(
        self,
        name: &str,
        scope: Scope<'s, u64>,
        inlets: Inlets<'s>,
        outlets: Outlets,
    ) -> (Rc<SectionState>, Streams<'s>) {
        let state =
            Rc::new(SectionState { frontier: Cell::new(0), deadline: Cell::new(self.deadline()) });
        let mut builder = OperatorBuilder::new(name.to_owned(), scope);
        let (fed, before_collections) = (inlets.fed, 1 + inlets.sections.len());
        let mut bundles: Vec<_> = (std::iter::once(inlets.ingest).chain(inlets.sections))
            .map(|stream| builder.new_input(stream, Pipeline))
            .collect();
        let mut batches: Vec<_> = (inlets.collections.into_iter())
            .map(|(wire, stream)| (wire, builder.new_input(stream, Pipeline)))
            .collect();
        let (to_sections, sections): (Vec<_>, Vec<_>) =
            (0..outlets.sections).map(|_| builder.new_output::<Bundle>()).unzip();
        let (to_collections, collections): (Vec<_>, Vec<_>) =
            (0..outlets.collections).map(|_| builder.new_output::<Batches>()).unzip();
        let told = Rc::clone(&state);
        builder.build(move |capabilities| {
            let mut running = Running {
                section: self,
                held: 0,
                gathered: BTreeMap::new(),
                outlets: Outgoing::new(to_sections, to_collections, capabilities),
            };
            let mut ingested = 0;
            move |frontiers| {
                for (index, handle) in bundles.iter_mut().enumerate() {
                    handle.for_each(|capability, bundle| {
                        let time = *capability.least().expect("a bundle has a time");
                        if index == 0 {
                            ingested = time + 1;
                        }
                        running.gathered.entry(time).or_default().append(bundle);
                    });
                }
                for (wire, handle) in &mut batches {
                    handle.for_each(|capability, records| {
                        let time = *capability.least().expect("a batch has a time");
                        let epoch = running.gathered.entry(time).or_default();
                        epoch.push((*wire, std::mem::take(records)));
                    });
                }
                let (from_sections, from_collections) = frontiers.split_at(before_collections);
                let (from_ingest, from_sections) = from_sections.split_at(1);
                // An epoch of the ingest is whole with its one bundle.
                let ingest = least(from_ingest).max(ingested);
                let collections = from_collections.iter().map(|one| fed.least(least([one])));
                let frontier = collections.fold(ingest.min(least(from_sections)), u64::min);
                running.advance(frontier);
                told.deadline.set(running.section.deadline());
                told.frontier.set(frontier);
            }
        });
        (state, Streams { sections, collections })
    }

    fn deadline(&self) -> u64 {
        self.members.iter().map(Member::deadline).min().unwrap_or(u64::MAX)
    }
}

/// The least time that may still arrive on any of these; `u64::MAX` once nothing can.
fn least<'f>(frontiers: impl IntoIterator<Item = &'f MutableAntichain<u64>>) -> u64 {
    let first = |frontier: &MutableAntichain<u64>| frontier.frontier().first().copied();
    frontiers.into_iter().filter_map(first).min().unwrap_or(u64::MAX)
}

/// A section at work.
struct Running {
    section: Section,
    /// The time of the capabilities.
    held: u64,
    /// What has arrived of each epoch that is not whole yet.
    gathered: BTreeMap<u64, Bundle>,
    outlets: Outgoing,
}

impl Running {
    /// Runs what is over once nothing before `frontier` can arrive.
    fn advance(&mut self, frontier: u64) {
        while let Some(epoch) = self.gathered.first_entry().filter(|epoch| *epoch.key() < frontier)
        {
            let (time, bundle) = epoch.remove_entry();
            for (wire, records) in bundle {
                self.take(wire, records);
            }
            self.pass(time, false);
        }
        // The latest time that is over, if one is that may still be emitted at.
        let over = frontier.checked_sub(1).filter(|now| frontier != u64::MAX && *now >= self.held);
        if let Some(now) = over.filter(|now| self.section.deadline() <= *now) {
            self.pass(now, true);
        }
        if frontier == u64::MAX {
            self.outlets.close();
        } else if frontier > self.held {
            self.outlets.downgrade(frontier);
            self.held = frontier;
        }
    }

    /// Gives what came on a wire to those who take it.
    fn take(&mut self, wire: usize, mut records: Batches) {
        let Some(((last, last_port), others)) = self.section.wires[wire].split_last() else {
            return;
        };
        for (member, port) in others {
            self.section.members[*member].waiting[*port].extend(records.iter().cloned());
        }
        put(&mut self.section.members[*last].waiting[*last_port], &mut records);
    }

    /// Runs all members once, in their order.
    fn pass(&mut self, time: u64, deadlines: bool) {
        for index in 0..self.section.members.len() {
            let (before, behind) = self.section.members.split_at_mut(index + 1);
            let member = &mut before[index];
            member.run(Time(time));
            if deadlines {
                member.tick(Time(time));
            }
            for (port, targets) in member.targets.iter().enumerate() {
                let records = member.out.port(port);
                if records.is_empty() {
                    continue;
                }
                let Some((last, others)) = targets.split_last() else {
                    records.clear();
                    continue;
                };
                let mut send = |target: Target, records: &mut Batches| match target {
                    Target::Member(to, port) => {
                        put(&mut behind[to - index - 1].waiting[port], records)
                    }
                    Target::Section(outlet, wire) => self.outlets.bundle(outlet, wire, records),
                    Target::Collection(outlet) => self.outlets.batch(outlet, time, records),
                };
                for target in others {
                    send(*target, &mut records.clone());
                }
                send(*last, records);
            }
        }
        self.outlets.flush(time);
    }
}

/// Moves records behind those that wait.
fn put(waiting: &mut Batches, records: &mut Batches) {
    if waiting.is_empty() {
        std::mem::swap(waiting, records);
    } else {
        waiting.append(records);
    }
}

/// The ends of the streams that leave a section, and the right to send on each.
struct Outgoing {
    sections: Vec<(Outlet<Bundle>, Bundle)>,
    collections: Vec<Outlet<Batches>>,
}

impl Outgoing {
    fn new(
        sections: Vec<Output<u64, Bundle>>,
        collections: Vec<Output<u64, Batches>>,
        capabilities: Vec<Capability<u64>>,
    ) -> Self {
        let mut capabilities = capabilities.into_iter();
        let mut next = move || capabilities.next().expect("one for each output");
        let sections =
            sections.into_iter().map(|output| ((output, next()), Bundle::new())).collect();
        let collections = collections.into_iter().map(|output| (output, next())).collect();
        Self { sections, collections }
    }

    fn bundle(&mut self, outlet: usize, wire: usize, records: &mut Batches) {
        self.sections[outlet].1.push((wire, std::mem::take(records)));
    }

    fn batch(&mut self, outlet: usize, time: u64, records: &mut Batches) {
        let (output, capability) = &mut self.collections[outlet];
        output.activate().give(&capability.delayed(&time), records);
        records.clear();
    }

    /// Sends the bundles of one time.
    fn flush(&mut self, time: u64) {
        for ((output, capability), bundle) in &mut self.sections {
            if !bundle.is_empty() {
                output.activate().give(&capability.delayed(&time), bundle);
                bundle.clear();
            }
        }
    }

    fn downgrade(&mut self, time: u64) {
        self.sections.iter_mut().for_each(|((_, capability), _)| capability.downgrade(&time));
        self.collections.iter_mut().for_each(|(_, capability)| capability.downgrade(&time));
    }

    fn close(&mut self) {
        self.sections.clear();
        self.collections.clear();
    }
}
