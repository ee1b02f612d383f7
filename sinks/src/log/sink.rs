//! Puts the log together: recovery when built, threads when started, and the hand in each worker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use imflow_kind::{Clock, Injector, Intake, IoContext, Journal, Sink, StartError, Store, Time};
use imflow_proto::Record;

use super::LogError;
use super::committer::{self, Committer};
use super::completions::Completions;
use super::files::{Files, Lock};
use super::index::{Index, Indexer, Ingester, Policy, Tables, rebuild};
use super::journal::LogJournal;
use super::lookups::{self, Lookups};
use super::progress::Progress;
use super::recover::{Tail, recover};
use super::segments::Segments;
use super::snapshots::Snapshots;
use super::space::{Sizes, Space};

/// Batches that wait for the committer or for the lookups. Each holds credit, of which there is less.
const WAITING_BATCHES: usize = 65_536;
/// Commits that wait for the indexer.
const WAITING_GROUPS: usize = 64;
/// Sealed segments that wait for the ingester.
const WAITING_SEGMENTS: usize = 4;

/// Where a log keeps its things.
pub(crate) struct Storage {
    pub files: Arc<dyn Files>,
    pub snapshots: Arc<dyn Files>,
    pub tables: Arc<dyn Tables>,
    pub policy: Policy,
    pub lock: Option<Lock>,
}

/// The parts of a recovered log, before any thread runs.
pub(crate) struct Parts {
    pub segments: Arc<Segments>,
    pub space: Arc<Space>,
    pub progress: Arc<Progress>,
    pub index: Arc<Index>,
    pub tail: Tail,
}

impl Parts {
    /// Recovers the log and brings the index up to it.
    pub(crate) fn recover(storage: &Storage, sizes: Sizes) -> Result<Self, LogError> {
        let found = recover(&*storage.files, sizes.segment)?;
        let tail = found.tail;
        let segments = Arc::new(Segments::new(Arc::clone(&storage.files), found.known));
        let durable = tail.next_lsn - 1;
        let progress = Arc::new(Progress::at(durable));
        let open = rebuild(&segments, &storage.tables, durable, storage.policy)?;
        let index = Arc::new(Index::new(
            Arc::clone(&segments),
            Arc::clone(&progress),
            Arc::clone(&storage.tables),
            open,
        ));
        let left = tail.file.size() - tail.end;
        let space = Arc::new(Space::new(
            Arc::clone(&storage.files),
            sizes,
            tail.segment,
            left,
            found.spares,
        ));
        // A log that ends near the end of its segment must not begin by refusing commands.
        while space.gate().is_closed() {
            match space.make_one() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(
                        "{error}; the service starts for reads only and refuses messages until there is room"
                    );
                    break;
                }
            }
        }
        Ok(Self { segments, space, progress, index, tail })
    }
}

pub(crate) struct LogSink {
    name: String,
    clock: Arc<dyn Clock>,
    retain: Duration,
    policy: Policy,
    snapshots: Arc<Snapshots>,
    index: Arc<Index>,
    space: Arc<Space>,
    segments: Arc<Segments>,
    progress: Arc<Progress>,
    records: flume::Sender<committer::Inbox>,
    lookups: flume::Sender<lookups::Inbox>,
    /// What the threads take when they start.
    unstarted: Option<(Tail, flume::Receiver<committer::Inbox>, flume::Receiver<lookups::Inbox>)>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped last: until then nobody else may open the folder.
    _lock: Option<Lock>,
}

impl LogSink {
    pub(crate) fn build(context: &IoContext, storage: Storage) -> Result<Self, StartError> {
        let parts = Parts::recover(&storage, Sizes::of_segment(context.options.size("segment")))?;
        let snapshots = Arc::new(Snapshots::new(Arc::clone(&storage.snapshots)));
        let journal = LogJournal {
            index: Arc::clone(&parts.index),
            snapshots: Arc::clone(&snapshots),
            gate: parts.space.gate(),
        };
        context.roles.offer(&context.name, Arc::clone(&parts.index) as Arc<dyn Store>);
        context.roles.offer(&context.name, Arc::clone(&parts.index));
        context.roles.offer(&context.name, Arc::new(journal) as Arc<dyn Journal>);
        let (records, records_inbox) = flume::bounded(WAITING_BATCHES);
        let (lookups, lookups_inbox) = flume::bounded(WAITING_BATCHES);
        Ok(Self {
            name: context.name.clone(),
            clock: Arc::clone(&context.clock),
            retain: context.options.duration("retain"),
            policy: storage.policy,
            snapshots,
            index: parts.index,
            space: parts.space,
            segments: parts.segments,
            progress: parts.progress,
            records,
            lookups,
            unstarted: Some((parts.tail, records_inbox, lookups_inbox)),
            threads: Vec::new(),
            _lock: storage.lock,
        })
    }

