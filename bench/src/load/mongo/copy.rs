//! A database with a copy, from outside.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, Database, IndexModel};

use crate::failure::{Context as _, Failure};
use crate::report::grouped;

/// Without any progress for so long, what is missing does not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// A copy that has not moved for so long seems to be done.
const SETTLED: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);
/// As the sink has it: messages of a batch, and inserts side by side.
const BATCH: usize = 1_000;
const SIDE_BY_SIDE: usize = 8;
/// Messages whose documents tell what the server can do.
const SAMPLE: i64 = 20_000;

pub(super) struct Copy {
    database: Database,
}

impl Copy {
    pub(super) async fn connect(uri: &str, database: &str) -> Result<Self, Failure> {
        let client = Client::with_uri_str(uri).await;
        let client = client.context(|| "connecting to MongoDB".to_owned())?;
        Ok(Self { database: client.database(database) })
    }

    pub(super) async fn drop(&self) -> Result<(), Failure> {
        let name = self.database.name();
        self.database.drop().await.context(|| format!("dropping the database `{name}`"))
    }

    /// The collections of a kind.
    async fn names(&self, prefixes: &[&str]) -> Result<Vec<String>, Failure> {
        let names = self.database.list_collection_names().await;
        let mut names = names.context(|| "listing collections".to_owned())?;
        names.retain(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        names.sort();
        Ok(names)
    }

    /// Waits until so many messages are there; gives when the last of them came.
    pub(super) async fn has(&self, wanted: u64) -> Result<Instant, Failure> {
        let (mut position, mut moved) = (0, Instant::now());
        loop {
            let now = self.position().await?;
            if now != position {
                (position, moved) = (now, Instant::now());
            }
            // To count is work for the server: only once it seems to be done.
            if moved.elapsed() > SETTLED {
                let found = self.messages().await?;
                if found >= wanted {
                    return Ok(moved);
                }
                if moved.elapsed() > PATIENCE {
                    let (found, wanted) = (grouped(found), grouped(wanted));
                    return Err(Failure::new(format!(
                        "the copy stands at {found} of {wanted} messages for {PATIENCE:?}"
                    )));
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn position(&self) -> Result<i64, Failure> {
        let positions = self.database.collection::<Document>("imflow_position");
        let found = positions.find_one(doc! {}).await;
        let found = found.context(|| "reading the position of the copy".to_owned())?;
        Ok(found.and_then(|found| found.get_i64("lsn").ok()).unwrap_or(0))
    }

    async fn messages(&self) -> Result<u64, Failure> {
        let mut found = 0;
        for name in self.names(&["message_"]).await? {
            let messages = self.database.collection::<Document>(&name);
            let count = messages.count_documents(doc! {}).await;
            found += count.context(|| format!("counting `{name}`"))?;
        }
        Ok(found)
    }

    /// Inserts what the first messages of another copy have, as that had it; how many of them a second.
    pub(super) async fn fill_from(&self, other: &Self) -> Result<f64, Failure> {
        let names = other.names(&["message_", "timeline_", "idempotent_"]).await?;
        let last = other.sample_end(&names).await?;
        let mut batches = BTreeMap::<usize, BTreeMap<&str, Vec<RawDocumentBuf>>>::new();
        let order = other.order(&names, last).await?;
        for name in &names {
            other.copy_indexes(name, self).await?;
            for (id, document) in other.sample(name, last).await? {
                let batch = order.binary_search(&id).unwrap_or(0) / BATCH;
                batches.entry(batch).or_default().entry(name).or_default().push(document);
            }
        }
        let begin = Instant::now();
        for batch in batches.into_values() {
            let insert = |(name, documents): (&str, Vec<RawDocumentBuf>)| {
                let collection = self.database.collection::<RawDocumentBuf>(name);
                async move { collection.insert_many(documents).ordered(false).await.map(drop) }
            };
            let inserts = stream::iter(batch).map(insert).buffer_unordered(SIDE_BY_SIDE);
            let inserted: Result<Vec<()>, _> = inserts.try_collect().await;
            inserted.context(|| "inserting documents".to_owned())?;
        }
        Ok(order.len() as f64 / begin.elapsed().as_secs_f64())
    }

    /// The serverMsgId of the last message of the sample.
    async fn sample_end(&self, names: &[String]) -> Result<i64, Failure> {
        let mut ids = self.order(names, i64::MAX).await?;
        ids.truncate(SAMPLE as usize);
        ids.last().copied().ok_or_else(|| Failure::new("the copy is empty"))
    }

    /// The serverMsgIds of all messages up to one, by rising id.
    async fn order(&self, names: &[String], last: i64) -> Result<Vec<i64>, Failure> {
        let mut ids = HashSet::new();
        for name in names.iter().filter(|name| name.starts_with("message_")) {
            let found = self.sample(name, last).await?;
            ids.extend(found.into_iter().map(|(id, _)| id));
        }
        let mut ids: Vec<i64> = ids.into_iter().collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The documents of messages up to one.
    async fn sample(&self, name: &str, last: i64) -> Result<Vec<(i64, RawDocumentBuf)>, Failure> {
        let doing = || format!("reading `{name}`");
        let collection = self.database.collection::<RawDocumentBuf>(name);
        let found = collection.find(doc! { "serverMsgId": { "$lte": last } }).await;
        let found: Result<Vec<RawDocumentBuf>, _> = found.context(doing)?.try_collect().await;
        let with_id = |document: RawDocumentBuf| {
            let id = document.get_i64("serverMsgId").unwrap_or(0);
            (id, document)
        };
        Ok(found.context(doing)?.into_iter().map(with_id).collect())
    }

    async fn copy_indexes(&self, name: &str, to: &Self) -> Result<(), Failure> {
        let doing = || format!("copying the indexes of `{name}`");
        let indexes = self.database.collection::<Document>(name).list_indexes().await;
        let indexes: Result<Vec<IndexModel>, _> = indexes.context(doing)?.try_collect().await;
        let mut indexes = indexes.context(doing)?;
        indexes.retain(|index| !index.keys.contains_key("_id"));
        for options in indexes.iter_mut().filter_map(|index| index.options.as_mut()) {
            // A server may not take what it tells.
            options.version = None;
        }
        if !indexes.is_empty() {
            let made = to.database.collection::<Document>(name).create_indexes(indexes).await;
            made.context(doing)?;
        }
        Ok(())
    }
}
