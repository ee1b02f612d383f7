//! Stands in for the kind `websocket`: the same ports and role, without sockets.
//!
//! As in the real one, what comes back is queued inside the worker and answered by another thread; only
//! the time of arrival is taken at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Instant;

use imflow_kind::{Description, Injector, IoContext, Kind, Outboxes, Source, StartError};
use imflow_proto::Record;
use imflow_proto::record::{Delivery, Event};

use crate::failure::Failure;
use crate::histogram::Histogram;

/// What the load feeds and what comes back to it.
#[derive(Default)]
pub(super) struct Gateway {
    injector: OnceLock<Arc<dyn Injector>>,
    /// The thread that answers, woken when something comes back.
    answering: OnceLock<Thread>,
    /// Bounded by the credit of the commands behind it.
    came_back: Mutex<Vec<Record>>,
    timing: Mutex<Option<Timing>>,
    pub(super) recipients: AtomicU64,
}

/// A schedule: the message that is numbered `n` (by its ticket) is due at `begin + n * every`.
pub(super) struct Timing {
    pub(super) begin: Instant,
    pub(super) every_ns: u64,
    pub(super) latencies: Histogram,
}

impl Gateway {
    /// The kind that takes the place of the one with this description.
    pub(super) fn kind(self: &Arc<Self>, description: &'static Description) -> Kind {
        let gateway = Arc::clone(self);
        let build = move |context: &IoContext| -> Result<Box<dyn Source>, StartError> {
            context.roles.offer(&context.name, Arc::clone(&gateway) as Arc<dyn Outboxes>);
            Ok(Box::new(Door(Arc::clone(&gateway))))
        };
        Kind::source(description, build).simulated_as_it_is()
    }

    pub(super) fn injector(&self) -> Result<Arc<dyn Injector>, Failure> {
        let injector = self.injector.get().map(Arc::clone);
        injector
            .ok_or_else(|| Failure::new("the topology has no source of kind `websocket` to feed"))
    }

    /// This thread answers from now on.
    pub(super) fn answer_here(&self) {
        self.answering.get_or_init(std::thread::current);
    }

    /// Takes what came back.
    pub(super) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut lock(&self.came_back))
    }

    /// Counts who gets a message: its receivers but the sender, who has one session here.
    pub(super) fn count(&self, delivery: &Delivery) {
        if let Event::Message(entry) = &delivery.event {
            let sender = &*entry.message.sender_id;
            let receivers = delivery.to.iter().filter(|user| ***user != *sender).count();
            self.recipients.fetch_add(receivers as u64, Ordering::Relaxed);
        }
    }

    /// Begins to take times, or ends it and gives them.
    pub(super) fn time(&self, timing: Option<Timing>) -> Option<Timing> {
        std::mem::replace(&mut lock(&self.timing), timing)
    }
}

impl Outboxes for Gateway {
    fn deliver(&self, mut records: Vec<Record>) {
        if let Some(timing) = lock(&self.timing).as_mut() {
            let now = timing.begin.elapsed().as_nanos() as u64;
            for record in &records {
                if let Record::Committed(committed) = record
                    && let Some(ticket) = &committed.ticket
                {
                    timing.latencies.record(now.saturating_sub(ticket.id() * timing.every_ns));
                }
            }
        }
        lock(&self.came_back).append(&mut records);
        if let Some(thread) = self.answering.get() {
            thread.unpark();
        }
    }
}

struct Door(Arc<Gateway>);

impl Source for Door {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        self.0.injector.get_or_init(|| injector);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
