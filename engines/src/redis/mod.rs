//! A copy of the log in Redis: [`ids`] of messages, and the [`latest`] messages of conversations. And what
//! nodes share of where users are: [`routes`].
//!
//! What is written of the log depends on the log alone, expiry too, which is told as a time: writing a record again
//! changes nothing.

mod ids;
mod latest;
mod link;
mod routes;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imflow_kind::{Logged, Replica, ReplicaError};
use imflow_proto::record::Lsn;
use redis::{Connection, RedisError};

use link::Link;

pub use latest::RedisLatest;
pub use routes::{Listener, RedisRoutes, RouteSettings};

/// What is kept, and how.
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
    /// Messages kept of each conversation.
    pub latest: usize,
    /// How long they are kept after the last of them.
    pub latest_ttl: Duration,
}

/// The copy, over one connection.
pub struct Redis {
    settings: Settings,
    link: Link,
    /// When the server was last asked, in seconds since the Unix epoch: what had expired by then is not
    /// written.
    opened_at: u64,
}

impl Redis {
    /// Not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let link = Link::new(&settings.uri, settings.timeout)?;
        Ok(Self { settings, link, opened_at: 0 })
    }

    fn call<T>(
        &mut self,
        doing: &str,
        call: impl FnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, ReplicaError> {
        self.link.call(doing, call)
    }

    fn position_key(&self) -> String {
        format!("{}position:{}", self.settings.prefix, self.settings.copy)
    }

    /// When what was made then expires, in seconds since the Unix epoch; `None` if it has.
    fn expires(&self, created_at_ms: i64, ttl: Duration) -> Option<u64> {
        let expires = created_at_ms.max(0) as u64 / 1_000 + ttl.as_secs();
        (expires > self.opened_at).then_some(expires)
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
        let messages = || {
            records.iter().filter_map(|record| match record {
                Logged::Message(committed) => Some(&committed.message),
                Logged::Fact(_) => None,
            })
        };
        messages().for_each(|message| self.set_id(message, &mut pipeline));
        self.keep_latest(messages(), &mut pipeline)?;
        if records.iter().any(Logged::is_erasure) {
            if !pipeline.is_empty() {
                self.call("write", |redis| pipeline.query::<()>(redis))?;
                pipeline.clear();
            }
            self.forget_latest(records)?;
        }
        pipeline.cmd("SET").arg(self.position_key()).arg(upto).ignore();
        self.call("write", |redis| pipeline.query::<()>(redis))
    }
}

#[cfg(test)]
mod tests;
