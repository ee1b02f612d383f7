//! Presence and routes that nodes share, under the keys that other systems read.
//!
//! ```text
//! presence:user:{userId}         {devices: [{deviceId, nodeId, lastSeen, since, session}], lastActiveAt, migratingFrom?}
//! route:device:{device}          nodeId            route:ended:{device}  the last session that has ended
//! subscribers:conv:{id}          online members    node:users:{nodeId}   users of a node
//! node:heartbeats                nodeId -> ms      presence:changes      a channel: what became of a user
//! ```
//! Every change is one script, so it is atomic, and says what a node has, so that saying it again changes
//! nothing. Keys are made in the scripts: a Redis cluster would refuse them.

mod listen;

use std::time::Duration;

use imflow_kind::{
    Beat, DeviceHere, DevicePresence, Migrated, ReplicaError, Shared, SharedRoutes, UserHere,
    UserPresence,
};
use redis::{Connection, Pipeline, RedisError};
use serde_json::{Value, json};

use super::link::Link;
pub use listen::Listener;

const PUT: &str = include_str!("put.lua");
const BEAT: &str = include_str!("beat.lua");
const MIGRATE: &str = include_str!("migrate.lua");

/// Users of a failed node that are taken off it at a time.
const MIGRATED: usize = 500;
/// How long a node may take over the users of a failed one before another does.
const TASK_MS: u64 = 10_000;

/// Who shares, and how long what is shared lives.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    pub uri: String,
    /// Before every key.
    pub prefix: String,
    pub node: String,
    /// How long the server is waited for.
    pub timeout: Duration,
    /// How long a key lives that nobody refreshes.
    pub ttl: Duration,
    /// How long it is known when an offline user was last heard of.
    pub keep: Duration,
    /// Without a heartbeat for so long, a node is down.
    pub down: Duration,
    /// How long the set of a conversation's online members lives.
    pub members_ttl: Duration,
    /// Device ids are globally unique, so that keys name them without their user.
    pub global_devices: bool,
}

/// The shared state, over one connection.
pub struct RedisRoutes {
    settings: RouteSettings,
    link: Link,
    /// Ids of the scripts in the server, as long as the connection holds.
    scripts: Option<[String; 3]>,
}

