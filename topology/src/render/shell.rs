//! The thin shells that put state machines and sinks into timely.
//!
//! A shell holds one capability for each output and keeps it at its input frontier, so it may emit at
//! any time that is not over. A shell whose operator also hears from a collection hands it *whole
//! epochs*: the records of a time are given once nothing of that time can arrive any more, side ports
//! before the main port, so that a fact and a message of one epoch always meet in the same order.

use std::collections::BTreeMap;
use std::rc::Rc;

use imflow_kind::{Batches, Intake, Out, Stream, Time};
use imflow_proto::Record;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;

use super::{SharedOperator, ShellState};

/// How an operator is put into the dataflow.
pub(crate) struct Shell<'a> {
    pub name: &'a str,
    /// For each output port, whether anybody takes what it sends. Without one it costs nothing.
    pub outputs: &'a [bool],
    pub whole_epochs: bool,
}

impl Shell<'_> {
    /// Builds the shell of a state machine around its input streams (by port).
    pub fn operator<'s>(
        self,
        scope: Scope<'s, u64>,
        inputs: Vec<(usize, Stream<'s>)>,
        operator: SharedOperator,
        shells: &mut Vec<Rc<ShellState>>,
    ) -> Vec<Option<Stream<'s>>> {
        let state = new_state(shells);
        let mut builder = OperatorBuilder::new(self.name.to_owned(), scope);
        let mut handles: Vec<_> =
            inputs.into_iter().map(|(port, s)| (port, builder.new_input(s, Pipeline))).collect();
        let mut streams = Vec::new();
        let mut outputs = Vec::new();
        for consumed in self.outputs {
            let (output, stream) = consumed.then(|| builder.new_output::<Batches>()).unzip();
            outputs.push(output);
            streams.push(stream);
        }
        let whole_epochs = self.whole_epochs;
        builder.build(move |capabilities| {
            let mut sender = Sender::new(outputs, capabilities);
            let mut epochs: BTreeMap<u64, Vec<(usize, Vec<Record>)>> = BTreeMap::new();
            move |frontiers| {
                let mut operator = operator.borrow_mut();
                for (port, handle) in &mut handles {
                    handle.for_each(|capability, records| {
                        let time = *capability.least().expect("a batch has a time");
                        if whole_epochs {
                            epochs.entry(time).or_default().push((*port, std::mem::take(records)));
                        } else {
                            operator.on_batch(Time(time), *port, records, &mut sender.out);
                            sender.flush(time);
                        }
                    });
                }
                let frontier = least(frontiers);
                while let Some(epoch) = epochs.first_entry().filter(|epoch| *epoch.key() < frontier)
                {
                    let (time, mut batches) = epoch.remove_entry();
                    batches.sort_by_key(|(port, _)| std::cmp::Reverse(*port));
                    for (port, mut records) in batches {
                        operator.on_batch(Time(time), port, &mut records, &mut sender.out);
                    }
                    sender.flush(time);
                }
                // The latest time that is over, if one is that this shell may still emit at.
                if let Some(now) = frontier
                    .checked_sub(1)
                    .filter(|now| frontier != u64::MAX && *now >= sender.held)
                {
                    while operator.next_deadline().is_some_and(|due| due.0 <= now) {
                        operator.on_time(Time(now), &mut sender.out);
                    }
                    sender.flush(now);
                }
                sender.advance(frontier);
                state.deadline.set(operator.next_deadline().map_or(u64::MAX, |due| due.0));
                state.frontier.set(frontier);
            }
        });
        streams
    }
}

/// Builds the shell of a sink's intake.
pub(crate) fn intake<'s>(
    scope: Scope<'s, u64>,
    name: &str,
    inputs: Vec<(usize, Stream<'s>)>,
    mut intake: Box<dyn Intake>,
    shells: &mut Vec<Rc<ShellState>>,
) {
    let state = new_state(shells);
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let mut handles: Vec<_> =
        inputs.into_iter().map(|(port, s)| (port, builder.new_input(s, Pipeline))).collect();
    builder.build(move |_capabilities| {
        move |frontiers| {
            for (port, handle) in &mut handles {
                handle.for_each(|capability, records| {
                    let time = *capability.least().expect("a batch has a time");
                    intake.on_batch(Time(time), *port, records);
                });
            }
            state.frontier.set(least(frontiers));
        }
    });
}

fn new_state(shells: &mut Vec<Rc<ShellState>>) -> Rc<ShellState> {
    let state = Rc::new(ShellState::default());
    state.deadline.set(u64::MAX);
    shells.push(Rc::clone(&state));
    state
}

/// The least time of all inputs; `u64::MAX` once all are closed (or there is none).
fn least(frontiers: &[MutableAntichain<u64>]) -> u64 {
    frontiers.iter().filter_map(|f| f.frontier().first().copied()).min().unwrap_or(u64::MAX)
}

/// An output that somebody takes, and the right to send on it.
type Consumed = (Output<u64, Batches>, Capability<u64>);

/// The output side of a shell.
struct Sender {
    /// By port; `None` where nobody takes what is sent.
    outputs: Vec<Option<Consumed>>,
    out: Out,
    /// The time of the capabilities.
    held: u64,
}

impl Sender {
    fn new(outputs: Vec<Option<Output<u64, Batches>>>, capabilities: Vec<Capability<u64>>) -> Self {
        let out = Out::new(outputs.len());
        let mut capabilities = capabilities.into_iter();
        let outputs = outputs
            .into_iter()
            .map(|output| output.and_then(|output| Some((output, capabilities.next()?))))
            .collect();
        Self { outputs, out, held: 0 }
    }

    /// Sends what the operator has put out, at `time`.
    fn flush(&mut self, time: u64) {
        for port in 0..self.out.ports() {
            let buffer = self.out.port(port);
            if let Some((output, capability)) = &mut self.outputs[port]
                && !buffer.is_empty()
            {
                let capability = capability.delayed(&time);
                output.activate().give(&capability, buffer);
            }
            buffer.clear();
        }
    }

    fn advance(&mut self, frontier: u64) {
        if frontier == u64::MAX {
            self.outputs.iter_mut().for_each(|output| *output = None);
        } else if frontier > self.held {
            let consumed = self.outputs.iter_mut().flatten();
            consumed.for_each(|(_, capability)| capability.downgrade(&frontier));
            self.held = frontier;
        }
    }
}
