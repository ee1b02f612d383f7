//! The right to one reply.
//!
//! Every command meets exactly one reply: a ticket answers its requester at most once, whoever is
//! first, and gives back the credit that the command holds when it does. A ticket that is dropped
//! unanswered gives the credit back too; the gateway's deadline then answers TIMEOUT.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::wire::{Error, ErrorCode, envelope::Body};

/// Somebody who waits for replies: a session, or a call of the control API.
pub trait Requester: Send + Sync {
    /// Takes the reply to the command `id`. Must not block.
    fn answer(&self, id: u64, body: Body);
}

/// A share of a worker's bounded ingest, given back when dropped.
pub trait Credit: Send + Sync {}

impl fmt::Debug for dyn Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credit")
    }
}

/// The right to answer one command, shared by all records that came from it.
#[derive(Clone)]
pub struct Ticket(Arc<Pending>);

struct Pending {
    id: u64,
    requester: Arc<dyn Requester>,
    answered: AtomicBool,
    credit: std::sync::Mutex<Option<Box<dyn Credit>>>,
}

impl Ticket {
    /// A ticket for the command `id` of `requester`, which holds `credit` until it is answered.
    pub fn new(id: u64, requester: Arc<dyn Requester>, credit: Option<Box<dyn Credit>>) -> Self {
        let credit = std::sync::Mutex::new(credit);
        Self(Arc::new(Pending { id, requester, answered: AtomicBool::new(false), credit }))
    }

    /// Answers the command, unless it was answered before; says whether this was the answer.
    pub fn answer(&self, body: Body) -> bool {
        if self.0.answered.swap(true, Ordering::AcqRel) {
            return false;
        }
        // The credit goes back before the reply leaves, so that a client that has read a reply can
        // always send again.
        drop(self.0.credit.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        self.0.requester.answer(self.0.id, body);
        true
    }

    /// Answers with an error.
    pub fn refuse(&self, error: Error) -> bool {
        self.answer(Body::Error(error))
    }

    /// Whether a reply has left.
    pub fn is_answered(&self) -> bool {
        self.0.answered.load(Ordering::Acquire)
    }

    /// The command's id on its connection.
    pub fn id(&self) -> u64 {
        self.0.id
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.0.id)
    }
}

impl Error {
    /// An error of `code` with a sentence that says what happened and what to do.
    pub fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: code.is_retryable(),
            retry_after_ms: 0,
        }
    }

    /// The same error, worth a retry after so many milliseconds.
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = ms;
        self
    }
}

impl ErrorCode {
    /// Whether the same command can succeed later without a change.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::RateLimited
                | Self::Timeout
                | Self::StorageFull
                | Self::ShuttingDown
                | Self::Internal
        )
    }
}
