//! Routes that erase what a user has said, or what a conversation holds, and tell how far that came.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use imflow_kind::{Erased, Erasure};
use imflow_proto::record::Wish;
use imflow_proto::wire::{ConversationType, ErrorCode};
use serde_json::{Value, json};

use super::Shared;
use super::request::{ConversationPath, UserPath};
use crate::refusal::Refusal;

/// Conversations of a user that are left at a time.
const PAGE: usize = 200;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/users/{user}/data", get(erasure_of_user).delete(erase_user))
        .route("/conversations/{id}/data", get(erasure_of_conversation).delete(erase_conversation))
}

/// Erase what a user has said, everywhere; the user leaves all groups. The answer means that nobody reads it any more; GET tells when it is off the disk
#[utoipa::path(delete, path = "/v1/users/{user}/data", params(("user" = String, Path)), responses((status = 202, description = "askedAt, finished, segmentsLeft"), (status = 400)))]
pub(super) async fn erase_user(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    leave_groups(&shared, &user).await?;
    shared.command(String::new(), Wish::Erase { user_id: Some(user.clone()) }).await?;
    Ok((StatusCode::ACCEPTED, told(shared.erasure_of_user(user).await?)?))
}

/// How far the erasure of a user came
#[utoipa::path(get, path = "/v1/users/{user}/data", params(("user" = String, Path)), responses((status = 200, description = "askedAt, finished, segmentsLeft"), (status = 404, description = "nobody asked for one")))]
pub(super) async fn erasure_of_user(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
) -> Result<Json<Value>, Refusal> {
    told(shared.erasure_of_user(user).await?)
}

/// Erase all that was said in a conversation, and its name. The answer means that nobody reads it any more; GET tells when it is off the disk
#[utoipa::path(delete, path = "/v1/conversations/{id}/data", params(("id" = String, Path)), responses((status = 202, description = "askedAt, finished, segmentsLeft"), (status = 404)))]
pub(super) async fn erase_conversation(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    shared.command(id.clone(), Wish::Erase { user_id: None }).await?;
    Ok((StatusCode::ACCEPTED, told(shared.erasure_of_conversation(id).await?)?))
}

/// How far the erasure of a conversation came
#[utoipa::path(get, path = "/v1/conversations/{id}/data", params(("id" = String, Path)), responses((status = 200, description = "askedAt, finished, segmentsLeft"), (status = 404, description = "nobody asked for one")))]
pub(super) async fn erasure_of_conversation(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
) -> Result<Json<Value>, Refusal> {
    told(shared.erasure_of_conversation(id).await?)
}

/// A one-to-one keeps its two members.
async fn leave_groups(shared: &Arc<Shared>, user: &str) -> Result<(), Refusal> {
    let (mut after, mut more) = (String::new(), true);
    while more {
        let (of, from) = (user.to_owned(), after.clone());
        let page = shared.read(move |store| store.conversations_of(&of, &from, PAGE)).await?;
        let groups = page.items.iter().filter(|info| info.r#type() == ConversationType::Group);
        for info in groups {
            let wish = Wish::ChangeMembers { set: Vec::new(), remove: vec![user.to_owned()] };
            shared.command(info.conversation_id.clone(), wish).await?;
        }
        more = page.more;
        after = page.items.into_iter().next_back().map_or(after, |last| last.conversation_id);
    }
    Ok(())
}

impl Shared {
    async fn erasure_of_user(self: &Arc<Self>, id: String) -> Result<Option<Erasure>, Refusal> {
        self.read(move |store| store.erasure(Erased::User(&id))).await
    }

    async fn erasure_of_conversation(
        self: &Arc<Self>,
        id: String,
    ) -> Result<Option<Erasure>, Refusal> {
        self.read(move |store| store.erasure(Erased::Conversation(&id))).await
    }
}

fn told(erasure: Option<Erasure>) -> Result<Json<Value>, Refusal> {
    let Some(Erasure { asked_at, finished, segments_left }) = erasure else {
        let sentence = "nothing was erased here; DELETE on the same path asks for it";
        return Err(Refusal::of(ErrorCode::UnknownMessage, sentence));
    };
    Ok(Json(json!({ "askedAt": asked_at, "finished": finished, "segmentsLeft": segments_left })))
}
