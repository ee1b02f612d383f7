//! A plan on the calling thread, in virtual time.
//!
//! The same instances as in a live service, turned one after the other until nothing moves; then the
//! clock jumps to the next thing that is due. Nothing waits and nothing depends on how threads meet, so a
//! run is as fast as its events and the same each time.

use std::sync::{Arc, PoisonError};

use imflow_kind::{Clock, Roles, StartError, VirtualClock};
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::worker::{Config, Worker};

use super::assemble::Assembly;
use super::instance::{Instance, Turn};
use crate::plan::Plan;

/// Rounds at one instant after which the graph is taken to feed itself for ever.
const MAX_ROUNDS: usize = 100_000;

/// A plan that runs when it is told to.
pub struct Simulation {
    assembly: Assembly,
    instances: Vec<(Worker, Instance)>,
    clock: Arc<VirtualClock>,
}

/// The graph does not come to rest at an instant.
#[derive(Debug, thiserror::Error)]
#[error(
    "the graph does not come to rest: after {MAX_ROUNDS} rounds at {at_ms} ms there is still something \
     to do; look for records that feed themselves"
)]
pub struct Restless {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Simulation {
    /// Starts a plan with the simulated form of each source and sink, and lets it settle.
    ///
    /// # Errors
    /// When a kind cannot be built or started, or the graph does not come to rest.
    pub fn start(plan: Plan, roles: &Roles, clock: Arc<VirtualClock>) -> Result<Self, StartError> {
        let shared_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let assembly = Assembly::build(plan, roles, &shared_clock, |kind| kind.simulated.as_ref())?;
        let mut simulation = Self { assembly, instances: Vec::new(), clock };
        for index in 0..simulation.plan().instances() {
            let mut worker =
                Worker::new(Config::default(), Allocator::Thread(Thread::default()), None);
            let instance = Instance::start(&simulation.assembly.shared, index, &mut worker)?;
            simulation.instances.push((worker, instance));
        }
        simulation.assembly.start_nodes()?;
        simulation.settle().map_err(|restless| StartError::new(restless.to_string()))?;
        Ok(simulation)
    }

    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.assembly.shared.plan
    }

    /// The virtual time, in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Runs until nothing moves at the present instant.
    ///
    /// # Errors
    /// When it does not come to rest.
    pub fn settle(&mut self) -> Result<(), Restless> {
        for _ in 0..MAX_ROUNDS {
            if !self.round() {
                return Ok(());
            }
        }
        Err(Restless { at_ms: self.now_ms() })
    }

    /// When something happens of its own accord: the earliest deadline of an operator, source or sink.
    pub fn next_deadline(&self) -> Option<u64> {
        let operators = self.instances.iter().filter_map(|(_, instance)| instance.next_deadline());
        let sources = self.assembly.sources.iter().filter_map(|(_, source)| source.next_due());
        let sinks = self.assembly.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let sinks = sinks.values().filter_map(|sink| sink.next_due()).min();
        operators.map(|time| time.ms()).chain(sources).chain(sinks).min()
    }

    /// Lets time pass until `ms`, through each deadline in its order.
    ///
    /// # Errors
    /// When the graph does not come to rest at one of them.
    pub fn advance_to(&mut self, ms: u64) -> Result<(), Restless> {
        // What waits belongs to the present instant, not to the next one.
        self.settle()?;
        while let Some(due) = self.next_deadline().filter(|due| *due <= ms) {
            self.clock.advance_to(due);
            self.settle()?;
            // Something that stays due after it was done would keep the clock here for ever.
            if self.next_deadline().is_some_and(|next| next <= due) {
                return Err(Restless { at_ms: self.now_ms() });
            }
        }
        self.clock.advance_to(ms);
        self.settle()
    }

    /// Turns everything once, in a fixed order; says whether anything moved.
    fn round(&mut self) -> bool {
        let mut moved = false;
        for (_, source) in &mut self.assembly.sources {
            moved |= source.step();
        }
        for (worker, instance) in &mut self.instances {
            moved |= instance.turn(worker) == Turn::Worked;
        }
        let mut sinks = self.assembly.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        for sink in sinks.values_mut() {
            moved |= sink.step();
        }
        moved
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        for (worker, _) in &mut self.instances {
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        }
        let mut sinks = self.assembly.shared.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.values_mut().for_each(|sink| sink.stop());
        self.assembly.sources.iter_mut().for_each(|(_, source)| source.stop());
    }
}
