//! Feeds the graph: everybody online, conversations created, messages made beforehand.
//!
//! One thread feeds and answers, as a gateway would. What is under way is bounded by the credit of the
//! graph's own ingest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use imflow_kind::{Applied, Injector};
use imflow_proto::record::Submission;
use imflow_proto::{Record, Requester, Ticket};

use super::cast::{Cast, Made};
use super::gateway::{Gateway, Timing};
use super::replies::{self, Replies};
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::machine::{self, Threads};
use crate::report::grouped;

/// Output ports of the kind `websocket`.
const MESSAGES: usize = 0;
const COMMANDS: usize = 1;
const SESSIONS: usize = 2;
/// There is one.
const WORKER: usize = 0;
/// Records that enter together, as from connections that were read in one go.
const BATCH: usize = 128;
/// A graph that gives no answer for so long has lost one.
const PATIENCE: Duration = Duration::from_secs(20);

/// One round at full speed.
pub(super) struct Round {
    pub(super) elapsed: Duration,
    pub(super) threads: Threads,
}

pub(super) struct Load {
    gateway: Arc<Gateway>,
    injector: Arc<dyn Injector>,
    replies: Arc<Replies>,
    cast: Cast,
}

impl Load {
    pub(super) fn new(gateway: Arc<Gateway>, cast: Cast) -> Result<Self, Failure> {
        let injector = gateway.injector()?;
        Ok(Self { gateway, injector, replies: Arc::default(), cast })
    }

    /// Brings everybody online and creates the conversations.
    pub(super) fn populate(&mut self) -> Result<(), Failure> {
        self.gateway.answer_here();
        let applied: Applied = Arc::new(());
        let processed = Arc::downgrade(&applied);
        self.injector.send_and_track(WORKER, SESSIONS, self.cast.arrivals(), applied);
        for conversation in 0..self.cast.size.conversations {
            let ticket = self.ticket(0, COMMANDS, 256)?;
            let record = self.cast.creation(conversation, ticket);
            self.injector.send(WORKER, COMMANDS, vec![record]);
        }
        let wanted = u64::from(self.cast.size.conversations);
        self.answer_until("conversations to be created", |load| load.replies.done() == wanted)?;
        self.answer_until("everybody to be online", |_| processed.strong_count() == 0)
    }

    /// Sends so many messages as fast as credit allows, until all are answered.
    pub(super) fn saturate(&mut self, messages: u32) -> Result<Round, Failure> {
        let made: Vec<Made> = (0..messages).map(|_| self.cast.make()).collect();
        let goal = self.answered() + u64::from(messages);
        let before = Threads::now();
        let begin = Instant::now();
        let mut batch = Vec::with_capacity(BATCH);
        for (session, send) in made {
            let ticket = self.ticket(0, MESSAGES, send.text.len())?;
            batch.push(Record::Submission(Arc::new(Submission::new(ticket, session, send))));
            if batch.len() == BATCH {
                self.injector.send(
                    WORKER,
                    MESSAGES,
                    std::mem::replace(&mut batch, Vec::with_capacity(BATCH)),
                );
                self.answer();
            }
        }
        self.injector.send(WORKER, MESSAGES, batch);
        self.answer_until("acks", |load| load.answered() == goal)?;
        let elapsed = begin.elapsed();
        let threads = Threads::now().since(&before);
        self.delivered()?;
        Ok(Round { elapsed, threads })
    }

    /// Sends messages at a fixed rate and times each from when it was due until its ack was pushed.
    pub(super) fn open_loop(&mut self, rate: u64, length: Duration) -> Result<Histogram, Failure> {
        machine::sleep_exactly()?;
        let total = rate * length.as_secs();
        let made: Vec<Made> = (0..total).map(|_| self.cast.make()).collect();
        let goal = self.answered() + total;
        let every_ns = 1_000_000_000 / rate;
        let begin = Instant::now() + Duration::from_millis(10);
        self.gateway.time(Some(Timing { begin, every_ns, latencies: Histogram::default() }));
        for (number, (session, send)) in (0u64..).zip(made) {
            let due = begin + Duration::from_nanos(number * every_ns);
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            let ticket = self.ticket(number, MESSAGES, send.text.len())?;
            let record = Record::Submission(Arc::new(Submission::new(ticket, session, send)));
            self.injector.send(WORKER, MESSAGES, vec![record]);
            self.answer();
        }
        self.answer_until("acks", |load| load.answered() == goal)?;
        self.delivered()?;
        let timing = self.gateway.time(None);
        Ok(timing.map(|timing| timing.latencies).unwrap_or_default())
    }

    /// Broken promises: refusals, gaps or repeats in the seqs, lost or doubled deliveries.
    pub(super) fn verify(&self) -> Vec<String> {
        let mut broken = Vec::new();
        broken.extend(self.replies.refusals());
        let (found, expected) = (self.replies.seqs(), self.cast.expected_seqs());
        if found != expected {
            broken.push(format!(
                "gaps: the seqs of all acks add up to {found} instead of {expected}"
            ));
        }
        let (found, expected) = (self.recipients(), self.cast.expected_recipients());
        if found != expected {
            broken.push(format!("lost or duplicated: {found} receivers instead of {expected}"));
        }
        broken
    }

    pub(super) fn summary(&self) -> String {
        let (messages, receivers) = (grouped(self.answered()), grouped(self.recipients()));
        format!("{messages} messages answered, {receivers} receivers")
    }

    fn recipients(&self) -> u64 {
        self.gateway.recipients.load(Ordering::Relaxed)
    }

    fn answered(&self) -> u64 {
        self.replies.answered()
    }

    /// Takes credit, answering what comes back while there is none.
    fn ticket(&self, id: u64, port: usize, bytes: usize) -> Result<Ticket, Failure> {
        let since = Instant::now();
        loop {
            if let Ok(credit) = self.injector.credit(WORKER, port, bytes) {
                return Ok(Ticket::new(
                    id,
                    Arc::clone(&self.replies) as Arc<dyn Requester>,
                    Some(credit),
                ));
            }
            if since.elapsed() > PATIENCE {
                return Err(Failure::new(format!(
                    "the graph has given no credit for {PATIENCE:?}"
                )));
            }
            self.wait_and_answer();
        }
    }

    fn delivered(&self) -> Result<(), Failure> {
        self.answer_until("deliveries", |load| load.recipients() >= load.cast.expected_recipients())
    }

    fn answer_until(&self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let since = Instant::now();
        while !done(self) {
            if since.elapsed() > PATIENCE {
                let broken = self.verify().join("; ");
                return Err(Failure::new(format!(
                    "waited for {what} for {PATIENCE:?} in vain: {broken}"
                )));
            }
            self.wait_and_answer();
        }
        Ok(())
    }

    fn wait_and_answer(&self) {
        std::thread::park_timeout(Duration::from_millis(1));
        self.answer();
    }

    /// Answers what came back, as the gateway's dispatcher does.
    fn answer(&self) {
        for record in self.gateway.take() {
            match record {
                Record::Delivery(delivery) => self.gateway.count(&delivery),
                record => replies::answer(&record),
            }
        }
    }
}
