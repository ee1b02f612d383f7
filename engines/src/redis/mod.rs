//! Ids of messages in Redis: `{prefix}idempotent:{shard}:{clientMsgId}` -> `{serverMsgId, seq, timestamp}`.
//!
//! The value also names conversation and sender, since an id counts for one sender in one conversation only.
//! The first message under an id holds the key until it expires. Expiry is told as a time, so that writing a
//! key again changes nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imflow_kind::{IdIndex, IdPlace, Logged, Replica, ReplicaError};
use imflow_proto::id;
use imflow_proto::record::Lsn;
use imflow_proto::wire::Message;
use redis::{Client, Connection, Pipeline, RedisError};
use serde_json::{Value, json};

/// How ids are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    pub uri: String,
    /// Before every key.
    pub prefix: String,
    /// The name of this copy, under which its position is kept.
    pub copy: String,
    /// How long the server is waited for.
    pub timeout: Duration,
    pub shards: u32,
    /// How long an id is kept.
    pub ttl: Duration,
}

/// One connection, made when it is needed and again after a failure.
pub struct Redis {
    settings: Settings,
    client: Client,
    connection: Option<Connection>,
    /// When the server was last asked, in seconds since the Unix epoch: ids that had expired by then are not
    /// written.
    opened_at: u64,
}

impl Redis {
    /// Not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let client = Client::open(&*settings.uri).map_err(|error| {
            format!(
                "`uri` is not the address of a Redis server: {}; write it as redis://HOST:PORT/DATABASE",
                error.category()
            )
        })?;
        Ok(Self { settings, client, connection: None, opened_at: 0 })
    }

    /// Makes one call; whatever fails costs the connection, since an answer may still be on its way.
    fn call<T>(
        &mut self,
        doing: &str,
        call: impl FnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, ReplicaError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| failure("connect", &error))?,
        };
        let answer = call(&mut connection).map_err(|error| failure(doing, &error))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn connect(&self) -> Result<Connection, RedisError> {
        let timeout = self.settings.timeout;
        let connection = self.client.get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        connection.set_write_timeout(Some(timeout))?;
        Ok(connection)
    }

    fn key(&self, client_msg_id: &str) -> String {
        let shard = id::partition_of(client_msg_id, self.settings.shards);
        format!("{}idempotent:{shard}:{client_msg_id}", self.settings.prefix)
    }

    fn position_key(&self) -> String {
        format!("{}position:{}", self.settings.prefix, self.settings.copy)
    }

    fn set(&self, message: &Message, pipeline: &mut Pipeline) {
        let expires = message.created_at.max(0) as u64 / 1_000 + self.settings.ttl.as_secs();
        if expires <= self.opened_at {
            return;
        }
        let value = json!({
            "serverMsgId": message.server_msg_id.to_string(),
            "seq": message.seq,
            "timestamp": message.created_at,
            "conversationId": message.conversation_id,
            "senderId": message.sender_id,
        });
        let set = pipeline.cmd("SET").arg(self.key(&message.client_msg_id)).arg(value.to_string());
        set.arg("NX").arg("EXAT").arg(expires).ignore();
    }
}

impl Replica for Redis {
    fn open(&mut self) -> Result<Lsn, ReplicaError> {
        let key = self.position_key();
        self.opened_at =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let position: Option<Lsn> =
            self.call("read the position", |redis| redis::cmd("GET").arg(key).query(redis))?;
        Ok(position.unwrap_or(0))
    }

    fn write(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError> {
        let mut pipeline = redis::pipe();
        for record in records {
            if let Logged::Message(committed) = record {
                self.set(&committed.message, &mut pipeline);
            }
        }
        pipeline.cmd("SET").arg(self.position_key()).arg(upto).ignore();
        self.call("write ids", |redis| pipeline.query::<()>(redis))
    }
}

impl IdIndex for Redis {
    fn find(&mut self, client_msg_ids: &[&str]) -> Result<Vec<Option<IdPlace>>, ReplicaError> {
        let mut pipeline = redis::pipe();
        for id in client_msg_ids {
            pipeline.cmd("GET").arg(self.key(id));
        }
        let values: Vec<Option<String>> = self.call("read ids", |redis| pipeline.query(redis))?;
        Ok(values.iter().map(|value| place(value.as_deref()?)).collect())
    }
}

/// What a value says; `None` of one that this service did not write.
fn place(value: &str) -> Option<IdPlace> {
    let value: Value = serde_json::from_str(value).ok()?;
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    Some(IdPlace {
        conversation_id: text("conversationId")?,
        sender_id: text("senderId")?,
        seq: value.get("seq")?.as_u64()?,
        server_msg_id: text("serverMsgId")?.parse().ok()?,
    })
}

fn failure(doing: &str, error: &RedisError) -> ReplicaError {
    ReplicaError(format!("Redis: {doing}: {error}"))
}

#[cfg(test)]
mod tests;
