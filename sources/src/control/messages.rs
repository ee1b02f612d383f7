//! Routes of messages: sending as a bot, reading history.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, ErrorCode, MessageType};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::request::{Asked, Body as JsonBody, ConversationPath};
use crate::checks;
use crate::refusal::Refusal;

/// Longest page.
const MAX_LIMIT: usize = 200;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/conversations/{id}/messages", post(send_message).get(list_messages))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BotMessage {
    sender_id: String,
    /// Any id of at most 64 bytes; the same one again gets the first answer. Made up when left out
    #[serde(default)]
    client_msg_id: Option<String>,
    /// TEXT (the default), IMAGE, AUDIO, VIDEO, FILE, LOCATION or CUSTOM
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Range {
    #[serde(default)]
    after_seq: u64,
    #[serde(default)]
    limit: Option<usize>,
}

/// Send a message as a bot, which need not be a member
#[utoipa::path(post, path = "/v1/conversations/{id}/messages", params(("id" = String, Path)), request_body = BotMessage, responses((status = 200, description = "the ack: the message is on disk"), (status = 404), (status = 409)))]
pub(super) async fn send_message(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
    JsonBody(message): JsonBody<BotMessage>,
) -> Result<Json<wire::Ack>, Refusal> {
    let BotMessage { sender_id, client_msg_id, r#type, text } = message;
    checks::check_user(&sender_id)?;
    let name = r#type.as_deref().unwrap_or("TEXT");
    let kind = MessageType::from_str_name(name).filter(|kind| *kind != MessageType::Unspecified);
    let kind = kind.ok_or_else(|| {
        Refusal::of(
            ErrorCode::Invalid,
            format!(
                "`type` is `{name}`; it is TEXT, IMAGE, AUDIO, VIDEO, FILE, LOCATION or CUSTOM"
            ),
        )
    })?;
    let client_msg_id =
        client_msg_id.unwrap_or_else(|| format!("bot-{:032x}", rand::random::<u128>()));
    let send = wire::Send {
        conversation_id: id,
        client_msg_id,
        r#type: kind.into(),
        text,
        payload: Bytes::new(),
    };
    match shared.send(&sender_id, send).await? {
        Body::Ack(ack) => Ok(Json(ack)),
        _ => Err(Refusal::of(ErrorCode::Internal, "the dataflow gave an answer of another kind")),
    }
}

/// Messages after a seq
#[utoipa::path(get, path = "/v1/conversations/{id}/messages", params(("id" = String, Path), ("afterSeq" = Option<u64>, Query), ("limit" = Option<u32>, Query)), responses((status = 200, description = "items, more"), (status = 404)))]
pub(super) async fn list_messages(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
    Asked(range): Asked<Range>,
) -> Result<Json<wire::Messages>, Refusal> {
    shared.existing(id.clone()).await?;
    let limit = range.limit.unwrap_or(50).clamp(1, MAX_LIMIT);
    shared.read(move |store| store.messages(&id, range.after_seq, limit)).await.map(Json)
}