impl RedisRoutes {
    /// Not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub fn new(settings: RouteSettings) -> Result<Self, String> {
        let link = Link::new(&settings.uri, settings.timeout)?;
        Ok(Self { settings, link, scripts: None })
    }

    fn key(&self, kind: &str, id: &str) -> String {
        format!("{}{kind}:{id}", self.settings.prefix)
    }

    fn call<T>(
        &mut self,
        doing: &str,
        call: impl FnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, ReplicaError> {
        let answer = self.link.call(doing, call);
        if answer.is_err() {
            self.scripts = None;
        }
        answer
    }

    /// The ids of the scripts, which are loaded if need be.
    fn scripts(&mut self) -> Result<[String; 3], ReplicaError> {
        if let Some(scripts) = &self.scripts {
            return Ok(scripts.clone());
        }
        let mut load = redis::pipe();
        for script in [PUT, BEAT, MIGRATE] {
            load.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let ids: (String, String, String) = self.call("load", |redis| load.query(redis))?;
        let scripts: [String; 3] = ids.into();
        self.scripts = Some(scripts.clone());
        Ok(scripts)
    }

    fn put_one(&self, put: &str, user: &UserHere, pipeline: &mut Pipeline) {
        let settings = &self.settings;
        let user_id = &*user.user_id;
        let before_device =
            if settings.global_devices { String::new() } else { format!("{user_id}-") };
        let command = pipeline.cmd("EVALSHA").arg(put).arg(0);
        command.arg(&settings.prefix).arg(user_id).arg(&settings.node);
        command.arg(ttl_of(settings.ttl, user_id)).arg(settings.keep.as_millis() as u64);
        command.arg(u8::from(user.force)).arg(before_device);
        command.arg(devices(&user.devices)).arg(devices(&user.ended));
    }
}

/// With an offset of its own, so that keys that were written together do not expire together.
fn ttl_of(ttl: Duration, id: &str) -> u64 {
    let ttl = ttl.as_millis() as u64;
    ttl + u64::from(imflow_proto::id::partition_of(id, 1_024)) * (ttl / 5) / 1_024
}

fn devices(devices: &[DeviceHere]) -> String {
    let one = |it: &DeviceHere| {
        json!({
            "deviceId": &*it.device_id,
            "lastSeen": it.last_seen,
            "since": it.since,
            "session": it.number,
        })
    };
    Value::from(devices.iter().map(one).collect::<Vec<_>>()).to_string()
}

/// What a value says; nothing of one that no service wrote.
fn presence_of(value: &str) -> UserPresence {
    serde_json::from_str::<Value>(value).ok().as_ref().map(read).unwrap_or_default()
}

fn read(value: &Value) -> UserPresence {
    let text = |it: &Value, name: &str| it.get(name).and_then(Value::as_str).map(str::to_owned);
    let time = |it: &Value, name: &str| it.get(name).and_then(Value::as_f64).unwrap_or(0.0) as i64;
    let device = |it: &Value| {
        Some(DevicePresence {
            device_id: text(it, "deviceId")?,
            node_id: text(it, "nodeId")?,
            last_seen: time(it, "lastSeen"),
            since: time(it, "since"),
        })
    };
    let devices = value.get("devices").and_then(Value::as_array);
    UserPresence {
        devices: devices.into_iter().flatten().filter_map(device).collect(),
        last_active_at: time(value, "lastActiveAt"),
        migrating_from: text(value, "migratingFrom"),
    }
}

impl SharedRoutes for RedisRoutes {
    fn put(&mut self, users: &[UserHere], _now_ms: u64) -> Result<Vec<Shared>, ReplicaError> {
        let [put, ..] = self.scripts()?;
        let mut pipeline = redis::pipe();
        users.iter().for_each(|user| self.put_one(&put, user, &mut pipeline));
        let answers: Vec<Vec<Word>> = self.call("write presence", |redis| pipeline.query(redis))?;
        Ok(answers.iter().map(|answer| outcome(answer)).collect())
    }

    fn beat(&mut self) -> Result<Beat, ReplicaError> {
        let [_, beat, _] = self.scripts()?;
        let RouteSettings { prefix, node, down, .. } = self.settings.clone();
        let answer: Vec<Word> = self.call("beat", |redis| {
            let mut eval = redis::cmd("EVALSHA");
            eval.arg(beat).arg(0).arg(prefix).arg(node).arg(down.as_millis() as u64).query(redis)
        })?;
        let failed = answer.iter().skip(1).map(Word::text).collect();
        Ok(Beat { joined: answer.first().is_some_and(|it| it.number() == 1), failed })
    }

    fn migrate(&mut self, node_id: &str) -> Result<Migrated, ReplicaError> {
        let [_, _, migrate] = self.scripts()?;
        let settings = self.settings.clone();
        let answer: Vec<Word> = self.call("take users off a failed node", |redis| {
            let mut eval = redis::cmd("EVALSHA");
            eval.arg(migrate).arg(0).arg(settings.prefix).arg(node_id).arg(settings.node);
            eval.arg(settings.down.as_millis() as u64).arg(MIGRATED);
            eval.arg(settings.ttl.as_millis() as u64).arg(settings.keep.as_millis() as u64);
            eval.arg(TASK_MS).arg(u8::from(settings.global_devices)).query(redis)
        })?;
        let number = |at: usize| answer.get(at).map_or(0, Word::number);
        let users = answer.get(2..).unwrap_or_default().chunks_exact(2);
        Ok(Migrated {
            users: users.map(|it| (it[0].text(), it[1].text() == "1")).collect(),
            routes: number(1) as u64,
            more: number(0) == 2,
            is_anothers: number(0) == 0,
        })
    }

    fn leave(&mut self) -> Result<(), ReplicaError> {
        let key = format!("{}node:heartbeats", self.settings.prefix);
        let node = self.settings.node.clone();
        self.call("leave", |redis| redis::cmd("HDEL").arg(key).arg(node).query(redis))
    }

    fn presence(&mut self, user_ids: &[&str]) -> Result<Vec<UserPresence>, ReplicaError> {
        if user_ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = user_ids.iter().map(|user| self.key("presence:user", user)).collect();
        let values: Vec<Option<String>> =
            self.call("read presence", |redis| redis::cmd("MGET").arg(keys).query(redis))?;
        Ok(values.iter().map(|it| it.as_deref().map(presence_of).unwrap_or_default()).collect())
    }

    fn mark_members(
        &mut self,
        marks: &[(String, std::sync::Arc<str>, bool)],
    ) -> Result<(), ReplicaError> {
        let mut pipeline = redis::pipe();
        for (conversation, user, online) in marks {
            let key = self.key("subscribers:conv", conversation);
            let change = if *online { "SADD" } else { "SREM" };
            pipeline.cmd(change).arg(&key).arg(&**user).ignore();
            let ttl = ttl_of(self.settings.members_ttl, conversation);
            pipeline.cmd("PEXPIRE").arg(&key).arg(ttl).ignore();
        }
        self.call("write the online members", |redis| pipeline.query(redis))
    }

    fn members(&mut self, conversation_id: &str) -> Result<Option<Vec<String>>, ReplicaError> {
        let key = self.key("subscribers:conv", conversation_id);
        let members: Vec<String> = self.call("read the online members", |redis| {
            redis::cmd("SMEMBERS").arg(key).query(redis)
        })?;
        Ok((!members.is_empty()).then_some(members))
    }
}

/// One word of a script's answer.
#[derive(Debug)]
struct Word(redis::Value);

impl redis::FromRedisValue for Word {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        Ok(Self(value))
    }
}

impl Word {
    fn number(&self) -> i64 {
        match &self.0 {
            redis::Value::Int(number) => *number,
            _ => 0,
        }
    }

    fn text(&self) -> String {
        match &self.0 {
            redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }
}

fn outcome(answer: &[Word]) -> Shared {
    let number = |at: usize| answer.get(at).map_or(0, Word::number);
    if number(0) == 0 {
        return Shared::Locked;
    }
    Shared::Written {
        online: number(1) == 1,
        inconsistent: number(2) as u64,
        elsewhere: answer.iter().skip(3).map(Word::text).collect(),
    }
}

#[cfg(test)]
mod tests;
