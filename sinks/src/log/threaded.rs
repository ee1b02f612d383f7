//! The sink on threads of its own: each part of the log follows the one before over a bounded channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use imflow_kind::{Injector, Intake, IoContext, Sink, StartError, Time};
use imflow_proto::Record;

use super::commit_thread::{self, CommitThread};
use super::files::{Files, Lock};
use super::lookups;
use super::parts::{Opened, Storage, Works};
use super::snapshots::Snapshots;
use super::space::Space;

/// Batches that wait for the committer or for the lookups. Each holds credit, of which there is less.
const WAITING_BATCHES: usize = 65_536;
/// Commits that wait for the indexer.
const WAITING_GROUPS: usize = 64;
/// Sealed segments that wait for the ingester.
const WAITING_SEGMENTS: usize = 4;

pub(crate) struct ThreadedLog {
    name: String,
    snapshots: Arc<Snapshots>,
    space: Arc<Space>,
    records: flume::Sender<commit_thread::Inbox>,
    lookups: flume::Sender<lookups::Inbox>,
    /// What the threads take when they start.
    unstarted: Option<Unstarted>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped to stop the eraser.
    erasing: Option<flume::Sender<()>>,
    /// Dropped last: until then nobody else may open the folder.
    _lock: Option<Lock>,
}

struct Unstarted {
    log: Opened,
    records: flume::Receiver<commit_thread::Inbox>,
    lookups: flume::Receiver<lookups::Inbox>,
}

impl ThreadedLog {
    pub(crate) fn build(
        context: &IoContext,
        storage: Storage,
        snapshots: Arc<dyn Files>,
    ) -> Result<Self, StartError> {
        let (log, snapshots) = Opened::open(context, &storage, Snapshots::new(snapshots))?;
        let (records, records_inbox) = flume::bounded(WAITING_BATCHES);
        let (lookups, lookups_inbox) = flume::bounded(WAITING_BATCHES);
        Ok(Self {
            name: context.name.clone(),
            snapshots,
            space: log.space(),
            records,
            lookups,
            unstarted: Some(Unstarted { log, records: records_inbox, lookups: lookups_inbox }),
            threads: Vec::new(),
            erasing: None,
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

impl Sink for ThreadedLog {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        let (records, lookups) = (self.records.clone(), self.lookups.clone());
        Box::new(LogIntake { worker, records: Lane::new(records), lookups: Lane::new(lookups) })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Some(Unstarted { log, records, lookups }) = self.unstarted.take() else {
            return Ok(());
        };
        let (groups, groups_inbox) = flume::bounded(WAITING_GROUPS);
        let (sealed, sealed_inbox) = flume::bounded(WAITING_SEGMENTS);
        let Works { committer, indexer, ingester, lookups: answers, references, eraser } =
            log.works(injector);
        let (erasing, erasing_stopped) = flume::bounded(0);
        self.erasing = Some(erasing);
        let committer = CommitThread::new(committer, records, groups);
        let (space, snapshots) = (Arc::clone(&self.space), Arc::clone(&self.snapshots));
        self.spawn("commit", move || committer.run())?;
        self.spawn("index", move || indexer.run(&groups_inbox, &sealed))?;
        self.spawn("ingest", move || ingester.run(&sealed_inbox))?;
        self.spawn("lookup", move || answers.run(&references, &lookups))?;
        self.spawn("space", move || space.run())?;
        self.spawn("snapshot", move || snapshots.run())?;
        self.spawn("erase", move || eraser.run(&erasing_stopped))
    }

    fn stop(&mut self) {
        // What was taken is committed before the committer meets its `Stop`; the others follow from it.
        let _ = self.records.send(commit_thread::Inbox::Stop);
        let _ = self.lookups.send(lookups::Inbox::Stop);
        self.space.give_up_index();
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        for thread in threads.by_ref().take(4) {
            let _ = thread.join();
        }
        self.erasing = None;
        self.space.stop();
        self.snapshots.stop();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for ThreadedLog {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop();
        }
    }
}

/// The hand in a worker: passes batches on and never waits.
struct LogIntake {
    worker: usize,
    records: Lane<commit_thread::Inbox>,
    lookups: Lane<lookups::Inbox>,
}

impl Intake for LogIntake {
    fn on_batch(&mut self, _now: Time, port: usize, records: &mut Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let records = std::mem::take(records);
        match port {
            0 => self.records.send(commit_thread::Inbox::Records(self.worker, records)),
            2 => self.lookups.send(lookups::Inbox::References(self.worker, records)),
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
