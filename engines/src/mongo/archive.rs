//! What the passing of time asks for: old messages move to the archive of their month, old ids go.
//!
//! A message is written to the archive before it leaves its collection, so that a reader that looks into
//! both finds it in one of them at least, and a move that was cut short is done again.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use imflow_kind::ReplicaError;
use imflow_proto::id;
use mongodb::Database;
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::collections::{Prepared, Shape};
use super::documents::{ByCollection, SHARDS, archive_collection, created_at, id_collection};
use super::insert::{IfThere, insert};
use super::members::Members;
use super::{Settings, failure};

/// Messages moved in one step.
const STEP: i64 = 500;

/// How long messages are kept.
#[derive(Clone, Copy)]
pub(super) struct Keeping<'a> {
    pub(super) settings: &'a Settings,
    pub(super) members: &'a Members,
}

impl Keeping<'_> {
    /// The age at which archived messages of a conversation expire: the longest of its members' levels.
    fn archive_ms(&self, conversation_id: &str) -> i64 {
        let Settings { archive_ms, levels, .. } = self.settings;
        let of_level = |level: &str| levels.get(level).copied();
        let longest = self.members.longest(conversation_id, of_level);
        longest.map_or(*archive_ms, |longest| longest.max(*archive_ms))
    }
}

/// One round over the collections, in steps.
#[derive(Default)]
pub(super) struct Job {
    /// The next collection of messages.
    shard: u32,
}

impl Job {
    /// Does one step; says whether the round goes on.
    pub(super) async fn step(
        &mut self,
        database: &Database,
        keeping: Keeping<'_>,
        prepared: &mut Prepared,
        now_ms: i64,
    ) -> Result<bool, ReplicaError> {
        let settings = keeping.settings;
        if self.shard == SHARDS {
            drop_ids(database, prepared, now_ms - settings.ids_ms).await?;
            self.shard = 0;
            return Ok(false);
        }
        let name = format!("message_{}", self.shard);
        let before = id::first_server_msg_id_at(now_ms - settings.hot_ms);
        let moved = move_old(database, keeping, prepared, &name, before).await?;
        // A collection that had fewer has no more.
        self.shard += u32::from((moved as i64) < STEP);
        Ok(true)
    }
}

async fn move_old(
    database: &Database,
    keeping: Keeping<'_>,
    prepared: &mut Prepared,
    name: &str,
    before: i64,
) -> Result<usize, ReplicaError> {
    let hot = database.collection::<Document>(name);
    let doing = || format!("move old messages of `{name}`");
    let old = hot.find(doc! { "_id": { "$lt": before } }).sort(doc! { "_id": 1 }).limit(STEP).await;
    let old = old.map_err(|error| failure(&doing(), &error))?;
    let old: Vec<Document> = old.try_collect().await.map_err(|error| failure(&doing(), &error))?;
    let ids: Vec<Bson> = old.iter().filter_map(|document| document.get("_id").cloned()).collect();
    let mut months = ByCollection::new();
    let mut ages = HashMap::<String, i64>::new();
    for mut document in old {
        let at = created_at(&document);
        let id = document.get_str("conversationId").unwrap_or_default();
        let age = match ages.get(id) {
            Some(age) => *age,
            None => *ages.entry(id.to_owned()).or_insert_with(|| keeping.archive_ms(id)),
        };
        document.insert("expireAt", DateTime::from_millis(at.saturating_add(age)));
        months.entry(archive_collection(at)).or_default().push(document);
    }
    for (month, documents) in months {
        let archive = prepared.collection(database, &month, Shape::Archive).await?;
        let documents: Vec<&Document> = documents.iter().collect();
        insert(&archive, &documents, IfThere::Compare).await?;
    }
    if !ids.is_empty() {
        let left = hot.delete_many(doc! { "_id": { "$in": &ids } }).await;
        left.map_err(|error| failure(&doing(), &error))?;
    }
    Ok(ids.len())
}

/// Drops the collections of ids of days that ended before a time.
async fn drop_ids(
    database: &Database,
    prepared: &mut Prepared,
    before_ms: i64,
) -> Result<(), ReplicaError> {
    let names = database.list_collection_names().await;
    let names = names.map_err(|error| failure("list the collections", &error))?;
    let oldest = id_collection(before_ms);
    let (prefix, _) = oldest.rsplit_once('_').expect("the name has one");
    for name in names.iter().filter(|name| name.len() == oldest.len() && name.starts_with(prefix)) {
        // Names of days sort as the days do.
        if *name < oldest {
            let dropped = database.collection::<Document>(name).drop().await;
            dropped.map_err(|error| failure(&format!("drop `{name}`"), &error))?;
            prepared.forget(name);
        }
    }
    Ok(())
}
