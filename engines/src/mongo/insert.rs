//! Unordered inserts that may have happened before.
//!
//! What a unique index refuses is read back: the document that is to be written, byte for byte, is no
//! error, since a batch comes again when it was cut short. Anything else is a conflict: the first one
//! stays, and it is told, since the log and the copy then differ for good.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use imflow_kind::ReplicaError;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::{Collection, Database};

use super::collections::{Prepared, Shape};
use super::documents::{Batch, ByCollection};
use super::erase::is_erased;
use super::failure;

const DUPLICATE_KEY: i32 = 11_000;
/// What is done with a document that is there already.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum IfThere {
    /// It must be the same.
    Compare,
    /// The first one holds the place: ids.
    Keep,
}

/// Whether documents are likely to be there already.
///
/// A server refuses a document at the cost of many inserts, so those that are there are looked up first
/// where most are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Expect {
    /// Nothing was written after this batch before.
    New,
    /// It may be known from before a failure or a restart.
    Known,
}

/// Writes a batch: its messages first, so that what points at a message finds it. Gives what to expect
/// of the next one.
pub(super) async fn all(
    database: &Database,
    prepared: &mut Prepared,
    batch: Batch,
    (expect, writers): (Expect, usize),
) -> Result<Expect, ReplicaError> {
    let Batch { messages, timelines, ids } = batch;
    let of = |documents: &ByCollection, shape| {
        documents.keys().map(|name| (name.clone(), shape)).collect::<Vec<_>>()
    };
    let shapes =
        [of(&messages, Shape::Messages), of(&timelines, Shape::Timeline), of(&ids, Shape::Ids)];
    let shapes = shapes.concat();
    let shapes: Vec<_> = shapes.iter().map(|(name, shape)| (&**name, *shape)).collect();
    prepared.all(database, &shapes, writers).await?;
    let write = |documents: ByCollection, if_there| {
        documents.into_iter().map(move |(name, documents)| Write { name, documents, if_there })
    };
    let first = write(messages, IfThere::Compare);
    let known = side_by_side(database, first, expect, writers).await?;
    let then = write(timelines, IfThere::Compare).chain(write(ids, IfThere::Keep));
    side_by_side(database, then, expect, writers).await?;
    Ok(if known > 0 { Expect::Known } else { Expect::New })
}

/// Documents of one collection.
struct Write {
    name: String,
    documents: Vec<Document>,
    if_there: IfThere,
}

/// Gives how many were there.
async fn side_by_side(
    database: &Database,
    writes: impl Iterator<Item = Write>,
    expect: Expect,
    writers: usize,
) -> Result<usize, ReplicaError> {
    let inserts = writes.map(|Write { name, documents, if_there }| async move {
        let (into, documents) = (database.collection(&name), documents.iter().collect::<Vec<_>>());
        match expect {
            Expect::New => insert(&into, &documents, if_there).await,
            Expect::Known => complete(&into, &documents, if_there).await,
        }
    });
    let there = stream::iter(inserts).buffer_unordered(writers);
    there.try_fold(0, |sum, there| async move { Ok(sum + there) }).await
}

/// Inserts those documents of one collection that a look-up does not find; gives how many were there.
async fn complete(
    collection: &Collection<Document>,
    documents: &[&Document],
    if_there: IfThere,
) -> Result<usize, ReplicaError> {
    let found = read_back(collection, documents).await?;
    let (there, missing): (Vec<&Document>, Vec<&Document>) =
        documents.iter().partition(|document| found.contains_key(&key(document)));
    if if_there == IfThere::Compare {
        compare(collection, &there, &found);
    }
    if missing.is_empty() {
        return Ok(there.len());
    }
    // Another unique index may still refuse one.
    Ok(there.len() + insert(collection, &missing, if_there).await?)
}

/// Inserts documents of one collection, none of which need be missing; gives how many were there.
pub(super) async fn insert(
    collection: &Collection<Document>,
    documents: &[&Document],
    if_there: IfThere,
) -> Result<usize, ReplicaError> {
    let Err(error) = collection.insert_many(documents.iter().copied()).ordered(false).await else {
        return Ok(0);
    };
    let Some(refused) = duplicates(&error) else {
        return Err(failure(&format!("write to `{}`", collection.name()), &error));
    };
    if if_there == IfThere::Compare {
        let refused: Vec<&Document> =
            refused.iter().filter_map(|index| documents.get(*index)).copied().collect();
        compare(collection, &refused, &read_back(collection, &refused).await?);
    }
    Ok(refused.len())
}

/// Tells of documents whose place another one holds.
fn compare(
    collection: &Collection<Document>,
    wanted: &[&Document],
    found: &HashMap<String, Document>,
) {
    for wanted in wanted {
        // Of two that say the same message, one may have been erased before the other.
        let same = found.get(&key(wanted)).is_some_and(|found| {
            is_erased(found) || is_erased(wanted) || written(found) == written(wanted)
        });
        if !same {
            tracing::error!(
                collection = collection.name(),
                id = key(wanted),
                "another document holds the place of this one by a unique index; it stays, and the copy lacks this one"
            );
        }
    }
}

/// What the log alone decides of a document: when it expires was decided when it moved.
fn written(document: &Document) -> Option<Vec<u8>> {
    let mut document = document.clone();
    document.remove("expireAt");
    document.to_vec().ok()
}

/// The documents that were refused because they, or others in their place, are there; `None`: something
/// else went wrong.
fn duplicates(error: &Error) -> Option<Vec<usize>> {
    let ErrorKind::InsertMany(failed) = &*error.kind else { return None };
    let writes = failed.write_errors.as_ref()?;
    let only = failed.write_concern_error.is_none()
        && writes.iter().all(|write| write.code == DUPLICATE_KEY);
    only.then(|| writes.iter().map(|write| write.index).collect())
}

async fn read_back(
    collection: &Collection<Document>,
    documents: &[&Document],
) -> Result<HashMap<String, Document>, ReplicaError> {
    let ids: Vec<Bson> =
        documents.iter().filter_map(|document| document.get("_id").cloned()).collect();
    let doing = || format!("read back from `{}`", collection.name());
    let found = collection.find(doc! { "_id": { "$in": ids } }).await;
    let found = found.map_err(|error| failure(&doing(), &error))?;
    let found: Vec<Document> =
        found.try_collect().await.map_err(|error| failure(&doing(), &error))?;
    Ok(found.into_iter().map(|document| (key(&document), document)).collect())
}

fn key(document: &Document) -> String {
    document.get("_id").map(ToString::to_string).unwrap_or_default()
}
