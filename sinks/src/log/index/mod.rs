//! Finds what is durable: messages by conversation and seq, with what later entries made of them, messages
//! by clientMsgId, and the directory of conversations.
//!
//! ```text
//! committer -> indexer -> RAM (the open and the last sealed segments) -> ingester -> tables (fjall)
//! ```
//! The log is the truth and the index a fold of it: it may be deleted, and lags the log by what is in
//! the channels. A segment leaves RAM only after the tables hold it, and readers look at RAM first, so
//! no reader ever finds a gap between the two.

mod age;
mod amendments;
mod cool;
mod directory;
mod erasure;
mod erasures;
mod fjall;
mod indexer;
mod ingester;
mod insist;
mod marks;
mod ram;
mod rebuild;
mod reopen;
mod retention;
mod standing;
mod store;
mod tables;
mod trim;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use imflow_kind::{PAGE_BYTES, View};
use imflow_proto::id::index_key;
use imflow_proto::log::Cursors;
use imflow_proto::record::{Committed, CommittedFact, Lsn, Moved};
use imflow_proto::wire;
use parking_lot::{Mutex, RwLock};
use prost::Message as _;

pub(crate) use self::fjall::FjallFolder;
pub(crate) use age::Age;
pub(crate) use cool::Cool;
pub(crate) use directory::Directory;
pub(crate) use erasure::Eraser;
pub(crate) use indexer::Indexer;
pub(crate) use ingester::{Ingester, Policy};
pub(crate) use ram::RamSegment;
pub(crate) use ram::Row;
#[cfg(test)]
pub(crate) use ram::read_place;
pub(crate) use rebuild::{read_segment, rebuild};
pub(crate) use reopen::Reopening;
pub(crate) use retention::Retention;
pub(crate) use standing::Standing;
pub(crate) use tables::{MemoryTables, Table, Tables};
pub(crate) use trim::{Holds, Keep, Trim, finish};
#[cfg(test)]
pub(crate) use {
    reopen::Opener,
    tables::{EachRow, Put},
};

use super::LogError;
use super::export;
use super::progress::Progress;
use super::segments::{Place, Segments};
use ram::Ram;

/// How long a read waits for the index to follow the log.
const CATCH_UP: Duration = Duration::from_secs(2);

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
    Moved(Arc<Moved>),
}

