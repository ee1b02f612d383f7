//! The latest messages of conversations: `{prefix}latest:{conversationId}`, a sorted set by seq.
//!
//! A value is the message in JSON, as on the wire. A batch replaces what has its seqs, so a seq stands there
//! once, whoever wrote it.

use std::collections::BTreeMap;

use imflow_kind::{Latest, Logged, ReplicaError, StoreError};
use imflow_proto::wire::Message;
use parking_lot::Mutex;
use redis::Pipeline;

use super::{Redis, Settings};

/// A longer message is not kept, so that a conversation takes little room: a reader finds a hole, and asks
/// elsewhere.
const LONGEST: usize = 16 << 10;

impl Redis {
    fn latest_key(&self, conversation_id: &str) -> String {
        format!("{}latest:{conversation_id}", self.settings.prefix)
    }

    /// Adds messages, given in log order, and lets go of those before the latest.
    pub(super) fn keep_latest<'m>(
        &self,
        messages: impl Iterator<Item = &'m Message>,
        pipeline: &mut Pipeline,
    ) -> Result<(), ReplicaError> {
        let mut of = BTreeMap::<&str, Vec<&Message>>::new();
        if self.settings.latest > 0 {
            messages
                .for_each(|message| of.entry(&message.conversation_id).or_default().push(message));
        }
        for (id, mut messages) in of {
            messages.drain(..messages.len().saturating_sub(self.settings.latest));
            let (Some(first), Some(last)) = (messages.first(), messages.last()) else { continue };
            let ttl = self.settings.latest_ttl;
            let Some(expires) = self.expires(last.created_at, ttl) else { continue };
            let key = self.latest_key(id);
            pipeline.cmd("ZREMRANGEBYSCORE").arg(&key).arg(first.seq).arg(last.seq).ignore();
            for message in messages {
                let value = serde_json::to_string(message);
                let value = value.map_err(|error| {
                    ReplicaError(format!("a message has no form in JSON: {error}"))
                })?;
                if value.len() <= LONGEST {
                    pipeline.cmd("ZADD").arg(&key).arg(message.seq).arg(value).ignore();
                }
            }
            let surplus = -1 - self.settings.latest as i64;
            pipeline.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(surplus).ignore();
            pipeline.cmd("EXPIREAT").arg(&key).arg(expires).ignore();
        }
        Ok(())
    }
}

/// Keys that are looked at in one call.
const SCANNED: usize = 1_000;

impl Redis {
    /// Lets go of what records ask to be erased: of a conversation its set; of a user all sets, as none says whose
    /// words it holds. They fill again, and readers ask elsewhere meanwhile.
    pub(super) fn forget_latest(&mut self, records: &[Logged]) -> Result<(), ReplicaError> {
        if self.settings.latest == 0 {
            return Ok(());
        }
        let facts = records.iter().filter(|record| record.is_erasure());
        let of = facts.filter_map(|record| match record {
            Logged::Fact(fact) => Some(fact.fact.conversation_id.clone()),
            Logged::Message(_) => None,
        });
        for id in of {
            match &*id {
                "" => self.forget_all_latest()?,
                id => {
                    let key = self.latest_key(id);
                    self.call("erase", |redis| redis::cmd("DEL").arg(key).query::<()>(redis))?;
                }
            }
        }
        Ok(())
    }

    fn forget_all_latest(&mut self) -> Result<(), ReplicaError> {
        let all = pattern(&self.latest_key(""));
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<String>) = self.call("erase", |redis| {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&all).arg("COUNT").arg(SCANNED).query(redis)
            })?;
            if !keys.is_empty() {
                self.call("erase", |redis| redis::cmd("DEL").arg(keys).query::<()>(redis))?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

/// What finds every key that begins so.
fn pattern(begin: &str) -> String {
    let mut pattern = String::new();
    for letter in begin.chars() {
        if "\\*?[]^".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "*"
}

/// What can be read of it.
pub struct RedisLatest(Mutex<Redis>);

impl RedisLatest {
    /// Not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub fn new(settings: Settings) -> Result<Self, String> {
        Redis::new(settings).map(|redis| Self(Mutex::new(redis)))
    }
}

impl Latest for RedisLatest {
    fn latest(&self, conversation_id: &str) -> Result<Vec<Message>, StoreError> {
        let mut redis = self.0.lock();
        let key = redis.latest_key(conversation_id);
        let values: Result<Vec<String>, _> = redis.call("read the latest messages", |redis| {
            redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).query(redis)
        });
        let values = values.map_err(|error| StoreError::Away(error.0))?;
        // What this service did not write is no message; a reader finds a hole there.
        Ok(values.iter().filter_map(|value| serde_json::from_str(value).ok()).collect())
    }
}
