//! Collections and their indexes, made when something is first written to them.

use std::collections::HashSet;

use imflow_kind::ReplicaError;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};
use std::time::Duration;

use super::failure;

/// What FerretDB says of an index that a kill in the middle of making it has left, and of much else.
const INTERNAL: i32 = 1;
/// What a server says of kinds of indexes that it does not know.
const NOT_IMPLEMENTED: i32 = 238;
const COMMAND_NOT_SUPPORTED: i32 = 27;

/// Collections that have their indexes.
#[derive(Default)]
pub(super) struct Prepared(HashSet<String>);

/// The indexes of a kind of collection.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Messages,
    Timeline,
    Ids,
    Archive,
}

impl Shape {
    fn indexes(self) -> Vec<IndexModel> {
        let unique = || IndexOptions::builder().unique(true).build();
        let index = |keys: Document| IndexModel::builder().keys(keys).build();
        let unique = |keys: Document| IndexModel::builder().keys(keys).options(unique()).build();
        // What became of a message is found by the message. Few entries act on one, and only they are in it.
        let only = doc! { "action": { "$exists": true } };
        let only = IndexOptions::builder().partial_filter_expression(only).build();
        let acts = doc! { "conversationId": 1, "action.targetSeq": 1 };
        let acts = IndexModel::builder().keys(acts).options(only).build();
        let messages = move || {
            vec![
                unique(doc! { "conversationId": 1, "seq": 1 }),
                index(doc! { "conversationId": 1, "createdAt": -1 }),
                unique(doc! { "conversationId": 1, "senderId": 1, "clientMsgId": 1 }),
                index(doc! { "clientMsgId": 1 }),
                acts,
            ]
        };
        match self {
            Self::Messages => messages(),
            Self::Timeline => vec![
                index(doc! { "userId": 1, "conversationId": 1, "seq": 1 }),
                index(doc! { "userId": 1, "createdAt": -1 }),
            ],
            Self::Ids => vec![index(doc! { "conversationId": 1 })],
            Self::Archive => {
                let at_its_time = IndexOptions::builder().expire_after(Duration::ZERO).build();
                let expire = IndexModel::builder().keys(doc! { "expireAt": 1 });
                let mut all = messages();
                all.push(expire.options(at_its_time).build());
                all
            }
        }
    }
}

impl Prepared {
    /// A collection with its indexes.
    pub(super) async fn collection(
        &mut self,
        database: &Database,
        name: &str,
        shape: Shape,
    ) -> Result<Collection<Document>, ReplicaError> {
        let collection = database.collection::<Document>(name);
        if self.0.contains(name) {
            return Ok(collection);
        }
        for index in shape.indexes() {
            let keys = index.keys.to_string();
            match collection.create_index(index).await.map_err(|error| (code(&error), error)) {
                Ok(_) => {}
                Err((Some(code @ (NOT_IMPLEMENTED | COMMAND_NOT_SUPPORTED)), _)) => {
                    tracing::warn!(
                        collection = name,
                        index = keys,
                        code,
                        "this server knows no such index and goes without it"
                    );
                }
                // It is there and keeps what it must; only its name in the server's own lists is missing.
                Err((Some(INTERNAL), error)) if error.to_string().contains("already exists") => {
                    tracing::warn!(
                        collection = name,
                        index = keys,
                        "the server was ended while it made this index, which is there"
                    );
                }
                Err((_, error)) => {
                    return Err(failure(&format!("make the index {keys} of `{name}`"), &error));
                }
            }
        }
        self.0.insert(name.to_owned());
        Ok(collection)
    }

    /// A collection was dropped.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
