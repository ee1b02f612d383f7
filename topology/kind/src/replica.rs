//! Copies of the log in other systems, and how they follow it.
//!
//! A copy is written behind the log, in its order, by reading the log on from where the copy stands. What it
//! has to take is therefore never held in memory beside the log, however long the other system is away.

use imflow_proto::log::fact::Change;
use imflow_proto::record::{Committed, CommittedFact, Lsn};

/// A durable record, as the log has it.
#[derive(Clone, Debug)]
pub enum Logged {
    Message(Box<Committed>),
    Fact(CommittedFact),
}

impl Logged {
    /// Its position.
    pub fn lsn(&self) -> Lsn {
        match self {
            Self::Message(message) => message.lsn,
            Self::Fact(fact) => fact.lsn,
        }
    }

    /// Whether it asks that content be erased, of the records before it.
    pub fn is_erasure(&self) -> bool {
        matches!(self, Self::Fact(fact) if matches!(fact.fact.change, Some(Change::Erased(_))))
    }
}

/// Where a reader of the log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    /// The last record that was read; 0: none.
    pub lsn: Lsn,
    /// Segment and offset behind it, as far as the log has said: with it reading on need not search.
    pub place: Option<(u32, u64)>,
}

impl Bookmark {
    /// Behind a record.
    pub fn behind(lsn: Lsn) -> Self {
        Self { lsn, place: None }
    }
}

/// A copy of the log in another system. Calls wait for that system, so they are made off the dataflow, by
/// one thread.
pub trait Replica: Send {
    /// Connects, makes what is missing there, and gives the position of the copy: it holds every record up
    /// to there, for good. Called first, and again after each failure.
    ///
    /// # Errors
    /// When the other system cannot be reached or refuses.
    fn open(&mut self) -> Result<Lsn, ReplicaError>;

    /// Whether [`Replica::learn`] has to be told of all facts up to its position.
    fn learns(&self) -> bool {
        false
    }

    /// Forgets what it has learnt; the facts are told from the first on.
    fn unlearn(&mut self) {}

    /// Whether the log keeps what the copy has not got, though `keep` would remove it.
    fn holds(&self) -> bool {
        false
    }

    /// A fact that the copy holds already.
    fn learn(&mut self, _fact: &CommittedFact) {}

    /// Writes records that follow each other in the log, then moves the position to `upto`. Given again, the
    /// same records change nothing.
    ///
    /// # Errors
    /// As [`Replica::open`]. Some of the records may have been written then, and what they teach is not learnt.
    fn write(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError>;

    /// Nothing more is to be written for now: what was held back, to be written with what follows, is written.
    ///
    /// # Errors
    /// As [`Replica::open`].
    fn settle(&mut self) -> Result<(), ReplicaError> {
        Ok(())
    }

    /// Does one small piece of what the passing of time asks for; says whether there is more to do now.
    ///
    /// # Errors
    /// As [`Replica::open`].
    fn tend(&mut self, _now_ms: u64) -> Result<bool, ReplicaError> {
        Ok(false)
    }
}

/// Why another system did not take a record: what and where. It is tried again.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ReplicaError(pub String);

/// Where the message of a clientMsgId is, as another system has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPlace {
    pub conversation_id: String,
    pub sender_id: String,
    pub seq: u64,
    pub server_msg_id: i64,
}

/// Ids of messages in another system. Calls wait for it, for a time that is bounded; see [`Replica`].
pub trait IdIndex: Send {
    /// What is known of each id, in their order.
    ///
    /// # Errors
    /// When the other system does not answer in time.
    fn find(&mut self, client_msg_ids: &[&str]) -> Result<Vec<Option<IdPlace>>, ReplicaError>;
}
