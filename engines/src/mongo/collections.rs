//! Collections and their indexes, made when something is first written to them.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use imflow_kind::ReplicaError;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};

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
    /// The indexes that every server knows, and those that some do not.
    fn indexes(self) -> (Vec<IndexModel>, Vec<IndexModel>) {
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
            ]
        };
        match self {
            Self::Messages => (messages(), vec![acts]),
            Self::Timeline => {
                let by_conversation = index(doc! { "userId": 1, "conversationId": 1, "seq": 1 });
                (vec![by_conversation, index(doc! { "userId": 1, "createdAt": -1 })], Vec::new())
            }
            Self::Ids => (vec![index(doc! { "conversationId": 1 })], Vec::new()),
            Self::Archive => {
                let at_its_time = IndexOptions::builder().expire_after(Duration::ZERO).build();
                let expire = IndexModel::builder().keys(doc! { "expireAt": 1 });
                (messages(), vec![acts, expire.options(at_its_time).build()])
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
        self.all(database, &[(name, shape)], 1).await?;
        Ok(database.collection(name))
    }

    /// Gives collections their indexes, so many collections at a time: at a start there are many.
    pub(super) async fn all(
        &mut self,
        database: &Database,
        wanted: &[(&str, Shape)],
        at_a_time: usize,
    ) -> Result<(), ReplicaError> {
        let missing = wanted.iter().filter(|(name, _)| !self.0.contains(*name));
        let making = missing.map(|(name, shape)| async move {
            make(&database.collection(name), *shape).await.map(|()| (*name).to_owned())
        });
        let made: Vec<String> =
            stream::iter(making).buffer_unordered(at_a_time).try_collect().await?;
        self.0.extend(made);
        Ok(())
    }

    /// A collection was dropped.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// Makes the indexes of a collection that are not there, in one command if the server takes it.
async fn make(collection: &Collection<Document>, shape: Shape) -> Result<(), ReplicaError> {
    let (known, special) = shape.indexes();
    let together = collection.create_indexes(known.clone()).await;
    let one_by_one = if together.is_err() { known } else { Vec::new() };
    for index in one_by_one.into_iter().chain(special) {
        make_one(collection, index).await?;
    }
    Ok(())
}

async fn make_one(
    collection: &Collection<Document>,
    index: IndexModel,
) -> Result<(), ReplicaError> {
    let (name, keys) = (collection.name(), index.keys.to_string());
    match collection.create_index(index).await.map_err(|error| (code(&error), error)) {
        Ok(_) => Ok(()),
        Err((Some(code @ (NOT_IMPLEMENTED | COMMAND_NOT_SUPPORTED)), _)) => {
            tracing::warn!(
                collection = name,
                index = keys,
                code,
                "this server knows no such index and goes without it"
            );
            Ok(())
        }
        // It is there and keeps what it must; only its name in the server's own lists is missing.
        Err((Some(INTERNAL), error)) if error.to_string().contains("already exists") => {
            tracing::warn!(
                collection = name,
                index = keys,
                "the server was ended while it made this index, which is there"
            );
            Ok(())
        }
        Err((_, error)) => Err(failure(&format!("make the index {keys} of `{name}`"), &error)),
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
