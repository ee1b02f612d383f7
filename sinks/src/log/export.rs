//! What a log holds about one user, as JSON, one thing a line, in the order in which it became durable.
//!
//! First comes what the base says, which stands for what was cut off the log. Of others only the conversations' ids
//! are told. The last line is `end`: without it an export was cut short.

use imflow_kind::{Bookmark, Exported};
use imflow_proto::log::fact::Change;
use imflow_proto::log::{Cursors, CursorsMoved, Fact};
use imflow_proto::record::Lsn;
use imflow_proto::wire::Role;
use prost::Message as _;
use serde_json::{Value, json};

use super::LogError;
use super::base::Base;
use super::erase::Targets;
use super::frame::{CURSORS, FACT, MESSAGE};
use super::index::{Directory, Standing};
use super::segments::{Segments, Visited, note_erased};

/// Records that are looked at for one part, and bytes of its lines.
const RECORDS: usize = 4_096;
const BYTES: usize = 256 << 10;

/// Gives the next part of an export, from a bookmark on.
pub(crate) fn part(
    segments: &Segments,
    durable: Lsn,
    user: &str,
    from: &mut Bookmark,
) -> Result<Exported, LogError> {
    let mut lines = String::new();
    if from.lsn == 0 {
        of_base(user, &segments.base()?).iter().for_each(|told| put(&mut lines, told));
    }
    let erasing = segments.erasing.read().clone();
    let mut looked_at = 0;
    segments.read_on(from, durable, &mut |record| {
        about(user, record, &erasing).iter().for_each(|told| put(&mut lines, told));
        looked_at += 1;
        Ok(looked_at < RECORDS && lines.len() < BYTES)
    })?;
    // Of an empty log, or one whose last segments were dropped, nothing is left to look at.
    let more = looked_at > 0 && from.lsn < durable;
    if !more {
        put(&mut lines, &end(from.lsn));
    }
    Ok(Exported { lines, more })
}

fn put(lines: &mut String, told: &Value) {
    lines.push_str(&told.to_string());
    lines.push('\n');
}

/// The last line: everything up to that record was told.
pub(super) fn end(upto: Lsn) -> Value {
    json!({ "end": { "lsn": upto } })
}

/// What a base says about a user.
pub(super) fn of_base(user: &str, base: &Base) -> Vec<Value> {
    let mut things = Vec::new();
    Directory::about(user, &base.rows, &mut |conversation, standing| {
        things.push(match standing {
            Standing::Member(role) => {
                let role = Role::try_from(role).unwrap_or_default().as_str_name();
                json!({ "membership": { "conversationId": conversation, "role": role } })
            }
            Standing::Mute(until) => {
                json!({ "mute": { "conversationId": conversation, "until": until } })
            }
            Standing::Ban => json!({ "ban": { "conversationId": conversation, "banned": true } }),
            Standing::Level(level) => level_told(&level, None),
            Standing::Cursors(cursors) => cursors_told(conversation, &cursors),
        });
    });
    things
}

/// What a record says about a user, and is not to be erased. What cannot be read is told by whoever walks.
pub(super) fn about(user: &str, record: Visited<'_>, erasing: &Targets) -> Vec<Value> {
    match record.kind {
        MESSAGE => match record.message() {
            Ok(mut message) if message.sender_id == user => {
                if erasing.strip(record.lsn, &mut message) {
                    note_erased(&mut message);
                }
                vec![json!({ "message": message })]
            }
            _ => Vec::new(),
        },
        FACT => Fact::decode(record.payload).map(|fact| of_fact(user, &fact)).unwrap_or_default(),
        CURSORS => match CursorsMoved::decode(record.payload) {
            Ok(moved) if !erasing.is_meant(record.lsn, "", user) => of_cursors(user, &moved),
            _ => Vec::new(),
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
            things.push(level_told(&changed.level, Some(*at)));
        }
        Some(Change::Erased(erased)) if erased.user_id == user => {
            things.push(json!({ "erased": { "at": at } }));
        }
        _ => {}
    }
    things
}

fn level_told(level: &str, at: Option<i64>) -> Value {
    match at {
        Some(at) => json!({ "level": { "level": level, "at": at } }),
        None => json!({ "level": { "level": level } }),
    }
}

fn of_cursors(user: &str, moved: &CursorsMoved) -> Vec<Value> {
    let own = moved.members.iter().filter(|member| member.user_id == user);
    own.map(|member| cursors_told(&moved.conversation_id, member)).collect()
}

fn cursors_told(conversation: &str, member: &Cursors) -> Value {
    let devices: Vec<Value> = member
        .devices
        .iter()
        .map(|device| json!({ "deviceId": device.device_id, "delivered": device.delivered }))
        .collect();
    json!({ "cursors": { "conversationId": conversation, "read": member.read, "devices": devices } })
}
