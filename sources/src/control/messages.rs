//! Routes of messages: sending as a bot, revoking, reading history.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use imflow_proto::record::Ask;
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, ErrorCode, MessageType};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::request::{Asked, Body as JsonBody, ConversationPath, MessagePath, UserPath};
use crate::actions;
use crate::checks;
use crate::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/conversations/{id}/messages", post(send_message).get(list_messages))
        .route("/conversations/{id}/messages/{seq}", delete(revoke_message))
        .route("/conversations/{id}/cursors", get(list_cursors))
        .route("/users/{user}/timeline", get(timeline))
        .route("/search", get(search))
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

/// As `history` of the wire.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Range {
    after_seq: u64,
    before_seq: u64,
    around_seq: u64,
    after_time: i64,
    before_time: i64,
    limit: u32,
}

/// As `timeline` of the wire, its places taken apart.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TimeRange {
    after_time: Option<i64>,
    after_conversation: String,
    after_seq: u64,
    before_time: Option<i64>,
    before_conversation: String,
    before_seq: u64,
    limit: u32,
}

/// As `cursors` of the wire.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UserPage {
    after: String,
    limit: u32,
}

/// As `search` of the wire.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Words {
    query: String,
    user: String,
    conversation_id: String,
    sender_id: String,
    after_time: i64,
    before_time: i64,
    before: i64,
    limit: u32,
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
        ..Default::default()
    };
    acked(&shared.send(&sender_id, send, None).await?)
}

/// Revoke a message, at any time; the same call again gets the first answer
#[utoipa::path(delete, path = "/v1/conversations/{id}/messages/{seq}", params(("id" = String, Path), ("seq" = u64, Path)), responses((status = 200, description = "the ack of the revoke: nobody reads the message any more"), (status = 404), (status = 410, description = "somebody has revoked it before")))]
pub(super) async fn revoke_message(
    State(shared): State<Arc<Shared>>,
    MessagePath { conversation, seq }: MessagePath,
) -> Result<Json<wire::Ack>, Refusal> {
    let client_msg_id = format!("revoke-{seq}");
    let (send, action) =
        actions::revoke(wire::Revoke { conversation_id: conversation, client_msg_id, seq });
    acked(&shared.send("", send, Some(action)).await?)
}

fn acked(answer: &Body) -> Result<Json<wire::Ack>, Refusal> {
    match answer {
        Body::Ack(ack) => Ok(Json(*ack)),
        _ => Err(Refusal::of(ErrorCode::Internal, "the dataflow gave an answer of another kind")),
    }
}

/// Messages after, before or around a place
#[utoipa::path(get, path = "/v1/conversations/{id}/messages", params(("id" = String, Path), ("afterSeq" = Option<u64>, Query), ("beforeSeq" = Option<u64>, Query), ("aroundSeq" = Option<u64>, Query), ("afterTime" = Option<i64>, Query, description = "milliseconds since 1970"), ("beforeTime" = Option<i64>, Query), ("limit" = Option<u32>, Query)), responses((status = 200, description = "items, more"), (status = 400), (status = 404)))]
pub(super) async fn list_messages(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
    Asked(range): Asked<Range>,
) -> Result<Json<wire::Messages>, Refusal> {
    let Range { after_seq, before_seq, around_seq, after_time, before_time, limit } = range;
    let history = wire::History {
        conversation_id: id,
        after_seq,
        before_seq,
        around_seq,
        after_time,
        before_time,
        limit,
    };
    match shared.ask("", Ask::History(history)).await? {
        Body::Messages(page) => Ok(Json(page)),
        _ => Err(unexpected()),
    }
}

/// How far the members of a conversation have come
#[utoipa::path(get, path = "/v1/conversations/{id}/cursors", params(("id" = String, Path), ("after" = Option<String>, Query), ("limit" = Option<u32>, Query)), responses((status = 200, description = "items, more"), (status = 404)))]
pub(super) async fn list_cursors(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
    Asked(page): Asked<UserPage>,
) -> Result<Json<wire::CursorList>, Refusal> {
    let UserPage { after, limit } = page;
    let list = wire::ListCursors { conversation_id: id, after, limit };
    match shared.ask("", Ask::Cursors(list)).await? {
        Body::CursorList(list) => Ok(Json(list)),
        _ => Err(unexpected()),
    }
}

/// The messages of all conversations of a user, by time
#[utoipa::path(get, path = "/v1/users/{user}/timeline", params(("user" = String, Path), ("afterTime" = Option<i64>, Query, description = "with afterConversation and afterSeq: the message to go on after"), ("afterConversation" = Option<String>, Query), ("afterSeq" = Option<u64>, Query), ("beforeTime" = Option<i64>, Query), ("beforeConversation" = Option<String>, Query), ("beforeSeq" = Option<u64>, Query), ("limit" = Option<u32>, Query)), responses((status = 200, description = "items, more"), (status = 400)))]
pub(super) async fn timeline(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
    Asked(range): Asked<TimeRange>,
) -> Result<Json<wire::Messages>, Refusal> {
    let place = |created_at: Option<i64>, conversation_id, seq| {
        created_at.map(|created_at| wire::Place { created_at, conversation_id, seq })
    };
    let after = place(range.after_time, range.after_conversation, range.after_seq);
    let before = place(range.before_time, range.before_conversation, range.before_seq);
    let timeline = wire::Timeline { after, before, limit: range.limit };
    match shared.ask(&user, Ask::Timeline(timeline)).await? {
        Body::Messages(page) => Ok(Json(page)),
        _ => Err(unexpected()),
    }
}

/// Messages that have certain words, newest first: all of them, or those that a user reads
#[utoipa::path(get, path = "/v1/search", params(("query" = String, Query, description = "words, all of which a text has; in double quotes those that stand together"), ("user" = Option<String>, Query, description = "only what this user may read; left out: everything"), ("conversationId" = Option<String>, Query), ("senderId" = Option<String>, Query), ("afterTime" = Option<i64>, Query, description = "milliseconds since 1970"), ("beforeTime" = Option<i64>, Query), ("before" = Option<String>, Query, description = "`next` of the answer before"), ("limit" = Option<u32>, Query)), responses((status = 200, description = "items, next, complete"), (status = 400), (status = 404), (status = 501, description = "the service keeps no index of words")))]
pub(super) async fn search(
    State(shared): State<Arc<Shared>>,
    Asked(words): Asked<Words>,
) -> Result<Json<wire::Matches>, Refusal> {
    let Words { query, user, conversation_id, sender_id, after_time, before_time, before, limit } =
        words;
    if !user.is_empty() {
        checks::check_user(&user)?;
    }
    let search =
        wire::Search { query, conversation_id, sender_id, after_time, before_time, before, limit };
    checks::check_search(&search)?;
    match shared.ask(&user, Ask::Search(search)).await? {
        Body::Matches(page) => Ok(Json(page)),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Refusal {
    Refusal::of(ErrorCode::Internal, "the reader gave an answer of another kind")
}
