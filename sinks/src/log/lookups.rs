//! Answers dedup: was this clientMsgId committed before?
//!
//! First in, first out, so that the answers of a worker leave in the order of its questions. An answer
//! is never guessed: when the index cannot tell, the answer is INTERNAL, since "not found" could store
//! a message twice.

use std::sync::Arc;
use std::time::Duration;

use imflow_kind::{Clock, Injector};
use imflow_proto::Record;
use imflow_proto::record::{Found, Submission};
use imflow_proto::wire::{Error, ErrorCode, Message};

use super::LogError;
use super::completions::FOUND;
use super::index::Index;
use super::references::References;
use super::space::Space;

/// What the thread is sent.
pub(crate) enum Inbox {
    /// Lookups of one worker.
    Lookups(usize, Vec<Record>),
    /// References of one worker.
    References(usize, Vec<Record>),
    Stop,
}

pub(crate) struct Lookups {
    pub index: Arc<Index>,
    pub space: Arc<Space>,
    pub clock: Arc<dyn Clock>,
    pub retain: Duration,
    pub injector: Arc<dyn Injector>,
}

impl Lookups {
    /// Answers until told to stop, references too.
    pub(crate) fn run(self, references: &References, inbox: &flume::Receiver<Inbox>) {
        loop {
            match inbox.recv() {
                Ok(Inbox::Lookups(worker, records)) => self.answer(worker, records),
                Ok(Inbox::References(worker, records)) => references.answer(worker, records),
                Ok(Inbox::Stop) | Err(_) => return,
            }
        }
    }

    /// Sends the answers to a worker's lookups back to it.
    pub(crate) fn answer(&self, worker: usize, records: Vec<Record>) {
        while let Err(error) = self.index.caught_up() {
            if self.space.has_given_up_index() {
                return;
            }
            tracing::warn!("{error}; repeated messages wait for it");
        }
        let find = |record| match record {
            Record::Lookup(submission) => Some(self.find(submission)),
            _ => None,
        };
        let found: Vec<_> = records.into_iter().filter_map(find).collect();
        if !found.is_empty() {
            self.injector.send(worker, FOUND, found);
        }
    }

    fn find(&self, submission: Arc<Submission>) -> Record {
        let original = self.original(&submission).map(|original| original.map(Arc::new));
        let original = original.map_err(|error| {
            tracing::error!("{error}");
            let text = "the service cannot tell whether this message was stored before; its operator must see to the log; send it again later";
            Error::of(ErrorCode::Internal, text)
        });
        Record::Found(Arc::new(Found { submission, original }))
    }

    fn original(&self, submission: &Submission) -> Result<Option<Message>, LogError> {
        let send = &submission.send;
        let found = self.index.by_client_msg_id(
            &send.conversation_id,
            &submission.session.user_id,
            &send.client_msg_id,
        )?;
        let oldest = self.clock.now_ms().saturating_sub(self.retain.as_millis() as u64) as i64;
        Ok(found.filter(|message| message.created_at >= oldest))
    }
}
