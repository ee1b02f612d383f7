//! Reads of the copy: what has left the log is found in the collection of its shard, or in the archive of its
//! month.
//!
//! A message is written to the archive before it leaves its collection, so the collection is looked at first:
//! what is not there any more is in the archive by then. For a moment, and after the copy was written again, a
//! message is in both; by seq they are one.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use imflow_kind::{Archive, ReplicaError, Side, Spans, StoreError};
use imflow_proto::wire::{Message, Place};
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use std::sync::{Mutex, PoisonError};
use tokio::runtime::Runtime;

use super::documents::{archive_collection, created_at, message_shard_of};
use super::timeline;
use super::{PATIENCE, Settings, client_options, failure, within};

/// Archives that are asked at a time.
pub(super) const SIDE_BY_SIDE: usize = 4;

/// The reading side of a copy, with connections of its own.
pub struct MongoArchive {
    settings: Settings,
    options: ClientOptions,
    /// Always there, until it ends.
    runtime: Option<Runtime>,
    database: Mutex<Option<Database>>,
}

impl Drop for MongoArchive {
    /// It may end on a thread of another runtime, where none may wait.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let entered = runtime.enter();
        drop(self.database.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(entered);
        runtime.shutdown_background();
    }
}

/// Which end of a range is wanted.
#[derive(Clone, Copy, PartialEq)]
enum End {
    First,
    Last,
}

impl MongoArchive {
    /// Not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let (runtime, options) = client_options(&settings)?;
        Ok(Self { settings, options, runtime: Some(runtime), database: Mutex::default() })
    }

    fn call<T, F>(&self, call: impl FnOnce(Database) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, ReplicaError>>,
    {
        let limit: Duration = self.settings.timeout.saturating_mul(PATIENCE);
        let runtime = self.runtime.as_ref().expect("it ends with its owner");
        let called = runtime.block_on(within(limit, async {
            let database = self.connected()?;
            call(database).await
        }));
        called.map_err(|error| StoreError::Away(error.0))
    }

    fn connected(&self) -> Result<Database, ReplicaError> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*database {
            return Ok(database.clone());
        }
        let client = Client::with_options(self.options.clone());
        let client = client.map_err(|error| failure("connect", &error))?;
        Ok(database.insert(client.database(&self.settings.database)).clone())
    }

    fn page(
        &self,
        conversation_id: &str,
        seqs: &Range<u64>,
        limit: usize,
        end: End,
    ) -> Result<Vec<Message>, StoreError> {
        let range = doc! { "$gte": number(seqs.start), "$lt": number(seqs.end) };
        let filter = doc! { "conversationId": conversation_id, "seq": range };
        let find = Find { filter, order: if end == End::First { 1 } else { -1 }, limit };
        self.call(|database| async move {
            let mut found = BTreeMap::new();
            let recent = find.in_collection(&database, &message_shard_of(conversation_id)).await?;
            take(&mut found, recent)?;
            if !is_complete(&found, seqs, limit, end) {
                for documents in find.in_archives(&database, None).await? {
                    take(&mut found, documents)?;
                }
            }
            let surplus = found.len().saturating_sub(limit);
            let all = found.into_values();
            Ok(match end {
                End::First => all.take(limit).collect(),
                End::Last => all.skip(surplus).collect(),
            })
        })
    }
}

impl MongoArchive {
    /// What is found of a conversation, in its collection and in every archive, by rising seq.
    fn everywhere(&self, conversation_id: &str, find: Find) -> Result<Vec<Message>, StoreError> {
        self.call(|database| async move {
            let mut found = BTreeMap::new();
            let recent = find.in_collection(&database, &message_shard_of(conversation_id)).await?;
            take(&mut found, recent)?;
            for documents in find.in_archives(&database, None).await? {
                take(&mut found, documents)?;
            }
            Ok(found.into_values().take(find.limit).collect())
        })
    }
}

impl Archive for MongoArchive {
    fn first(
        &self,
        conversation_id: &str,
        seqs: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.page(conversation_id, &seqs, limit, End::First)
    }

    fn last(
        &self,
        conversation_id: &str,
        seqs: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.page(conversation_id, &seqs, limit, End::Last)
    }

    fn seq_before(&self, conversation_id: &str, time_ms: i64, end: u64) -> Result<u64, StoreError> {
        let before = mongodb::bson::DateTime::from_millis(time_ms);
        let filter = doc! {
            "conversationId": conversation_id,
            "createdAt": { "$lt": before },
            "seq": { "$lt": number(end) },
        };
        let find = Find { filter, order: -1, limit: 1 };
        self.call(|database| async move {
            let recent = find.in_collection(&database, &message_shard_of(conversation_id)).await?;
            let archived = find.in_archives(&database, Some(time_ms)).await?;
            let all = recent.iter().chain(archived.iter().flatten());
            Ok(all.filter_map(|found| found.get_i64("seq").ok()).max().unwrap_or(0) as u64)
        })
    }

    fn about(
        &self,
        conversation_id: &str,
        targets: &[u64],
        end: u64,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let targets: Vec<i64> = targets.iter().copied().map(number).collect();
        let filter = doc! {
            "conversationId": conversation_id,
            // As the index has it, which holds such entries only.
            "action": { "$exists": true },
            "action.targetSeq": { "$in": targets },
            "seq": { "$lt": number(end) },
        };
        self.everywhere(conversation_id, Find { filter, order: 1, limit })
    }

