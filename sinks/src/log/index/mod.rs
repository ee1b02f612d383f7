//! Finds what is durable: messages by conversation and seq, messages by clientMsgId, and the directory
//! of conversations.
//!
//! ```text
//! committer -> indexer -> RAM (the open and the last sealed segments) -> ingester -> tables (fjall)
//! ```
//! The log is the truth and the index a fold of it: it may be deleted, and lags the log by what is in
//! the channels. A segment leaves RAM only after the tables hold it, and readers look at RAM first, so
//! no reader ever finds a gap between the two.

mod directory;
mod fjall;
mod indexer;
mod ingester;
mod insist;
mod ram;
mod rebuild;
mod reopen;
mod retention;
mod tables;
mod trim;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use imflow_kind::{Store, StoreError, View};
use imflow_proto::id::index_key;
use imflow_proto::record::{Committed, CommittedFact, Lsn};
use imflow_proto::wire;
use parking_lot::{Mutex, RwLock};

pub(crate) use self::fjall::FjallFolder;
pub(crate) use directory::Directory;
pub(crate) use indexer::Indexer;
pub(crate) use ingester::{Ingester, Policy};
pub(crate) use ram::RamSegment;
pub(crate) use ram::Row;
#[cfg(test)]
pub(crate) use ram::read_place;
pub(crate) use rebuild::{read_segment, rebuild};
pub(crate) use reopen::Reopening;
pub(crate) use retention::Retention;
pub(crate) use tables::{MemoryTables, Table, Tables};
pub(crate) use trim::{Keep, Trim, finish};
#[cfg(test)]
pub(crate) use {
    reopen::Opener,
    tables::{EachRow, Put},
};

use super::LogError;
use super::progress::Progress;
use super::segments::{Place, Segments};
use ram::Ram;

/// How long a read waits for the index to follow the log.
const CATCH_UP: Duration = Duration::from_secs(2);
/// A page of messages is closed at so many bytes, so that it fits a frame.
pub(crate) const PAGE_BYTES: usize = 512 << 10;

/// What one commit made durable.
pub(crate) struct Group {
    pub segment: u32,
    pub last_lsn: Lsn,
    pub records: Vec<Indexed>,
}

/// A durable record for the index.
pub(crate) enum Indexed {
    Message(Arc<Committed>, Place),
    Fact(Arc<CommittedFact>),
}

/// The index of one log.
pub struct Index {
    pub(crate) segments: Arc<Segments>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) directory: Directory,
    tables: Arc<dyn Tables>,
    ram: RwLock<Ram>,
    /// Held by whoever writes to the directory; see [`insist`].
    writing: Mutex<()>,
}

/// How far the index is behind the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The last durable record.
    pub committed: Lsn,
    /// The last record that can be found.
    pub indexed: Lsn,
}

impl Index {
    pub(crate) fn new(
        segments: Arc<Segments>,
        progress: Arc<Progress>,
        tables: Arc<dyn Tables>,
        open: RamSegment,
    ) -> Self {
        let directory = Directory::new(Arc::clone(&tables));
        let (ram, writing) = (RwLock::new(Ram::new(open)), Mutex::new(()));
        Self { segments, progress, directory, tables, ram, writing }
    }

    /// How far the index is behind the log.
    pub fn lag(&self) -> Lag {
        // In this order, so that the lag is never shown smaller than it was.
        let indexed = self.progress.indexed();
        Lag { committed: self.progress.durable(), indexed }
    }

    /// Waits until what is durable now can be found.
    pub(crate) fn caught_up(&self) -> Result<(), LogError> {
        self.progress.caught_up(CATCH_UP)
    }

    /// As [`Index::caught_up`]; but while the index cannot be written, which a full disk can do, reads go
    /// on with what it had.
    fn readable(&self) -> Result<(), LogError> {
        if self.progress.is_stuck() {
            return Ok(());
        }
        // It may get stuck while we wait.
        self.caught_up().or_else(|error| if self.progress.is_stuck() { Ok(()) } else { Err(error) })
    }

