//! The records of a log as JSON, one a line.

use imflow_proto::log::fact::Change;
use imflow_proto::log::{Cursors, CursorsMoved, DeviceCursor, Fact};
use imflow_proto::record::Lsn;
use prost::Message as _;
use serde_json::{Value, json};

use super::{OfflineLog, walk};
use crate::log::LogError;
use crate::log::frame::{CURSORS, FACT, MESSAGE};
use crate::log::segments::Visited;

/// Which records to tell.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub after: Lsn,
    pub to: Option<Lsn>,
    pub conversation: Option<String>,
    pub limit: Option<u64>,
}

/// How far a dump came.
#[derive(Debug)]
pub struct Dumped {
    pub records: u64,
    /// What could not be read.
    pub problems: Vec<walk::Problem>,
}

impl OfflineLog {
    /// Gives each record that passes the filter to `line`, as JSON.
    ///
    /// # Errors
    /// When the disk fails, or `line` does.
    pub fn dump(
        &self,
        filter: &Filter,
        line: &mut dyn FnMut(&Value) -> std::io::Result<()>,
    ) -> Result<Dumped, LogError> {
        let mut records = 0;
        let walked = walk::walk(&self.segments()?, &mut |path, record| {
            let is_enough = filter.to.is_some_and(|to| record.lsn > to)
                || filter.limit.is_some_and(|limit| records >= limit);
            if is_enough {
                return Ok(false);
            }
            if record.lsn <= filter.after {
                return Ok(true);
            }
            let (conversation, content) = content(record);
            if filter
                .conversation
                .as_ref()
                .is_none_or(|wanted| Some(wanted) == conversation.as_ref())
            {
                records += 1;
                let offset = record.place.offset;
                let mut told = json!({ "lsn": record.lsn, "file": path, "offset": offset });
                if let (Some(told), Value::Object(content)) = (told.as_object_mut(), content) {
                    told.extend(content);
                }
                line(&told).map_err(LogError::io("write", "standard output"))?;
            }
            Ok(true)
        })?;
        Ok(Dumped { records, problems: walked.problems })
    }
}

/// The conversation of a record, and the record.
fn content(record: Visited<'_>) -> (Option<String>, Value) {
    let unreadable =
        |error: &dyn std::fmt::Display| (None, json!({ "unreadable": error.to_string() }));
    match record.kind {
        MESSAGE => match record.message() {
            Ok(message) => {
                let told = json!({ "message": message });
                (Some(message.conversation_id), told)
            }
            Err(error) => unreadable(&error),
        },
        FACT => match Fact::decode(record.payload) {
            Ok(fact) => (Some(fact.conversation_id.clone()), json!({ "fact": told(&fact) })),
            Err(error) => unreadable(&error),
        },
        CURSORS => match CursorsMoved::decode(record.payload) {
            Ok(moved) => {
                let told = json!({ "cursors": cursors_told(&moved) });
                (Some(moved.conversation_id), told)
            }
            Err(error) => unreadable(&error),
        },
        other => (None, json!({ "kind": other, "bytes": record.payload.len() })),
    }
}

fn cursors_told(moved: &CursorsMoved) -> Value {
    let device = |device: &DeviceCursor| json!({ "deviceId": device.device_id, "delivered": device.delivered });
    let member = |member: &Cursors| {
        let devices: Vec<Value> = member.devices.iter().map(device).collect();
        json!({ "userId": member.user_id, "read": member.read, "devices": devices })
    };
    let members: Vec<Value> = moved.members.iter().map(member).collect();
    json!({ "conversationId": moved.conversation_id, "members": members })
}

fn told(fact: &Fact) -> Value {
    let change = match &fact.change {
        Some(Change::Created(created)) => json!({ "created": {
            "type": created.r#type().as_str_name(), "name": created.name, "members": created.members,
        } }),
        Some(Change::Members(change)) => {
            json!({ "members": { "set": change.set, "removed": change.removed } })
        }
        Some(Change::Mute(mute)) => {
            json!({ "mute": { "userId": mute.user_id, "until": mute.until } })
        }
        Some(Change::Ban(ban)) => {
            json!({ "ban": { "userId": ban.user_id, "banned": ban.banned } })
        }
        Some(Change::Erased(erased)) => json!({ "erased": { "userId": erased.user_id } }),
        #[allow(unreachable_patterns, reason = "changes that a later build knows")]
        _ => json!({}),
    };
    let mut told = json!({ "conversationId": fact.conversation_id, "at": fact.at, "by": fact.by });
    if let (Some(told), Value::Object(change)) = (told.as_object_mut(), change) {
        told.extend(change);
    }
    told
}
