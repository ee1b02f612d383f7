//! What a log holds about one user, as JSON, one thing a line, in the order in which it became durable.
//!
//! One record is held at a time. Of others only the conversations' ids are told.

use imflow_proto::log::fact::Change;
use imflow_proto::log::{CursorsMoved, Fact};
use imflow_proto::wire::Role;
use prost::Message as _;
use serde_json::{Value, json};

use super::{Dumped, OfflineLog, walk};
use crate::log::LogError;
use crate::log::frame::{CURSORS, FACT, MESSAGE};
use crate::log::segments::Visited;

impl OfflineLog {
    /// Gives all that is about a user to `line`, as JSON.
    ///
    /// # Errors
    /// When the disk fails, or `line` does.
    pub fn export(
        &self,
        user_id: &str,
        line: &mut dyn FnMut(&Value) -> std::io::Result<()>,
    ) -> Result<Dumped, LogError> {
        let mut records = 0;
        let walked = walk::walk(&self.segments()?, &mut |_, record| {
            for told in about(user_id, record) {
                records += 1;
                line(&told).map_err(LogError::io("write", "standard output"))?;
            }
            Ok(true)
        })?;
        Ok(Dumped { records, problems: walked.problems })
    }
}

/// What a record says about a user. What cannot be read is told by the walk.
fn about(user: &str, record: Visited<'_>) -> Vec<Value> {
    match record.kind {
        MESSAGE => match record.message() {
            Ok(message) if message.sender_id == user => vec![json!({ "message": message })],
            _ => Vec::new(),
        },
        FACT => Fact::decode(record.payload).map(|fact| of_fact(user, &fact)).unwrap_or_default(),
        CURSORS => match CursorsMoved::decode(record.payload) {
            Ok(moved) => of_cursors(user, &moved),
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn of_fact(user: &str, fact: &Fact) -> Vec<Value> {
    let Fact { conversation_id, at, by, .. } = fact;
    let told = |name: &str, more: Value| {
        let mut thing = json!({ "conversationId": conversation_id, "at": at });
        if let (Some(thing), Value::Object(more)) = (thing.as_object_mut(), more) {
            thing.extend(more);
        }
        json!({ name: thing })
    };
    let membership = |role: Role| told("membership", json!({ "role": role.as_str_name() }));
    let mut things = Vec::new();
    match &fact.change {
        Some(Change::Created(created)) => {
            if by == user {
                let kind = created.r#type().as_str_name();
                things.push(told("created", json!({ "type": kind, "name": created.name })));
            }
            let own = created.members.iter().filter(|member| member.user_id == user);
            things.extend(own.map(|member| membership(member.role())));
        }
        Some(Change::Members(changed)) => {
            let own = changed.set.iter().filter(|member| member.user_id == user);
            things.extend(own.map(|member| membership(member.role())));
            if changed.removed.iter().any(|removed| removed == user) {
                things.push(told("membership", json!({ "left": true })));
            }
        }
        Some(Change::Mute(mute)) if mute.user_id == user => {
            things.push(told("mute", json!({ "until": mute.until })));
        }
        Some(Change::Ban(ban)) if ban.user_id == user => {
            things.push(told("ban", json!({ "banned": ban.banned })));
        }
        Some(Change::Level(changed)) if changed.user_id == user => {
            things.push(json!({ "level": { "level": changed.level, "at": at } }));
        }
        Some(Change::Erased(erased)) if erased.user_id == user => {
            things.push(json!({ "erased": { "at": at } }));
        }
        _ => {}
    }
    things
}

fn of_cursors(user: &str, moved: &CursorsMoved) -> Vec<Value> {
    let own = moved.members.iter().filter(|member| member.user_id == user);
    let told = own.map(|member| {
        let devices: Vec<Value> = member
            .devices
            .iter()
            .map(|device| json!({ "deviceId": device.device_id, "delivered": device.delivered }))
            .collect();
        let (id, read) = (&moved.conversation_id, member.read);
        json!({ "cursors": { "conversationId": id, "read": read, "devices": devices } })
    });
    told.collect()
}
