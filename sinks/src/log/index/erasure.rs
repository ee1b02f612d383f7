//! Erases what durable facts ask for, a segment at a time, and notes how far it came; so a crash costs the
//! segment that was under way.
//!
//! The record that asks begins a segment, so all that it is about stands in sealed ones. Each is written anew
//! once the tables hold it. From the moment that the fact is in the index nobody reads what is to go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use imflow_proto::record::Lsn;

use super::amendments::Amendment;
use super::erasures::Erasure;
use super::{Index, Policy, read_segment};
use crate::log::LogError;
use crate::log::base::Base;
use crate::log::erase::{self, Subject, Targets};
use crate::log::files::Files;

/// How often is looked whether there is something to erase.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a disk that failed is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

pub(crate) struct Eraser {
    pub index: Arc<Index>,
    pub files: Arc<dyn Files>,
    pub policy: Policy,
}

impl Eraser {
    /// Erases until the other end of `stopped` is gone, and leaves the disk to others half of the time.
    pub(crate) fn run(self, stopped: &flume::Receiver<()>) {
        let mut pause = PAUSE;
        while let Err(flume::RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
            let begun = Instant::now();
            pause = match self.step() {
                Ok(true) => begun.elapsed(),
                Ok(false) => PAUSE,
                Err(error) => {
                    tracing::warn!(
                        "{error}; what is to be erased is not read by anybody, and is tried again"
                    );
                    AFTER_FAILURE
                }
            };
        }
    }

    /// Looks through one segment; `false`: there is nothing to do now.
    pub(crate) fn step(&self) -> Result<bool, LogError> {
        if self.index.segments.erasing.read().is_empty() {
            return Ok(false);
        }
        let _cutting = self.index.cutting.lock();
        let pending = self.index.directory.pending_erasures()?;
        let firsts = self.index.segments.firsts();
        let next = |erasure: &Erasure| {
            let left = firsts.iter().find(|(number, _)| *number > erasure.upto);
            left.filter(|(_, first)| *first < erasure.lsn).map(|(number, _)| *number)
        };
        if let Some(done) = pending.iter().find(|erasure| next(erasure).is_none()) {
            self.finish(done)?;
            return Ok(true);
        }
        let Some(number) = pending.iter().filter_map(next).min() else { return Ok(false) };
        if number > self.last_ready()? {
            return Ok(false);
        }
        let targets = self.index.segments.erasing.read().clone();
        self.erase(number, &targets)?;
        for erasure in pending.iter().filter(|erasure| next(erasure) == Some(number)) {
            self.note(&Erasure { upto: number, ..erasure.clone() })?;
        }
        Ok(true)
    }

    /// Notes how far an erasure came, unless another of the same subject was asked for meanwhile.
    fn note(&self, erasure: &Erasure) -> Result<(), LogError> {
        let _writing = self.index.writing.lock();
        let now = self.index.directory.erasure(&erasure.subject)?;
        match now.is_some_and(|now| now.lsn == erasure.lsn) {
            true => self.index.tables.write(vec![erasure.row()]),
            false => Ok(()),
        }
    }

    /// The last segment that nobody writes and nobody will make rows of.
    fn last_ready(&self) -> Result<u32, LogError> {
        match self.policy {
            Policy::Ingest => Ok(self.index.directory.applied()?.0),
            Policy::Keep(_) => Ok(self.index.ram.read().newest().saturating_sub(1)),
        }
    }

    fn erase(&self, number: u32, targets: &Targets) -> Result<(), LogError> {
        let index = &*self.index;
        let reactions = erase::rewrite(&index.segments, number, targets)?;
        if let Policy::Keep(_) = self.policy {
            let read = read_segment(&index.segments, &index.directory, number, Lsn::MAX, &[])?;
            index.ram.write().put_back(Arc::new(read));
            return Ok(());
        }
        let rows = |(message, place): &(_, _)| Amendment::rows_of_reaction(message, *place);
        let (mut said, mut counted): (Vec<_>, Vec<_>) = reactions.iter().filter_map(rows).unzip();
        if said.is_empty() {
            return Ok(());
        }
        said.sort_unstable();
        counted.sort_unstable();
        index.tables.remove(super::Table::Amendments, &mut said.into_iter())?;
        index.tables.ingest(super::Table::Amendments, &mut counted.into_iter())
    }

    /// Takes the last traces out, and notes that nothing is left.
    fn finish(&self, erasure: &Erasure) -> Result<(), LogError> {
        let index = &*self.index;
        if let Subject::User(user) = &erasure.subject {
            let _writing = index.writing.lock();
            index.directory.forget_cursors(user)?;
        }
        Base::erase(&*self.files, &erasure.subject)?;
        index.tables.purge()?;
        self.note(&Erasure { finished: true, ..erasure.clone() })?;
        index.tables.persist()?;
        index.load_erasures()?;
        tracing::info!("{:?} was erased up to record {}", erasure.subject, erasure.lsn);
        Ok(())
    }
}
