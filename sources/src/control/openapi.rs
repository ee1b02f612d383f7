//! The OpenAPI document, made from the routes themselves.

use axum::Json;
use utoipa::OpenApi;

use super::{facts, messages};

/// The OpenAPI document.
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "imflow control API",
        description = "Conversations, members, mutes, bans, and messages of bots."
    ),
    paths(
        facts::create_conversation,
        facts::get_conversation,
        facts::list_members,
        facts::put_member,
        facts::delete_member,
        facts::put_mute,
        facts::delete_mute,
        facts::put_ban,
        facts::delete_ban,
        facts::conversations_of_user,
        messages::send_message,
        messages::list_messages,
    )
)]
struct Document;
