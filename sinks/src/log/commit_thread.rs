//! The thread that commits whatever waits.
//!
//! The next commit begins when the one before has returned, without a timer, so that groups grow with
//! the load and a lone message waits for nobody. Knows nothing of the index but its inbox, which is
//! bounded; when it is full, commits wait.

use std::vec;

use imflow_proto::Record;

use super::committer::Committer;
use super::index::Group;

/// What the thread is sent.
pub(crate) enum Inbox {
    /// A batch of one worker.
    Records(usize, Vec<Record>),
    /// Commit what came before, then end.
    Stop,
}

pub(crate) struct CommitThread {
    committer: Committer,
    inbox: flume::Receiver<Inbox>,
    index: flume::Sender<Group>,
    /// The batch that the last commit did not finish.
    begun: Option<(usize, vec::IntoIter<Record>)>,
    stopped: bool,
}

impl CommitThread {
    pub(crate) fn new(
        committer: Committer,
        inbox: flume::Receiver<Inbox>,
        index: flume::Sender<Group>,
    ) -> Self {
        Self { committer, inbox, index, begun: None, stopped: false }
    }

    /// Commits until told to stop.
    pub(crate) fn run(mut self) {
        while !self.stopped || !self.committer.is_empty() {
            if !self.stopped {
                self.collect();
            }
            if let Some(group) = self.committer.commit() {
                // Closed only when the indexer has died, which has ended the process or is ending it.
                let _ = self.index.send(group);
            }
        }
    }

    /// Gives the committer what waits; blocks only while there is nothing at all.
    fn collect(&mut self) {
        while !self.committer.is_full() {
            let Some((worker, records)) = &mut self.begun else {
                let next = if self.committer.is_empty() {
                    self.inbox.recv().ok()
                } else {
                    self.inbox.try_recv().ok()
                };
                match next {
                    Some(Inbox::Records(worker, records)) => {
                        self.begun = Some((worker, records.into_iter()))
                    }
                    Some(Inbox::Stop) => return self.stopped = true,
                    None if self.committer.is_empty() => return self.stopped = true,
                    None => return,
                }
                continue;
            };
            match records.next() {
                Some(record) => self.committer.add(*worker, record),
                None => self.begun = None,
            }
        }
    }
}
