//! Keeps a copy of the log in another system up to date, whatever becomes of that system.
//!
//! ```text
//! store.committed -> wake              log -> [read on] -> replica (records, then its position)
//!                                       ^ bookmark             | fails: back to the replica's position
//! ```
//! What is to be copied is read from the log, so an outage costs a place in the log and no memory. After
//! any failure the copy is asked again where it stands: it may have taken more than was confirmed, or lost
//! what it had. [`Follower`] does one step when it is called; [`threaded`] calls it for a live service,
//! [`simulated`] in virtual time.

pub(crate) mod kept;
pub(crate) mod simulated;
mod statuses;
pub(crate) mod threaded;

use std::sync::Arc;

use imflow_kind::{Bookmark, IoContext, Journal, Logged, Options, Replica, Roles, StartError};
use imflow_kind::{Injector, ReplicaError, StoreError};
use imflow_proto::record::Lsn;

use statuses::Statuses;

/// The longest pause between two attempts.
const LONGEST_PAUSE_MS: u64 = 5_000;
/// Between two looks at what the passing of time asks for.
const TEND_EVERY_MS: u64 = 60_000;

/// How a copy is kept, from a sink's options `batch`, `retries` and `pause`.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    batch: usize,
    retries: u32,
    pause_ms: u64,
}

impl Manner {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            batch: options.integer("batch") as usize,
            retries: options.integer("retries") as u32,
            pause_ms: options.duration("pause").as_millis() as u64,
        }
    }
}

/// What a step leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// More at once.
    Again,
    /// Nothing before something is committed, or before this time.
    IdleUntil(u64),
    /// Nothing at all before this time.
    At(u64),
}

pub(crate) struct Follower {
    name: String,
    manner: Manner,
    journal: Arc<dyn Journal>,
    replica: Box<dyn Replica>,
    /// Whether the copy has told where it stands since the last failure.
    is_open: bool,
    bookmark: Bookmark,
    /// Up to where the copy's memory of facts is right, if it has one.
    learnt: Option<Lsn>,
    failures: u32,
    tend_at: u64,
    statuses: Option<Statuses>,
}

impl Follower {
    /// A follower of the log that the option `of` names. With an injector, senders are told of delays, on
    /// the sink's first port.
    pub(crate) fn new(
        context: &IoContext,
        replica: Box<dyn Replica>,
        injector: Option<Arc<dyn Injector>>,
    ) -> Result<Self, StartError> {
        let journal = journal_of(&context.roles, &context.name, context.options.text("of"))?;
        let manner = Manner::of(&context.options);
        Ok(Self::of(&context.name, manner, journal, replica, injector))
    }

    fn of(
        name: &str,
        manner: Manner,
        journal: Arc<dyn Journal>,
        replica: Box<dyn Replica>,
        injector: Option<Arc<dyn Injector>>,
    ) -> Self {
        if replica.holds() {
            journal.hold(name, 0);
        }
        Self {
            name: name.to_owned(),
            manner,
            statuses: injector.map(|injector| Statuses::new(injector, Arc::clone(&journal))),
            journal,
            replica,
            is_open: false,
            bookmark: Bookmark::default(),
            learnt: None,
            failures: 0,
            tend_at: 0,
        }
    }

    /// Copies the next records, or looks after the copy when there are none.
    pub(crate) fn step(&mut self, now_ms: u64) -> Next {
        match self.advance(now_ms) {
            Ok(next) => {
                self.recovered();
                next
            }
            Err(error) => Next::At(now_ms + self.failed(&error)),
        }
    }

    fn advance(&mut self, now_ms: u64) -> Result<Next, Trouble> {
        if !self.is_open {
            self.open()?;
        }
        let mut read = self.bookmark;
        let records = self.journal.read_on(&mut read, self.manner.batch)?;
        if read.lsn > self.bookmark.lsn {
            self.replica.write(&records, read.lsn)?;
            if records.iter().any(Logged::is_erasure) {
                self.tend_at = 0;
            }
            self.bookmark = read;
            self.hold();
            self.learnt = self.learnt.map(|_| read.lsn);
            if let Some(statuses) = &mut self.statuses {
                statuses.written(&records);
            }
            return Ok(Next::Again);
        }
        self.replica.settle()?;
        if now_ms >= self.tend_at && !self.replica.tend(now_ms)? {
            self.tend_at = now_ms + TEND_EVERY_MS;
        }
        // Something to do stays due, yet what is committed goes first.
        Ok(if now_ms >= self.tend_at { Next::Again } else { Next::IdleUntil(self.tend_at) })
    }

    fn open(&mut self) -> Result<(), Trouble> {
        let position = self.replica.open()?;
        let durable = self.journal.durable_lsn();
        if position > durable {
            return Err(Trouble(format!(
                "it holds records up to {position}, and the log ends at {durable}: it is the copy of another log; give this \
                 log a database (or prefix) of its own, or restore the log that belongs to it"
            )));
        }
        if self.replica.learns() && self.learnt != Some(position) {
            self.replica.unlearn();
            let replica = &mut self.replica;
            self.journal.replay_facts(position, &mut |fact| replica.learn(&fact))?;
            self.learnt = Some(position);
        }
        if position < self.bookmark.lsn {
            tracing::warn!(
                sink = self.name,
                position,
                had = self.bookmark.lsn,
                "the copy has lost records and is filled again from the log"
            );
        }
        if position != self.bookmark.lsn {
            self.bookmark = Bookmark::behind(position);
        }
        self.is_open = true;
        self.hold();
        Ok(())
    }

    /// What the copy has not got stays in the log.
    fn hold(&self) {
        if self.replica.holds() {
            self.journal.hold(&self.name, self.bookmark.lsn);
        }
    }

    fn recovered(&mut self) {
        if self.failures > self.manner.retries {
            let behind = self.journal.durable_lsn() - self.bookmark.lsn;
            tracing::info!(sink = self.name, behind, "the copy takes records again");
        }
        self.failures = 0;
    }

    /// Notes a failure; gives the pause before the next attempt.
    fn failed(&mut self, error: &Trouble) -> u64 {
        self.is_open = false;
        self.failures = self.failures.saturating_add(1);
        let given_up = self.failures > self.manner.retries;
        if self.failures == 1 || self.failures == self.manner.retries + 1 {
            let (sink, attempts) = (&self.name, self.failures);
            match given_up {
                false => {
                    tracing::warn!(sink, "the copy did not take records, trying again: {error}")
                }
                true => tracing::error!(
                    sink,
                    attempts,
                    "the copy is behind and is filled from the log when it can be reached: {error}"
                ),
            }
        }
        if given_up && let Some(statuses) = &mut self.statuses {
            statuses.delayed(self.bookmark);
        }
        let doubled = self.manner.pause_ms.saturating_mul(1 << (self.failures - 1).min(16));
        doubled.min(LONGEST_PAUSE_MS.max(self.manner.pause_ms))
    }
}

/// What stopped a step, for the service's own log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Trouble(String);

impl From<ReplicaError> for Trouble {
    fn from(error: ReplicaError) -> Self {
        Self(error.0)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self(format!("the log could not be read: {error}"))
    }
}

fn journal_of(roles: &Roles, name: &str, of: &str) -> Result<Arc<dyn Journal>, StartError> {
    roles.find(of).ok_or_else(|| {
        StartError::new(format!(
            "sink `{name}` copies `{of}`, which keeps no log; `of` must name a sink of kind `log`"
        ))
    })
}

#[cfg(test)]
mod tests;
