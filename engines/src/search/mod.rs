//! An index of words behind the log, in a folder of its own, on tantivy.
//!
//! ```text
//! log -> [Writer: messages in, what was edited or revoked as it reads now] -> commit (position with it)
//!                                                                              -> [WordIndex] <- searches
//! ```
//! Invariant: a commit holds exactly the messages up to its position, so a crash at any moment leaves each
//! of them in the index once. The index is a fold of the log; whatever is wrong with it, it is made anew.

mod finder;
mod folder;
mod query;
mod schema;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod words;
mod writer;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use imflow_kind::{Hit, Journal, Search, SearchError, Searched, Wanted};
use parking_lot::RwLock;
use tantivy::IndexReader;

pub use self::writer::{Settings, Writer};
use schema::Fields;

/// What searches see of the index.
#[derive(Default)]
pub struct WordIndex {
    open: RwLock<Option<Open>>,
    /// Everything in the log up to here can be found.
    reached: AtomicU64,
    newest_ms: AtomicI64,
}

#[derive(Clone)]
struct Open {
    reader: IndexReader,
    fields: Fields,
    journal: Arc<dyn Journal>,
}

impl WordIndex {
    fn reached(&self, mark: &folder::Mark) {
        self.newest_ms.store(mark.newest_ms, Ordering::Release);
        self.reached.store(mark.position, Ordering::Release);
    }
}

impl Search for WordIndex {
    fn find(
        &self,
        wanted: &Wanted<'_>,
        visit: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<Searched, SearchError> {
        let phrases = query::parse(wanted.query).map_err(SearchError::Query)?;
        let open = self.open.read().clone();
        // Not opened yet: nothing can be found, and the answer says so.
        let Some(Open { reader, fields, journal }) = open else { return Ok(Searched::default()) };
        let durable = journal.durable_lsn();
        let (reached, indexed_up_to) =
            (self.reached.load(Ordering::Acquire), self.newest_ms.load(Ordering::Acquire));
        let searcher = reader.searcher();
        let stopped_at = finder::find(&searcher, &fields, &phrases, wanted, visit)?;
        Ok(Searched { stopped_at, complete: reached >= durable, indexed_up_to })
    }

    fn spans(&self, query: &str, text: &str) -> Option<Vec<Range<usize>>> {
        spans(query, text)
    }
}

/// As [`Search::spans`], without an index.
pub fn spans(query: &str, text: &str) -> Option<Vec<Range<usize>>> {
    query::spans(&query::parse(query).ok()?, text)
}

/// Whether a query is one.
///
/// # Errors
/// What is wrong with it, for who asked.
pub fn check(query: &str) -> Result<(), String> {
    query::parse(query).map(drop)
}
