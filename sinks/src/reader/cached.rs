//! A cache of the latest messages before an archive, as one archive.
//!
//! ```text
//!   1 ....................... | ............ floor | log
//!       archive               |  cache             |
//! ```
//! The cache counts only where it has every entry from some seq up to the end that was asked for. So it may
//! lag, lose what it likes, or be away: the archive is asked then.

use std::ops::Range;
use std::sync::Arc;

use imflow_kind::{
    Archive, Latest, Side, Spans, StoreError, timeline_by_conversation, written_among_all,
};
use imflow_proto::wire::{Message, Place};

use super::layers::without_hole_before;

pub(crate) struct Cached {
    pub(crate) latest: Arc<dyn Latest>,
    /// Without one, nothing lies beyond the cache.
    pub(crate) archive: Option<Arc<dyn Archive>>,
}

impl Cached {
    /// All entries from some seq up to that before `end`, as long a run as the cache has.
    fn run(&self, id: &str, end: u64) -> Result<Vec<Message>, StoreError> {
        let mut run = self.latest.latest(id)?;
        run.retain(|message| message.seq < end);
        if run.last().is_none_or(|last| last.seq + 1 != end) {
            run.clear();
        }
        Ok(without_hole_before(run))
    }

    /// What the run of the cache says; where that is not all, what the archive says, if there is one.
    fn answer<T>(
        &self,
        (id, end): (&str, u64),
        cached: impl FnOnce(Vec<Message>) -> Answer<T>,
        archived: impl FnOnce(&dyn Archive) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let answer = self.run(id, end).map(cached);
        match (answer, &self.archive) {
            (Ok(Answer::Whole(whole)), _) => Ok(whole),
            (Ok(Answer::Part(_)), Some(archive)) => archived(&**archive),
            (Err(error), Some(archive)) => {
                tracing::debug!("the archive is asked instead of the cache: {error}");
                archived(&**archive)
            }
            (Ok(Answer::Part(part)), None) => Ok(part),
            (Err(error), None) => Err(error),
        }
    }
}

/// Whether a run of the cache is all that was asked for.
enum Answer<T> {
    Whole(T),
    Part(T),
}

impl<T> Answer<T> {
    fn new(answer: T, is_whole: bool) -> Self {
        if is_whole { Self::Whole(answer) } else { Self::Part(answer) }
    }
}

impl Archive for Cached {
    fn first(&self, id: &str, seqs: Range<u64>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let cached = |mut run: Vec<Message>| {
            let is_whole = run.first().is_some_and(|first| first.seq <= seqs.start);
            run.retain(|message| seqs.contains(&message.seq));
            run.truncate(limit);
            Answer::new(run, is_whole)
        };
        let archived = |archive: &dyn Archive| archive.first(id, seqs.clone(), limit);
        self.answer((id, seqs.end), cached, archived)
    }

    fn last(&self, id: &str, seqs: Range<u64>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let cached = |mut run: Vec<Message>| {
            let reaches = run.first().is_some_and(|first| first.seq <= seqs.start);
            run.retain(|message| seqs.contains(&message.seq));
            run.drain(..run.len().saturating_sub(limit));
            let is_whole = reaches || run.len() == limit;
            Answer::new(run, is_whole)
        };
        let archived = |archive: &dyn Archive| archive.last(id, seqs.clone(), limit);
        self.answer((id, seqs.end), cached, archived)
    }

    fn seq_before(&self, id: &str, time_ms: i64, end: u64) -> Result<u64, StoreError> {
        let cached = |run: Vec<Message>| {
            let earlier = run.iter().rev().find(|message| message.created_at < time_ms);
            Answer::new(earlier.map_or(0, |message| message.seq), earlier.is_some())
        };
        self.answer((id, end), cached, |archive| archive.seq_before(id, time_ms, end))
    }

    fn about(
        &self,
        id: &str,
        targets: &[u64],
        end: u64,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let cached = |mut run: Vec<Message>| {
            // Whatever acts on a message comes after it.
            let first = run.first().map(|first| first.seq);
            let is_whole = first.is_some_and(|first| targets.iter().all(|target| first <= *target));
            run.retain(|message| message.acts_on(targets));
            run.truncate(limit);
            Answer::new(run, is_whole)
        };
        self.answer((id, end), cached, |archive| archive.about(id, targets, end, limit))
    }

    fn timeline(
        &self,
        user_id: &str,
        spans: &Spans,
        at: (Side, &Place),
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        match &self.archive {
            // It has the conversations together; the cache has each by itself.
            Some(archive) => archive.timeline(user_id, spans, at, limit),
            None => timeline_by_conversation(self, spans, at, limit),
        }
    }

    fn written(
        &self,
        id: &str,
        user_id: &str,
        seqs: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        match &self.archive {
            Some(archive) => archive.written(id, user_id, seqs, limit),
            None => written_among_all(self, id, user_id, seqs, limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::Logged;
    use imflow_kind::testing::archive::{Subject, conforms};
    use imflow_proto::record::Lsn;

    use super::*;
    use crate::follower::kept::{Kept, Newest};

    /// Lacks so many of the newest.
    struct Lagging(Newest, usize);

    impl Latest for Lagging {
        fn latest(&self, id: &str) -> Result<Vec<Message>, StoreError> {
            let mut latest = self.0.latest(id)?;
            latest.truncate(latest.len().saturating_sub(self.1));
            Ok(latest)
        }
    }

    struct InMemory(Arc<Kept>, Arc<Cached>);

    impl Subject for InMemory {
        fn write(&mut self, records: &[Logged], _again: Lsn) {
            self.0.take(records);
        }

        fn archive(&self) -> Arc<dyn Archive> {
            Arc::clone(&self.1) as _
        }

        fn age(&mut self, _now_ms: i64) {}
    }

    #[test]
    fn whatever_the_cache_has_the_two_conform() {
        for (many, lags) in [(0, 0), (1, 0), (7, 0), (100, 0), (100, 3), (1_000, 0)] {
            conforms(&mut || {
                let kept = Arc::<Kept>::default();
                let newest = Newest { kept: Arc::clone(&kept), many };
                let latest = Arc::new(Lagging(newest, lags));
                let cached = Cached { latest, archive: Some(Arc::clone(&kept) as _) };
                Box::new(InMemory(kept, Arc::new(cached)))
            });
        }
    }

    struct Holding(Vec<Message>);

    impl Latest for Holding {
        fn latest(&self, _id: &str) -> Result<Vec<Message>, StoreError> {
            Ok(self.0.clone())
        }
    }

    fn seqs(page: Result<Vec<Message>, StoreError>) -> Vec<u64> {
        page.expect("read").iter().map(|message| message.seq).collect()
    }

    #[test]
    fn alone_it_answers_up_to_a_hole_and_up_to_the_end_only() {
        let holding = |seqs: &[u64]| {
            let message = |seq: &u64| Message { seq: *seq, ..Message::default() };
            let latest = Arc::new(Holding(seqs.iter().map(message).collect()));
            Cached { latest, archive: None }
        };
        let cached = holding(&[3, 5, 6, 7, 8]);
        assert_eq!(seqs(cached.last("c", 1..9, 100)), [5, 6, 7, 8]);
        assert_eq!(seqs(cached.last("c", 1..8, 2)), [6, 7]);
        assert_eq!(seqs(cached.first("c", 1..9, 2)), [5, 6]);
        // It lags: nobody knows what came since.
        assert_eq!(seqs(cached.last("c", 1..10, 100)), [0; 0]);
    }
}
