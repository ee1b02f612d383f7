//! The messages of many conversations by time: a user's timeline.
//!
//! ```text
//! timeline_*: the rows of the user, nearest first  -> how far a page reaches at most
//! message_*, message_archive_*: by {conversationId, createdAt} within that -> the page
//! ```
//! Rows propose and messages decide. A user has rows for what was sent while it was a member of a small
//! conversation; it also reads large ones, and what was there before it came. So the rows only say how far a page
//! reaches at most: it cannot reach beyond as many messages as it holds. The messages themselves are read where
//! they lie, all conversations of a collection in one question, within that time. Where rows say too little, or
//! their messages have expired, the question is asked without a bound.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use imflow_kind::{ReplicaError, Side, Spans};
use imflow_proto::wire::{Message, Place};
use mongodb::Database;
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::documents::{archive_collection, created_at, message_shard_of, timeline_shard};
use super::failure;
use super::reads::{SIDE_BY_SIDE, archives, message_of, number};

/// Conversations in one question: what a server still takes from the index in order.
const TOGETHER: usize = 100;

/// 9999-12-31T23:59:59.999Z
const END_OF_DATES: i64 = 253_402_300_799_999;

/// Where a document stands, a message or a row of a timeline.
fn place_in(document: &Document) -> (i64, &str, u64) {
    let id = document.get_str("conversationId").unwrap_or_default();
    (created_at(document), id, document.get_i64("seq").unwrap_or(0) as u64)
}

/// A page that is being read.
pub(super) struct Page<'p> {
    pub(super) user_id: &'p str,
    pub(super) spans: &'p Spans,
    pub(super) side: Side,
    pub(super) place: &'p Place,
    pub(super) limit: usize,
}