    fn timeline(
        &self,
        user_id: &str,
        spans: &Spans,
        (side, place): (Side, &Place),
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let page = timeline::Page { user_id, spans, side, place, limit };
        self.call(|database| async move { page.read(&database).await })
    }

    fn written(
        &self,
        conversation_id: &str,
        user_id: &str,
        seqs: Range<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let filter = doc! {
            "conversationId": conversation_id,
            "senderId": user_id,
            "seq": { "$gte": number(seqs.start), "$lt": number(seqs.end) },
        };
        self.everywhere(conversation_id, Find { filter, order: 1, limit })
    }
}

/// Whether a collection alone answers: it holds `limit` messages, or the whole range, without a hole.
fn is_complete(found: &BTreeMap<u64, Message>, seqs: &Range<u64>, limit: usize, end: End) -> bool {
    let wanted = seqs.end.saturating_sub(seqs.start).min(limit as u64);
    let mut run = match end {
        End::First => seqs.start..seqs.start + wanted,
        End::Last => seqs.end.saturating_sub(wanted)..seqs.end,
    };
    run.all(|seq| found.contains_key(&seq))
}

struct Find {
    filter: Document,
    /// By seq: 1 rising, -1 falling.
    order: i32,
    limit: usize,
}

impl Find {
    async fn in_collection(
        &self,
        database: &Database,
        name: &str,
    ) -> Result<Vec<Document>, ReplicaError> {
        let doing = || format!("read `{name}`");
        let collection = database.collection::<Document>(name);
        let found = collection
            .find(self.filter.clone())
            .sort(doc! { "seq": self.order })
            .limit(self.limit as i64)
            .await;
        let found = found.map_err(|error| failure(&doing(), &error))?;
        found.try_collect().await.map_err(|error| failure(&doing(), &error))
    }

    /// In each archive, of months up to that of a time.
    async fn in_archives(
        &self,
        database: &Database,
        upto_ms: Option<i64>,
    ) -> Result<Vec<Vec<Document>>, ReplicaError> {
        let upto = upto_ms.map(archive_collection);
        // Names of months sort as the months do.
        let is_wanted = |name: &String| upto.as_ref().is_none_or(|upto| name <= upto);
        let wanted = archives(database).await?.into_iter().filter(is_wanted);
        let finds = wanted.map(|name| async move { self.in_collection(database, &name).await });
        stream::iter(finds).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }
}

/// The archives of all months.
pub(super) async fn archives(database: &Database) -> Result<Vec<String>, ReplicaError> {
    let example = archive_collection(0);
    let (prefix, _) = example.rsplit_once('_').expect("the name has one");
    let names = database.list_collection_names().await;
    let mut names = names.map_err(|error| failure("list the collections", &error))?;
    names.retain(|name| name.len() == example.len() && name.starts_with(prefix));
    Ok(names)
}

fn take(found: &mut BTreeMap<u64, Message>, documents: Vec<Document>) -> Result<(), ReplicaError> {
    for document in documents {
        let message = message_of(document)?;
        found.entry(message.seq).or_insert(message);
    }
    Ok(())
}

/// The message of a document, as [`super::documents`] has written it.
pub(super) fn message_of(mut document: Document) -> Result<Message, ReplicaError> {
    let id = document.remove("_id").unwrap_or(Bson::Null);
    let wrong = |what: String| {
        ReplicaError(format!("MongoDB: the document {id} is not a message of imflow: {what}"))
    };
    document.remove("expireAt");
    let server_msg_id =
        document.get_i64("serverMsgId").map_err(|error| wrong(error.to_string()))?;
    let created_at = created_at(&document);
    let payload = match document.remove("payload") {
        Some(Bson::Binary(payload)) => payload.bytes.into(),
        _ => Default::default(),
    };
    document.remove("serverMsgId");
    document.remove("createdAt");
    let message: Message = mongodb::bson::deserialize_from_document(document)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Message { server_msg_id, created_at, payload, ..message })
}

pub(super) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use imflow_proto::wire::{Action, Origin};

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let message = Message {
            conversation_id: "c1".into(),
            seq: 7,
            server_msg_id: 1 << 60,
            client_msg_id: "alice-phone-1-2".into(),
            sender_id: "alice".into(),
            r#type: 9,
            text: "你好".into(),
            payload: vec![0, 255].into(),
            created_at: 1_767_225_600_123,
            reply_to: 3,
            mentions: vec!["bob".into()],
            mention_all: true,
            forward_of: Some(
                Origin { conversation_id: "c2".into(), seq: 4, sender_id: "eve".into() }.into(),
            ),
            action: Some(Action { target_seq: 2, ..Action::default() }.into()),
            ..Default::default()
        };
        let mut document = super::super::documents::document_of(&message).unwrap();
        document.insert("expireAt", mongodb::bson::DateTime::from_millis(1));
        assert_eq!(message_of(document).unwrap(), message);
        let plain = Message { r#type: 1, seq: 1, ..Default::default() };
        let document = super::super::documents::document_of(&plain).unwrap();
        assert_eq!(message_of(document).unwrap(), plain);
        let foreign = message_of(doc! { "_id": 5_i64, "serverMsgId": 5_i64, "colour": "red" });
        assert!(foreign.unwrap_err().to_string().contains("document 5"));
    }
}