    fn spawn(&mut self, part: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = std::thread::Builder::new().name(format!("{}-{part}", self.name)).spawn(run);
        self.threads.push(thread.map_err(|error| {
            StartError::new(format!("cannot start the thread `{part}` of the log: {error}"))
        })?);
        Ok(())
    }
}

impl Sink for LogSink {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        let (records, lookups) = (self.records.clone(), self.lookups.clone());
        Box::new(LogIntake { worker, records: Lane::new(records), lookups: Lane::new(lookups) })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Some((tail, records, lookups)) = self.unstarted.take() else { return Ok(()) };
        let (groups, groups_inbox) = flume::bounded(WAITING_GROUPS);
        let (sealed, sealed_inbox) = flume::bounded(WAITING_SEGMENTS);
        let (index, space) = (Arc::clone(&self.index), Arc::clone(&self.space));
        let shared = (Arc::clone(&self.segments), Arc::clone(&space), Arc::clone(&self.progress));
        let committer =
            Committer::new(records, groups, shared, Completions::new(Arc::clone(&injector)), tail);
        let indexer = Indexer {
            index: Arc::clone(&index),
            space: Arc::clone(&space),
            inbox: groups_inbox,
            sealed,
        };
        let ingester = Ingester {
            index: Arc::clone(&index),
            space: Arc::clone(&space),
            policy: self.policy,
            inbox: sealed_inbox,
        };
        let lookups = Lookups {
            index,
            space: Arc::clone(&space),
            clock: Arc::clone(&self.clock),
            retain: self.retain,
            inbox: lookups,
            injector,
        };
        let snapshots = Arc::clone(&self.snapshots);
        self.spawn("commit", move || committer.run())?;
        self.spawn("index", move || indexer.run())?;
        self.spawn("ingest", move || ingester.run())?;
        self.spawn("lookup", move || lookups.run())?;
        self.spawn("space", move || space.run())?;
        self.spawn("snapshot", move || snapshots.run())
    }

    fn stop(&mut self) {
        // What was taken is committed before the committer meets its `Stop`; the others follow from it.
        let _ = self.records.send(committer::Inbox::Stop);
        let _ = self.lookups.send(lookups::Inbox::Stop);
        self.space.give_up_index();
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        for thread in threads.by_ref().take(4) {
            let _ = thread.join();
        }
        self.space.stop();
        self.snapshots.stop();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop();
        }
    }
}

/// The hand in a worker: passes batches on and never waits.
struct LogIntake {
    worker: usize,
    records: Lane<committer::Inbox>,
    lookups: Lane<lookups::Inbox>,
}

impl Intake for LogIntake {
    fn on_batch(&mut self, _now: Time, port: usize, records: &mut Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let records = std::mem::take(records);
        match port {
            0 => self.records.send(committer::Inbox::Records(self.worker, records)),
            _ => self.lookups.send(lookups::Inbox::Lookups(self.worker, records)),
        }
    }
}

/// A channel's end that keeps what does not fit until the next batch. Credit makes that impossible: a
/// batch holds at least one command's credit, and a worker has less of it than the channel has places.
struct Lane<T> {
    to: flume::Sender<T>,
    parked: VecDeque<T>,
}

impl<T> Lane<T> {
    fn new(to: flume::Sender<T>) -> Self {
        Self { to, parked: VecDeque::new() }
    }

    fn send(&mut self, batch: T) {
        self.parked.push_back(batch);
        while let Some(batch) = self.parked.pop_front() {
            match self.to.try_send(batch) {
                Ok(()) => {}
                Err(flume::TrySendError::Full(batch)) => {
                    tracing::error!(
                        "{WAITING_BATCHES} batches wait for the log, more than credit allows; this is a bug, please report it"
                    );
                    return self.parked.push_front(batch);
                }
                // The sink has stopped; what was not acked may be lost.
                Err(flume::TrySendError::Disconnected(_)) => return self.parked.clear(),
            }
        }
    }
}