impl Page<'_> {
    pub(super) async fn read(&self, database: &Database) -> Result<Vec<Message>, ReplicaError> {
        if let Some(bound) = self.bound(database).await? {
            let found = self.within(database, Some(bound)).await?;
            if found.len() >= self.limit {
                return Ok(found);
            }
        }
        self.within(database, None).await
    }

    /// 1 rising, -1 falling: nearest first.
    fn order(&self) -> i32 {
        if self.side == Side::After { 1 } else { -1 }
    }

    /// The times from one on, away from the place, up to one that the page does not reach beyond.
    fn times(&self, from: i64, bound: Option<i64>) -> Document {
        let (near, far) =
            if self.side == Side::After { ("$gte", "$lte") } else { ("$lte", "$gte") };
        let mut times = doc! { near: DateTime::from_millis(from) };
        if let Some(bound) = bound {
            times.insert(far, DateTime::from_millis(bound));
        }
        times
    }

    /// The time of the place, as dates go.
    fn begin(&self) -> i64 {
        self.place.created_at.clamp(0, END_OF_DATES)
    }

    /// The time of the last of as many rows as the page holds messages; `None`: there are not so many.
    async fn bound(&self, database: &Database) -> Result<Option<i64>, ReplicaError> {
        let name = timeline_shard(self.user_id);
        let rows = database.collection::<Document>(&name);
        let filter = doc! { "userId": self.user_id, "createdAt": self.times(self.begin(), None) };
        let wanted = self.limit as i64 * 2;
        let rows = rows.find(filter).sort(doc! { "createdAt": self.order() }).limit(wanted).await;
        let doing = || format!("read `{name}`");
        let rows = rows.map_err(|error| failure(&doing(), &error))?;
        let rows: Vec<Document> =
            rows.try_collect().await.map_err(|error| failure(&doing(), &error))?;
        // Some are of conversations that the user has left, some of what the log still has.
        let mut counting = rows.iter().filter(|row| {
            let (_, id, seq) = place_in(row);
            self.spans.get(id).is_some_and(|span| span.contains(&seq))
                && self.side.has(place_in(row), self.place)
        });
        Ok(counting.nth(self.limit - 1).map(created_at))
    }

    /// The messages up to a time, nearest first.
    async fn within(
        &self,
        database: &Database,
        bound: Option<i64>,
    ) -> Result<Vec<Message>, ReplicaError> {
        let mut by_collection = BTreeMap::<String, Vec<&str>>::new();
        for id in self.spans.keys() {
            by_collection.entry(message_shard_of(id)).or_default().push(id);
        }
        let mut found = BTreeMap::new();
        // What moves is written to the archive before it leaves its collection.
        let hot: Vec<_> =
            by_collection.iter().map(|(name, ids)| (name.clone(), &ids[..])).collect();
        self.take(database, &hot, bound, &mut found).await?;
        let all: Vec<&str> = self.spans.keys().map(String::as_str).collect();
        let months = archives(database).await?.into_iter();
        let months = months.filter(|name| self.reaches(name, bound));
        let months: Vec<_> = months.map(|name| (name, &all[..])).collect();
        self.take(database, &months, bound, &mut found).await?;
        let mut found: Vec<Message> = found.into_values().collect();
        self.side.nearest(&mut found, self.limit);
        Ok(found)
    }

    /// Whether the archive of a month has anything between the place and a time. Names sort as months do.
    fn reaches(&self, name: &str, bound: Option<i64>) -> bool {
        let place = archive_collection(self.begin());
        let bound = bound.map(archive_collection);
        match self.side {
            Side::After => *name >= *place && bound.is_none_or(|bound| *name <= *bound),
            Side::Before => *name <= *place && bound.is_none_or(|bound| *name >= *bound),
        }
    }

    async fn take(
        &self,
        database: &Database,
        collections: &[(String, &[&str])],
        bound: Option<i64>,
        found: &mut BTreeMap<(String, u64), Message>,
    ) -> Result<(), ReplicaError> {
        let questions = collections.iter().flat_map(|(name, ids)| {
            ids.chunks(TOGETHER).map(move |ids| self.ask(database, name, ids, bound))
        });
        let answers = stream::iter(questions).buffer_unordered(SIDE_BY_SIDE);
        let answers: Vec<Vec<Document>> = answers.try_collect().await?;
        for document in answers.into_iter().flatten() {
            let message = message_of(document)?;
            found.entry((message.conversation_id.clone(), message.seq)).or_insert(message);
        }
        Ok(())
    }

    /// The nearest messages of some conversations in one collection, at least as many as the page holds if there
    /// are so many.
    async fn ask(
        &self,
        database: &Database,
        name: &str,
        ids: &[&str],
        bound: Option<i64>,
    ) -> Result<Vec<Document>, ReplicaError> {
        let collection = database.collection::<Document>(name);
        let doing = || format!("read `{name}`");
        let find = async |times: Bson, limit: i64| {
            let filter = doc! { "$or": self.each(ids, &times) };
            let found = collection.find(filter).sort(doc! { "createdAt": self.order() });
            let found = found.limit(limit).await.map_err(|error| failure(&doing(), &error))?;
            let found: Result<Vec<Document>, _> = found.try_collect().await;
            found.map_err(|error| failure(&doing(), &error))
        };
        let (mut found, mut from) = (Vec::new(), self.begin());
        loop {
            let mut part = find(self.times(from, bound).into(), self.limit as i64).await?;
            let is_end = part.len() < self.limit;
            // The index orders by time alone: of those that share the last one's, any may have been left out.
            if let Some(last) = part.last().map(created_at).filter(|_| !is_end) {
                part.retain(|document| created_at(document) != last);
                part.extend(find(DateTime::from_millis(last).into(), 0).await?);
                from = if self.side == Side::After { last + 1 } else { last - 1 };
            }
            // Of the place's own time some are on its other side.
            part.retain(|document| self.side.has(place_in(document), self.place));
            found.extend(part);
            if is_end || found.len() >= self.limit {
                return Ok(found);
            }
        }
    }

    fn each(&self, ids: &[&str], times: &Bson) -> Vec<Document> {
        let spans = ids.iter().filter_map(|id| Some((*id, self.spans.get(*id)?)));
        let each = spans.map(|(id, span)| {
            let seqs = doc! { "$gte": number(span.start), "$lt": number(span.end) };
            doc! { "conversationId": id, "createdAt": times.clone(), "seq": seqs }
        });
        each.collect()
    }
}
