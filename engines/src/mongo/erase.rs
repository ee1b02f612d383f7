//! Takes out of the copy what the log has erased.
//!
//! ```text
//! fact -> a row of `imflow_erasures`, then the position -> emptied in steps, a range of ids each
//! ```
//! What is meant ends with the highest id that the copy held when the fact came: everything before the fact had
//! been written, nothing behind it. The row says how far it is, so whatever was cut short goes on there. Messages
//! move from their collection to that of a month, never back; so the months come last.

use futures_util::TryStreamExt as _;
use imflow_kind::ReplicaError;
use imflow_proto::id;
use imflow_proto::log::fact::Change;
use imflow_proto::record::{CommittedFact, Lsn};
use mongodb::Database;
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::documents::{SHARDS, timeline_shard};
use super::failure;

/// What is to be erased, and how far that is.
const ERASURES: &str = "imflow_erasures";
/// Documents that are looked at in one step.
const STEP: u64 = 2_000;

/// Erasures, one step at a time.
#[derive(Default)]
pub(super) struct Eraser {
    /// There was nothing to erase at the last look.
    idle: bool,
}

impl Eraser {
    /// The copy may have changed behind our back.
    pub(super) fn look_again(&mut self) {
        self.idle = false;
    }

    /// Notes durably what a fact asks for. The copy holds what stands before it, and nothing behind.
    pub(super) async fn ask(
        &mut self,
        database: &Database,
        copy: &str,
        CommittedFact { lsn, fact }: &CommittedFact,
    ) -> Result<(), ReplicaError> {
        let Some(Change::Erased(erased)) = &fact.change else { return Ok(()) };
        let upto = highest_id(database).await?.max(id::first_server_msg_id_at(fact.at));
        let mut row = doc! {
            "copy": copy,
            "askedAt": DateTime::from_millis(fact.at),
            "upTo": upto,
            "collection": "",
            "after": i64::MIN,
            "finished": false,
        };
        match erased.user_id.is_empty() {
            true => row.insert("conversationId", &fact.conversation_id),
            false => row.insert("userId", &erased.user_id),
        };
        let rows = database.collection::<Document>(ERASURES);
        // Asked again, it goes on where it is.
        let asked = rows.update_one(row_of(copy, *lsn), doc! { "$setOnInsert": row }).upsert(true);
        asked.await.map_err(|error| failure("note what is to be erased", &error))?;
        self.idle = false;
        Ok(())
    }

    /// Does one step; says whether there is more.
    pub(super) async fn step(
        &mut self,
        database: &Database,
        copy: &str,
    ) -> Result<bool, ReplicaError> {
        if self.idle {
            return Ok(false);
        }
        let rows = database.collection::<Document>(ERASURES);
        let next = rows.find_one(doc! { "copy": copy, "finished": false }).await;
        let Some(row) = next.map_err(|error| failure("read what is to be erased", &error))? else {
            self.idle = true;
            return Ok(false);
        };
        let progress = Step::of(&row).take(database).await?;
        let of = doc! { "_id": row.get("_id").cloned().unwrap_or(Bson::Null) };
        let noted = rows.update_one(of, doc! { "$set": progress }).await;
        noted.map_err(|error| failure("note how far an erasure is", &error))?;
        Ok(true)
    }
}

fn row_of(copy: &str, lsn: Lsn) -> Document {
    doc! { "_id": format!("{copy}/{lsn}") }
}

/// The highest id of the messages that are hot.
async fn highest_id(database: &Database) -> Result<i64, ReplicaError> {
    let mut highest = 0;
    for shard in 0..SHARDS {
        let messages = database.collection::<Document>(&format!("message_{shard}"));
        let last = messages.find_one(doc! {}).sort(doc! { "_id": -1 }).projection(only_ids()).await;
        let last = last.map_err(|error| failure("read the last message", &error))?;
        highest = highest.max(last.map_or(0, |last| last.get_i64("_id").unwrap_or(0)));
    }
    Ok(highest)
}

/// The next piece of an erasure.
struct Step<'r> {
    user: Option<&'r str>,
    conversation: &'r str,
    upto: i64,
    /// The collection that is looked through, and the last id there that was.
    collection: &'r str,
    after: i64,
}

