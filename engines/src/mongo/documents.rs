//! The documents of a batch of records, by collection.

use std::collections::{BTreeMap, HashSet};

use imflow_kind::Logged;
use imflow_proto::id;
use imflow_proto::wire::Message;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

use super::members::Changed;

/// Collections of messages, and of timelines.
pub(super) const SHARDS: u32 = 32;

/// By the name of the collection.
pub(super) type ByCollection = BTreeMap<String, Vec<Document>>;

#[derive(Default)]
pub(super) struct Batch {
    pub(super) messages: ByCollection,
    pub(super) timelines: ByCollection,
    pub(super) ids: ByCollection,
}

impl Batch {
    /// What records in log order become. `members` follows their facts.
    ///
    /// # Errors
    /// When a message has a field without a form in BSON.
    pub(super) fn of(
        records: &[Logged],
        members: &mut Changed<'_>,
    ) -> Result<Self, mongodb::bson::error::Error> {
        let mut batch = Self::default();
        let mut known = HashSet::new();
        for record in records {
            match record {
                Logged::Fact(fact) => members.apply(&fact.fact),
                Logged::Message(committed) => {
                    let message = &committed.message;
                    let of = &mut batch.messages;
                    of.entry(message_shard_of(&message.conversation_id))
                        .or_default()
                        .push(document_of(message)?);
                    for user in members.readers(&message.conversation_id) {
                        let of = batch.timelines.entry(timeline_shard(user));
                        of.or_default().push(timeline_of(user, message));
                    }
                    let day = id_collection(message.created_at);
                    // The first one under an id holds it; the database says the same of other batches.
                    if known.insert((day.clone(), &message.client_msg_id)) {
                        batch.ids.entry(day).or_default().push(id_of(message));
                    }
                }
            }
        }
        Ok(batch)
    }
}

/// The collection of the messages of a conversation that are hot.
pub(super) fn message_shard_of(conversation_id: &str) -> String {
    format!("message_{}", id::partition_of(conversation_id, SHARDS))
}

pub(super) fn timeline_shard(user_id: &str) -> String {
    format!("timeline_{}", id::partition_of(user_id, SHARDS))
}

/// A message: its fields as in JSON, with MongoDB's own types for times, numbers and bytes.
pub(super) fn document_of(message: &Message) -> Result<Document, mongodb::bson::error::Error> {
    let mut document = doc! { "_id": message.server_msg_id };
    document.extend(mongodb::bson::serialize_to_document(message)?);
    document.insert("serverMsgId", message.server_msg_id);
    document.insert("createdAt", DateTime::from_millis(message.created_at));
    if !message.payload.is_empty() {
        let bytes = message.payload.to_vec();
        document.insert("payload", Binary { subtype: BinarySubtype::Generic, bytes });
    }
    Ok(document)
}

fn timeline_of(user_id: &str, message: &Message) -> Document {
    let (conversation, seq) = (&message.conversation_id, message.seq as i64);
    doc! {
        // No id holds a `/`.
        "_id": format!("{user_id}/{conversation}/{seq}"),
        "userId": user_id,
        "conversationId": conversation,
        "seq": seq,
        "serverMsgId": message.server_msg_id,
        "createdAt": DateTime::from_millis(message.created_at),
    }
}

fn id_of(message: &Message) -> Document {
    doc! {
        "_id": &message.client_msg_id,
        "serverMsgId": message.server_msg_id,
        "seq": message.seq as i64,
        "conversationId": &message.conversation_id,
        "senderId": &message.sender_id,
        "createdAt": DateTime::from_millis(message.created_at),
    }
}

/// The collection of ids of the day (UTC) of a time.
pub(super) fn id_collection(at_ms: i64) -> String {
    format!("idempotent_{}", &date(at_ms)[..8])
}

/// The archive of the month (UTC) of a time.
pub(super) fn archive_collection(at_ms: i64) -> String {
    format!("message_archive_{}", &date(at_ms)[..6])
}

/// `YYYYMMDD`.
fn date(at_ms: i64) -> String {
    let text = DateTime::from_millis(at_ms).try_to_rfc3339_string();
    let text = text.unwrap_or_else(|_| "0000-00-00".into()); // beyond the year 9999
    text.chars().filter(char::is_ascii_digit).take(8).collect()
}

/// When a message of a document was created, in milliseconds since the Unix epoch.
pub(super) fn created_at(document: &Document) -> i64 {
    match document.get("createdAt") {
        Some(Bson::DateTime(at)) => at.timestamp_millis(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_every_field_in_types_of_its_own() {
        let message = Message {
            conversation_id: "c1".into(),
            seq: 7,
            server_msg_id: 1 << 60,
            client_msg_id: "alice-phone-1-2".into(),
            sender_id: "alice".into(),
            r#type: 1,
            text: "你好".into(),
            payload: vec![0, 255].into(),
            created_at: 1_767_225_600_123,
            ..Default::default()
        };
        let document = document_of(&message).unwrap();
        assert_eq!(document.get_i64("_id").unwrap(), 1 << 60);
        assert_eq!(document.get_i64("serverMsgId").unwrap(), 1 << 60);
        assert_eq!(document.get_i64("seq").unwrap(), 7);
        assert_eq!(document.get_str("type").unwrap(), "TEXT");
        assert_eq!(document.get_str("text").unwrap(), "你好");
        assert_eq!(document.get_binary_generic("payload").unwrap(), &[0, 255]);
        assert_eq!(created_at(&document), 1_767_225_600_123);
        assert_eq!(document.to_vec().unwrap(), document_of(&message).unwrap().to_vec().unwrap());
    }

    #[test]
    fn days_and_months_are_those_of_utc() {
        assert_eq!(id_collection(1_767_225_599_999), "idempotent_20251231");
        assert_eq!(id_collection(1_767_225_600_000), "idempotent_20260101");
        assert_eq!(archive_collection(1_767_225_600_000), "message_archive_202601");
    }
}
