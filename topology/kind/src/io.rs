//! The contracts of sources and sinks, which touch sockets, disks and threads.
//!
//! A sink with output ports is split in two. Its [`Intake`] runs inside a worker, takes records and
//! never blocks; what it has finished comes back from threads of its own through an [`Injector`], on
//! the completions lane of the worker that gave the record. Nothing that waits for I/O holds a
//! capability.

use std::path::PathBuf;
use std::sync::Arc;

use imflow_proto::wire::{Error, ErrorCode};
use imflow_proto::{Record, RecordType, ticket::Credit};

use crate::{Clock, Meters, Options, Roles, Time};

/// What a source or sink is built with.
#[derive(Clone)]
pub struct IoContext {
    /// The node's name in the file.
    pub name: String,
    pub options: Options,
    /// What feeds the inputs, in the file's order.
    pub feeds: Vec<Feed>,
    /// `service.data`: the only folder that kinds write to.
    pub data: PathBuf,
    /// `service.node`: this node's name.
    pub node: String,
    pub partitions: u32,
    pub workers: usize,
    pub clock: Arc<dyn Clock>,
    /// Where what the node measures of itself is shown.
    pub meters: Meters,
    /// Where roles are offered (while building) and found (while starting).
    pub roles: Roles,
}

/// One wire into a source or sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The name of the node that it comes from.
    pub from: String,
    pub record: RecordType,
}

/// Why a kind could not be built or started: what, where, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl StartError {
    /// An error with a whole sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// Feeds the ports of one source, or the output ports of one sink, into the dataflow.
pub trait Injector: Send + Sync {
    /// The worker of the conversation stage that owns a conversation.
    fn worker_of(&self, conversation_id: &str) -> usize;

    /// Takes credit for one command of so many bytes that will go to `port`, on a conversation's worker.
    ///
    /// # Errors
    /// BUSY when the worker has no credit left, STORAGE_FULL when the log cannot take what would be
    /// written (reads go on), SHUTTING_DOWN while the service stops.
    fn credit(&self, worker: usize, port: usize, bytes: usize) -> Result<Box<dyn Credit>, Error>;

    /// Resolves when credit may be had again, or after a short while; the caller tries again.
    fn credit_returned(
        &self,
        worker: usize,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Puts records on the output port with this index. A source's records go to the workers that own
    /// them; `worker` says which one of the conversation stage (ports of the user stage ignore it).
    /// Never blocks: what comes from outside is bounded by credit, what comes back by what went out.
    fn send(&self, worker: usize, port: usize, records: Vec<Record>);

    /// As [`Injector::send`]; `applied` is dropped when every stage that the records reach has
    /// processed them.
    fn send_and_track(&self, worker: usize, port: usize, records: Vec<Record>, applied: Applied);
}

/// Dropped by the runtime once the records sent with it are processed everywhere.
pub type Applied = Arc<dyn std::any::Any + Send + Sync>;

/// Lets a sink refuse commands before they enter: consulted when credit is taken.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<std::sync::atomic::AtomicBool>);

impl Gate {
    /// Opens or closes the gate.
    pub fn set_closed(&self, closed: bool) {
        self.0.store(closed, std::sync::atomic::Ordering::Release);
    }

    /// Whether commands are refused.
    pub fn is_closed(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Acquire)
    }

    /// The error that a command meets at a closed gate.
    pub fn error() -> Error {
        Error::of(
            ErrorCode::StorageFull,
            "the disk that holds the log is full; nothing was stored, and reads go on; free space, then send again",
        )
        .retry_after(5_000)
    }
}

/// Brings records in. Built once, started after recovery, stopped before the dataflow.
pub trait Source: Send {
    /// Starts to accept. Called inside a tokio runtime; must return without waiting for clients.
    ///
    /// # Errors
    /// When what it needs cannot be had (a port in use, a missing role).
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError>;

    /// Stops to accept and tells clients to reconnect; in-flight commands may still be answered.
    fn drain(&mut self) {}

    /// Whether [`Source::drain`] has told all of them; until then they are served.
    fn is_drained(&self) -> bool {
        true
    }

    /// Ends what is left. Called after the dataflow has finished.
    fn stop(&mut self) {}

    /// In a simulation: does what is due or has become possible, and says whether that was anything.
    /// Asked again until nothing moves any more, at each instant of virtual time.
    fn step(&mut self) -> bool {
        false
    }

    /// In a simulation: when [`Source::step`] has something to do of its own accord, in milliseconds since
    /// the Unix epoch.
    fn next_due(&self) -> Option<u64> {
        None
    }
}

/// Takes records out.
pub trait Sink: Send {
    /// The part that runs inside the worker with this index of the stage that feeds it.
    fn intake(&mut self, worker: usize) -> Box<dyn Intake>;

    /// Starts to emit; `injector` feeds the output ports. Called inside a tokio runtime, before any
    /// source starts.
    ///
    /// # Errors
    /// When what it needs cannot be had.
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError>;

    /// Finishes what was taken, makes it durable and ends. Called after the dataflow has finished.
    fn stop(&mut self) {}

    /// In a simulation: does what is due or has become possible, and says whether that was anything.
    /// Asked again until nothing moves any more, at each instant of virtual time.
    fn step(&mut self) -> bool {
        false
    }

    /// In a simulation: when [`Sink::step`] has something to do of its own accord, in milliseconds since
    /// the Unix epoch.
    fn next_due(&self) -> Option<u64> {
        None
    }
}

/// A sink's hand inside a worker.
pub trait Intake {
    /// Takes a batch from the input port with this index and drains it. Must not block.
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>);

    /// Whether the stage should take in nothing new for now. What is under way still comes, so this
    /// bounds the sink's queue together with the credit of what is under way.
    fn is_full(&self) -> bool {
        false
    }
}
