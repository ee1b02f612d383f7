//! A plan to a running service: builds the kinds, recovers, starts, and stops without losing anything.

mod assemble;
mod credit;
mod faults;
mod injector;
mod instance;
mod lanes;
mod parts;
mod recovery;
mod shared;
mod simulate;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use imflow_kind::{Clock, Roles, StartError};

use crate::plan::Plan;
use assemble::Assembly;

pub use simulate::{Restless, Simulation};

/// How long a stopping service waits for commands that are under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A running service.
pub struct Running {
    assembly: Assembly,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a plan. Call it inside a tokio runtime. It returns once everything has recovered and every
/// source accepts.
///
/// # Errors
/// When a kind cannot be built or started, or the log cannot be recovered.
pub fn start(plan: Plan, roles: &Roles, clock: &Arc<dyn Clock>) -> Result<Running, StartError> {
    let assembly = Assembly::build(plan, roles, clock, |kind| Some(&kind.form))?;
    let mut running = Running { assembly, threads: Vec::new() };
    running.start_instances()?;
    running.assembly.start_nodes()?;
    Ok(running)
}

impl Running {
    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.assembly.shared.plan
    }

    fn start_instances(&mut self) -> Result<(), StartError> {
        let plan = &self.assembly.shared.plan;
        let (ready, started) = mpsc::channel();
        for index in 0..plan.instances() {
            let (shared, ready) = (Arc::clone(&self.assembly.shared), ready.clone());
            let name = match index {
                _ if index < plan.service.workers => format!("conversation-{index}"),
                _ => plan.stage_of_instance(index).name().to_owned(),
            };
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || instance::run(&shared, index, &ready));
            self.threads.push(
                thread.map_err(|e| StartError::new(format!("a thread cannot be started: {e}")))?,
            );
        }
        for _ in 0..plan.instances() {
            started.recv().map_err(|_| StartError::new("an instance ended while it started"))??;
        }
        Ok(())
    }

    /// Stops: clients are told to go, each in its turn; then no new commands, those under way finish, the log is synced, clients are told.
    pub fn stop(mut self) {
        let Assembly { shared, sources, credits } = &mut self.assembly;
        sources.iter_mut().for_each(|(_, source)| source.drain());
        while sources.iter().any(|(_, source)| !source.is_drained()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        credits.iter().for_each(|credits| credits.close());
        let end = Instant::now() + DRAIN_LIMIT;
        while credits.iter().any(|credits| credits.under_way() > 0) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        shared.stopping.store(true, Ordering::Release);
        shared.lanes.iter().for_each(|lanes| lanes.wake());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an instance ended with a panic");
            }
        }
        for sink in shared.sinks.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            sink.stop();
        }
        sources.iter_mut().for_each(|(_, source)| source.stop());
    }
}