/// The index of one log.
pub struct Index {
    pub(crate) segments: Arc<Segments>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) directory: Directory,
    pub(crate) holds: Holds,
    tables: Arc<dyn Tables>,
    ram: RwLock<Ram>,
    /// Held by whoever writes to the directory; see [`insist`].
    writing: Mutex<()>,
    /// Held by whoever removes segments or writes them anew; taken before `writing`.
    cutting: Mutex<()>,
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
        let ram = RwLock::new(Ram::new(open));
        let (writing, cutting) = (Mutex::new(()), Mutex::new(()));
        let holds = Holds::default();
        Self { segments, progress, directory, holds, tables, ram, writing, cutting }
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
    fn ready_to_read(&self) -> Result<(), LogError> {
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
        self.directory.last_seq(conversation_id)
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

    /// Entries as they came, for tests.
    #[cfg(test)]
    pub(crate) fn entries(&self, id: &str, after_seq: u64, limit: usize) -> Vec<wire::Message> {
        let places = self.places(id, after_seq, limit).expect("read");
        places.into_iter().map(|place| self.segments.message(place).expect("read")).collect()
    }

    fn page(
        &self,
        conversation_id: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, LogError> {
        self.ready_to_read()?;
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
        let mut more = items.len() < places.len();
        more |= self.amend(conversation_id, &mut items)?;
        more |= close(&mut items);
        let removed_up_to_seq = if floor > after_seq { floor } else { 0 };
        Ok(wire::Messages { items, more, removed_up_to_seq })
    }
}

/// As [`close`], from the other end.
fn close_before(items: &mut Vec<wire::Message>) {
    let mut bytes = 0;
    let fits = items.iter().rev().take_while(|message| {
        bytes += message.encoded_len();
        bytes <= PAGE_BYTES
    });
    let fits = fits.count().max(1).min(items.len());
    items.drain(..items.len() - fits);
}

/// Closes a page at its size: a message may be longer than it was in the log. Gives whether it cut
/// some off.
fn close(items: &mut Vec<wire::Message>) -> bool {
    let mut bytes = 0;
    let fits = items.iter().take_while(|message| {
        bytes += message.encoded_len();
        bytes <= PAGE_BYTES
    });
    let fits = fits.count().max(1);
    let cut = fits < items.len();
    items.truncate(fits);
    cut
}

impl Index {
    /// The last messages of a range: as [`Index::page`], from the other end.
    fn last_page(
        &self,
        conversation_id: &str,
        after_seq: u64,
        before_seq: u64,
        limit: usize,
    ) -> Result<wire::Messages, LogError> {
        self.ready_to_read()?;
        let floor = self.directory.floor(conversation_id)?;
        let (asked_after, after_seq) = (after_seq, after_seq.max(floor));
        let before = before_seq.min(self.last_seq(conversation_id)?.saturating_add(1));
        let wanted = before.saturating_sub(after_seq).saturating_sub(1);
        let taken = wanted.min(limit as u64);
        let from = before.saturating_sub(1) - taken;
        let mut places = self.places(conversation_id, from, taken as usize)?;
        places.retain(|place| self.segments.knows(place.segment));
        let (mut items, mut bytes) = (Vec::with_capacity(places.len()), 0);
        for place in places.iter().rev() {
            bytes += place.len as usize;
            if bytes > PAGE_BYTES && !items.is_empty() {
                break;
            }
            let message = self.segments.message(*place)?;
            // Where old messages have been dropped, later ones stand in their place.
            if message.seq < before {
                items.push(message);
            }
        }
        items.reverse();
        let mut items = self.amend_all(conversation_id, items)?;
        close_before(&mut items);
        // Earlier ones may have been dropped from the log.
        let more = match items.first() {
            Some(first) if first.seq > after_seq + 1 => {
                let earliest = self.places(conversation_id, after_seq, 1)?;
                let shown = self.places(conversation_id, first.seq - 1, 1)?;
                earliest != shown
            }
            _ => false,
        };
        let removed_up_to_seq = if floor > asked_after && !more { floor } else { 0 };
        Ok(wire::Messages { items, more, removed_up_to_seq })
    }

    /// Times never decrease along a conversation, so a few looks find the place.
    fn last_before(&self, conversation_id: &str, time_ms: i64) -> Result<u64, LogError> {
        self.ready_to_read()?;
        // Everything up to `low` was created before, everything from `high` on was not.
        let floor = self.directory.floor(conversation_id)?;
        let (mut low, mut high) = (floor, self.last_seq(conversation_id)? + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let place = self.places(conversation_id, middle - 1, 1)?;
            let message = place.first().map(|place| self.segments.message(*place)).transpose()?;
            match message {
                Some(message) if message.created_at >= time_ms => high = middle,
                Some(message) => low = message.seq.max(middle),
                None => high = middle,
            }
        }
        Ok(low)
    }

    fn cursors_row(&self, conversation_id: &str, user_id: &str) -> Result<Cursors, LogError> {
        let mut cursors = self.directory.cursors_row(conversation_id, user_id)?;
        let in_ram = self.ram.read().written(conversation_id, user_id);
        let written = match in_ram {
            Some(seq) => seq,
            None => self.directory.written(conversation_id, user_id)?,
        };
        cursors.advance_read(written);
        Ok(cursors)
    }

    fn cursor_list(
        &self,
        conversation_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<wire::CursorList, LogError> {
        let (mut items, mut after) = (Vec::new(), after.to_owned());
        // One more than wanted, to know whether more follow; those who left are not shown.
        while items.len() <= limit {
            let rows =
                self.directory.cursors_of(conversation_id, &after, limit + 1 - items.len())?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.user_id);
            for row in rows {
                if self.directory.is_member(conversation_id, &row.user_id)? {
                    let row = self.cursors_row(conversation_id, &row.user_id)?;
                    let (delivered, read) = (row.delivered(), row.read);
                    items.push(wire::MemberCursor { user_id: row.user_id, delivered, read });
                }
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(wire::CursorList { items, more })
    }

    /// Adds what the messages and the cursors say to what the facts say.
    fn complete(&self, view: &mut View, user_id: &str) -> Result<(), LogError> {
        let info = &mut view.info;
        info.last_seq = self.last_seq(&info.conversation_id)?;
        if info.role() != wire::Role::Unspecified {
            let cursors = self.cursors_row(&info.conversation_id, user_id)?;
            info.read_seq = cursors.read;
            info.delivered_seq = cursors.delivered();
            let floor = self.directory.floor(&info.conversation_id)?;
            let seen = cursors.read.max(view.joined_after).max(floor);
            info.unread = info.last_seq.saturating_sub(seen);
            if info.unread > 0 {
                let actions = self.actions_after(&info.conversation_id, seen)?;
                info.unread = info.unread.saturating_sub(actions);
            }
        }
        Ok(())
    }
}