    /// The message that a sender committed under this id, if any.
    pub(crate) fn by_client_msg_id(
        &self,
        conversation_id: &str,
        sender_id: &str,
        client_msg_id: &str,
    ) -> Result<Option<wire::Message>, LogError> {
        let id = index_key(conversation_id, sender_id, client_msg_id);
        let in_ram = self.ram.read().by_id(id);
        let place = match in_ram {
            Some(place) => Some(place),
            None => self
                .tables
                .get(Table::Ids, &id.to_be_bytes())?
                .and_then(|value| ram::read_place(&value)),
        };
        let Some(place) = place.filter(|place| self.segments.knows(place.segment)) else {
            return Ok(None);
        };
        let message = self.segments.message(place)?;
        let same = message.conversation_id == conversation_id
            && message.sender_id == sender_id
            && message.client_msg_id == client_msg_id;
        Ok(same.then_some(message))
    }

    /// The highest seq of a conversation; 0 when it has no messages.
    pub(crate) fn last_seq(&self, conversation_id: &str) -> Result<u64, LogError> {
        let in_ram = self.ram.read().last_seq(conversation_id);
        if let Some(seq) = in_ram {
            return Ok(seq);
        }
        let last = self
            .tables
            .last_at_or_before(Table::Messages, &ram::run_key(conversation_id, u64::MAX))?;
        let last = last.and_then(|(key, value)| {
            Some(ram::run_start(conversation_id, &key)? + ram::run_len(&value) as u64 - 1)
        });
        match last {
            Some(seq) => Ok(seq),
            None => self.directory.floor(conversation_id),
        }
    }

    /// The places of at most `limit` messages after `after_seq`, in order of seq.
    fn places(
        &self,
        conversation_id: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Place>, LogError> {
        // RAM first: what leaves it meanwhile is then found in both, and never in neither.
        let (oldest, recent) = self.ram.read().places(conversation_id, after_seq, limit);
        let mut places = Vec::new();
        if oldest.is_none_or(|oldest| oldest > after_seq.saturating_add(1)) {
            let wanted = after_seq.saturating_add(1)..oldest.unwrap_or(u64::MAX);
            let start = ram::run_key(conversation_id, wanted.start);
            let start = match self.tables.last_at_or_before(Table::Messages, &start)? {
                Some((key, _)) if ram::run_start(conversation_id, &key).is_some() => key,
                _ => start,
            };
            self.tables.scan(Table::Messages, &start, &mut |key, value| {
                let Some(first) =
                    ram::run_start(conversation_id, key).filter(|first| *first < wanted.end)
                else {
                    return ControlFlow::Break(());
                };
                let run =
                    (first..).zip(ram::read_run(value)).filter(|(seq, _)| wanted.contains(seq));
                places.extend(run.map(|(_, place)| place));
                if places.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        }
        places.extend(recent);
        places.truncate(limit);
        Ok(places)
    }

    fn page(
        &self,
        conversation_id: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, LogError> {
        self.readable()?;
        let floor = self.directory.floor(conversation_id)?;
        let wanted = limit.saturating_add(1);
        let mut places = self.places(conversation_id, after_seq.max(floor), wanted)?;
        // Cut after the floor was read.
        places.retain(|place| self.segments.knows(place.segment));
        let mut items = Vec::with_capacity(places.len().min(limit));
        let mut bytes = 0;
        for place in places.iter().take(limit) {
            bytes += place.len as usize;
            if bytes > PAGE_BYTES && !items.is_empty() {
                break;
            }
            items.push(self.segments.message(*place)?);
        }
        let more = items.len() < places.len();
        let removed_up_to_seq = if floor > after_seq { floor } else { 0 };
        Ok(wire::Messages { items, more, removed_up_to_seq })
    }
}

impl Store for Index {
    fn messages(
        &self,
        conversation_id: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, StoreError> {
        Ok(self.page(conversation_id, after_seq, limit)?)
    }

    fn conversation(
        &self,
        conversation_id: &str,
        user_id: &str,
    ) -> Result<Option<View>, StoreError> {
        self.readable()?;
        let view = self.directory.conversation(conversation_id, user_id)?;
        let Some(mut view) = view else { return Ok(None) };
        view.info.last_seq = self.last_seq(conversation_id)?;
        Ok(Some(view))
    }

    fn conversations_of(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<wire::ConversationList, StoreError> {
        self.readable()?;
        let mut list = self.directory.conversations_of(user_id, after, limit)?;
        for item in &mut list.items {
            item.last_seq = self.last_seq(&item.conversation_id)?;
        }
        Ok(list)
    }

    fn members(&self, conversation_id: &str) -> Result<Vec<wire::MemberInfo>, StoreError> {
        self.readable()?;
        Ok(self.directory.members(conversation_id)?)
    }
}
