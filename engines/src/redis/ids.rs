//! Ids of messages: `{prefix}idempotent:{shard}:{clientMsgId}` -> `{serverMsgId, seq, timestamp}`.
//!
//! The value also names conversation and sender, since an id counts for one sender in one conversation only.
//! The first message under an id holds the key until it expires.

use imflow_kind::{IdIndex, IdPlace, ReplicaError};
use imflow_proto::id;
use imflow_proto::wire::Message;
use redis::Pipeline;
use serde_json::{Value, json};

use super::Redis;

impl Redis {
    fn id_key(&self, client_msg_id: &str) -> String {
        let shard = id::partition_of(client_msg_id, self.settings.shards);
        format!("{}idempotent:{shard}:{client_msg_id}", self.settings.prefix)
    }

    pub(super) fn set_id(&self, message: &Message, pipeline: &mut Pipeline) {
        let Some(expires) = self.expires(message.created_at, self.settings.ttl) else { return };
        let value = json!({
            "serverMsgId": message.server_msg_id.to_string(),
            "seq": message.seq,
            "timestamp": message.created_at,
            "conversationId": message.conversation_id,
            "senderId": message.sender_id,
        });
        let key = self.id_key(&message.client_msg_id);
        let set = pipeline.cmd("SET").arg(key).arg(value.to_string());
        set.arg("NX").arg("EXAT").arg(expires).ignore();
    }
}

impl IdIndex for Redis {
    fn find(&mut self, client_msg_ids: &[&str]) -> Result<Vec<Option<IdPlace>>, ReplicaError> {
        let mut pipeline = redis::pipe();
        for id in client_msg_ids {
            pipeline.cmd("GET").arg(self.id_key(id));
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
