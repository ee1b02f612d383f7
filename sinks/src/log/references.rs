//! Answers amend: what stands where a message refers to?
//!
//! What is not in the conversation of the message itself is only told to those who may read it there.

use std::sync::Arc;

use imflow_kind::Injector;
use imflow_proto::Record;
use imflow_proto::record::{Referent, Submission, Target};
use imflow_proto::wire::{Error, ErrorCode, Role};

use super::LogError;
use super::completions::REFERENTS;
use super::index::Index;

pub(crate) struct References {
    pub index: Arc<Index>,
    pub injector: Arc<dyn Injector>,
}

impl References {
    /// Sends what a worker's references refer to back to it.
    pub(crate) fn answer(&self, worker: usize, records: Vec<Record>) {
        let find = |record| match record {
            Record::Reference(submission) => Some(self.find(submission)),
            _ => None,
        };
        let found: Vec<_> = records.into_iter().filter_map(find).collect();
        if !found.is_empty() {
            self.injector.send(worker, REFERENTS, found);
        }
    }

    fn find(&self, submission: Arc<Submission>) -> Record {
        let target = self.target(&submission).unwrap_or_else(|error| {
            tracing::error!("{error}");
            let text = "the service cannot read what this refers to; its operator must see to the log; send it again later";
            Err(Error::of(ErrorCode::Internal, text))
        });
        Record::Referent(Arc::new(Referent { submission, target }))
    }

    fn target(&self, submission: &Submission) -> Result<Result<Option<Target>, Error>, LogError> {
        let Some((conversation, seq)) = submission.refers_to() else { return Ok(Ok(None)) };
        self.index.caught_up()?;
        if conversation != submission.send.conversation_id {
            match self.reads_after(submission, conversation)? {
                Err(error) => return Ok(Err(error)),
                Ok(hidden) if seq <= hidden => return Ok(Ok(None)),
                Ok(_) => {}
            }
        }
        let found = self.index.target(conversation, seq)?;
        if found.is_none() && seq <= self.index.directory.floor(conversation)? {
            let sentence = format!(
                "message {seq} is older than the log keeps: it can be read while an archive has it, and not be referred to any more"
            );
            return Ok(Err(Error::of(ErrorCode::TooLate, sentence)));
        }
        Ok(Ok(found.map(|(message, reactions)| Target { message: Arc::new(message), reactions })))
    }

    /// The seq after which the sender may read in another conversation.
    fn reads_after(
        &self,
        submission: &Submission,
        conversation: &str,
    ) -> Result<Result<u64, Error>, LogError> {
        let session = &submission.session;
        let view = self.index.directory.conversation(conversation, &session.user_id)?;
        let (code, sentence) = match view {
            None => (
                ErrorCode::UnknownConversation,
                "the conversation that you forward from does not exist; check forwardOf",
            ),
            Some(_) if session.scopes.admin => return Ok(Ok(0)),
            Some(view) if view.banned => {
                (ErrorCode::Banned, "you are banned from the conversation that you forward from")
            }
            Some(view) if view.info.role() == Role::Unspecified => (
                ErrorCode::NotAMember,
                "you are no member of the conversation that you forward from",
            ),
            Some(view) => return Ok(Ok(view.reads_after())),
        };
        Ok(Err(Error::of(code, sentence)))
    }
}