impl<'r> Step<'r> {
    fn of(row: &'r Document) -> Self {
        Self {
            user: row.get_str("userId").ok(),
            conversation: row.get_str("conversationId").unwrap_or_default(),
            upto: row.get_i64("upTo").unwrap_or(0),
            collection: row.get_str("collection").unwrap_or_default(),
            after: row.get_i64("after").unwrap_or(i64::MIN),
        }
    }

    /// Takes it; gives how far the erasure is then.
    async fn take(&self, database: &Database) -> Result<Document, ReplicaError> {
        let names = database.list_collection_names().await;
        let names = names.map_err(|error| failure("list the collections", &error))?;
        let messages = names.iter().filter(|name| name.starts_with("message_"));
        let Some(name) = messages.filter(|name| name.as_str() >= self.collection).min() else {
            let left = self.forget_timeline(database).await?;
            return Ok(doc! { "finished": !left, "collection": "timeline" });
        };
        let after = if name == self.collection { self.after } else { i64::MIN };
        match self.empty(database, name, after).await? {
            Some(after) => Ok(doc! { "collection": name, "after": after }),
            // No name lies between.
            None => Ok(doc! { "collection": format!("{name}\u{1}"), "after": i64::MIN }),
        }
    }

    /// Empties what is meant of the next documents; gives the id of the last one, or `None` at the end.
    async fn empty(
        &self,
        database: &Database,
        name: &str,
        after: i64,
    ) -> Result<Option<i64>, ReplicaError> {
        let doing = || format!("erase in `{name}`");
        let collection = database.collection::<Document>(name);
        let rest = doc! { "_id": { "$gt": after, "$lte": self.upto } };
        let last = collection.find_one(rest).sort(doc! { "_id": 1 }).skip(STEP - 1);
        let last = last.projection(only_ids()).await;
        let last = last.map_err(|error| failure(&doing(), &error))?;
        let last = last.and_then(|last| last.get_i64("_id").ok());
        let these = doc! {
            "_id": { "$gt": after, "$lte": last.unwrap_or(self.upto) },
            "$and": [self.who(), says_something()],
        };
        let content = CONTENT.map(|field| (field.to_owned(), Bson::from("")));
        let empty = doc! {
            "$unset": Document::from_iter(content),
            "$set": { "amended.erased": true },
        };
        let emptied = collection.update_many(these, empty).await;
        emptied.map_err(|error| failure(&doing(), &error))?;
        Ok(last)
    }

    fn who(&self) -> Document {
        match self.user {
            Some(user) => doc! { "$or": [{ "senderId": user }, { "forwardOf.senderId": user }] },
            None => doc! { "conversationId": self.conversation },
        }
    }

    /// Takes rows out of the timeline of the user; says whether some are left.
    async fn forget_timeline(&self, database: &Database) -> Result<bool, ReplicaError> {
        let Some(user) = self.user else { return Ok(false) };
        let rows = database.collection::<Document>(&timeline_shard(user));
        let theirs = doc! { "userId": user, "serverMsgId": { "$lte": self.upto } };
        let failed = |error| failure("erase in a timeline", &error);
        let found = rows.find(theirs).limit(STEP as i64).projection(only_ids()).await;
        let found: Vec<Document> = found.map_err(failed)?.try_collect().await.map_err(failed)?;
        if found.is_empty() {
            return Ok(false);
        }
        let ids: Vec<Bson> = found.iter().filter_map(|row| row.get("_id").cloned()).collect();
        rows.delete_many(doc! { "_id": { "$in": ids } }).await.map_err(failed)?;
        Ok(true)
    }
}

/// The fields that hold what was said.
const CONTENT: [&str; 6] =
    ["text", "payload", "mentions", "mentionAll", "forwardOf", "action.emoji"];

fn only_ids() -> Document {
    doc! { "_id": 1 }
}

fn says_something() -> Document {
    let there = |field: &&str| Bson::from(doc! { *field: { "$exists": true } });
    doc! { "$or": CONTENT.iter().map(there).collect::<Vec<_>>() }
}

/// Whether the content of a document was erased.
pub(super) fn is_erased(document: &Document) -> bool {
    document
        .get_document("amended")
        .is_ok_and(|amended| amended.get_bool("erased").is_ok_and(|erased| erased))
}
