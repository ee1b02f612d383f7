//! Routes of facts: conversations, members, mutes, bans.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use imflow_proto::record::Wish;
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, ConversationType, ErrorCode, MemberInfo, Role};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::api::{read, read_optional};
use crate::checks;
use crate::refusal::Refusal;

/// Conversations in one page of a user's list.
const PAGE: usize = 1_000;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/conversations", post(create_conversation))
        .route("/conversations/{id}", get(get_conversation))
        .route("/conversations/{id}/members", get(list_members))
        .route("/conversations/{id}/members/{user}", put(put_member).delete(delete_member))
        .route("/conversations/{id}/mutes/{user}", put(put_mute).delete(delete_mute))
        .route("/conversations/{id}/bans/{user}", put(put_ban).delete(delete_ban))
        .route("/users/{user}/conversations", get(conversations_of_user))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewConversation {
    /// Left out for ONE_TO_ONE: it follows from the members
    #[serde(default)]
    id: String,
    /// ONE_TO_ONE or GROUP
    r#type: String,
    #[serde(default)]
    name: String,
    members: Vec<NewMember>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewMember {
    user_id: String,
    /// OWNER, ADMIN or MEMBER (the default)
    #[serde(default)]
    role: Option<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberRole {
    /// OWNER, ADMIN or MEMBER (the default)
    #[serde(default)]
    role: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mute {
    /// Milliseconds since the Unix epoch
    until: i64,
}

/// Create a conversation, or get the one that exists
#[utoipa::path(post, path = "/v1/conversations", request_body = NewConversation, responses((status = 201, description = "created"), (status = 200, description = "existed"), (status = 400), (status = 409)))]
pub(super) async fn create_conversation(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let NewConversation { mut id, r#type, name, members } = read(&body)?;
    let kind = ConversationType::from_str_name(&r#type)
        .filter(|kind| *kind != ConversationType::Unspecified);
    let kind = kind.ok_or_else(|| {
        Refusal::of(ErrorCode::Invalid, format!("`type` is `{type}`; it is ONE_TO_ONE or GROUP"))
    })?;
    let members = members.into_iter().map(member).collect::<Result<Vec<_>, _>>()?;
    match (kind, &*members) {
        (ConversationType::OneToOne, [a, b]) => {
            id = imflow_proto::id::one_to_one(&a.user_id, &b.user_id)
        }
        (ConversationType::OneToOne, _) => {
            return Err(Refusal::of(ErrorCode::Invalid, "ONE_TO_ONE has exactly two members"));
        }
        _ => checks::check_group_id(&id)?,
    }
    checks::check_name(&name)?;
    // Only for the status: whether it is created is decided in the dataflow.
    let before = shared.read({
        let id = id.clone();
        move |store| store.conversation(&id, "")
    });
    let status = if before.await?.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let answer = shared.command(id.clone(), Wish::Create { kind, name, members }).await?;
    let Body::Conversation(info) = answer else { return Err(unexpected()) };
    Ok((status, Json(info)).into_response())
}

/// A conversation
#[utoipa::path(get, path = "/v1/conversations/{id}", params(("id" = String, Path)), responses((status = 200, description = "the conversation"), (status = 404)))]
pub(super) async fn get_conversation(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<wire::ConversationInfo>, Refusal> {
    shared.existing(id).await.map(Json)
}

/// The members of a conversation
#[utoipa::path(get, path = "/v1/conversations/{id}/members", params(("id" = String, Path)), responses((status = 200, description = "items"), (status = 404)))]
pub(super) async fn list_members(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Refusal> {
    shared.existing(id.clone()).await?;
    let items = shared.read(move |store| store.members(&id)).await?;
    Ok(Json(serde_json::json!({ "items": items })))
}

/// Add a member, or change a role
#[utoipa::path(put, path = "/v1/conversations/{id}/members/{user}", params(("id" = String, Path), ("user" = String, Path)), request_body = MemberRole, responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn put_member(
    State(shared): State<Arc<Shared>>,
    Path((id, user)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Done>, Refusal> {
    let MemberRole { role } = read_optional(&body)?;
    let set = vec![member(NewMember { user_id: user, role })?];
    shared.change(id, Wish::ChangeMembers { set, remove: Vec::new() }).await
}

/// Remove a member
#[utoipa::path(delete, path = "/v1/conversations/{id}/members/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn delete_member(
    State(shared): State<Arc<Shared>>,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Done>, Refusal> {
    shared.change(id, Wish::ChangeMembers { set: Vec::new(), remove: vec![user] }).await
}

/// Mute a user until a time
#[utoipa::path(put, path = "/v1/conversations/{id}/mutes/{user}", params(("id" = String, Path), ("user" = String, Path)), request_body = Mute, responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn put_mute(
    State(shared): State<Arc<Shared>>,
    Path((id, user)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Done>, Refusal> {
    let Mute { until } = read(&body)?;
    shared.change(id, Wish::Mute { user_id: user, until }).await
}

/// Lift a mute
#[utoipa::path(delete, path = "/v1/conversations/{id}/mutes/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn delete_mute(
    State(shared): State<Arc<Shared>>,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Done>, Refusal> {
    shared.change(id, Wish::Mute { user_id: user, until: 0 }).await
}

/// Ban a user
#[utoipa::path(put, path = "/v1/conversations/{id}/bans/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn put_ban(
    State(shared): State<Arc<Shared>>,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Done>, Refusal> {
    shared.change(id, Wish::Ban { user_id: user, banned: true }).await
}

/// Lift a ban
#[utoipa::path(delete, path = "/v1/conversations/{id}/bans/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn delete_ban(
    State(shared): State<Arc<Shared>>,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Done>, Refusal> {
    shared.change(id, Wish::Ban { user_id: user, banned: false }).await
}

/// The conversations of a user
#[utoipa::path(get, path = "/v1/users/{user}/conversations", params(("user" = String, Path)), responses((status = 200, description = "items, more")))]
pub(super) async fn conversations_of_user(
    State(shared): State<Arc<Shared>>,
    Path(user): Path<String>,
) -> Result<Json<wire::ConversationList>, Refusal> {
    shared.read(move |store| store.conversations_of(&user, "", PAGE)).await.map(Json)
}

type Done = serde_json::Value;

impl Shared {
    async fn change(&self, conversation_id: String, wish: Wish) -> Result<Json<Done>, Refusal> {
        let users: Vec<&String> = match &wish {
            Wish::ChangeMembers { set, remove } => {
                set.iter().map(|m| &m.user_id).chain(remove).collect()
            }
            Wish::Mute { user_id, .. } | Wish::Ban { user_id, .. } => vec![user_id],
            Wish::Create { .. } => Vec::new(),
        };
        users.into_iter().try_for_each(|user| checks::check_user(user))?;
        self.command(conversation_id, wish).await?;
        Ok(Json(serde_json::json!({})))
    }

    /// A conversation, or 404.
    pub(super) async fn existing(
        self: &Arc<Self>,
        id: String,
    ) -> Result<wire::ConversationInfo, Refusal> {
        let found = self.read(move |store| store.conversation(&id, "")).await?;
        found.map(|view| view.info).ok_or_else(|| {
            Refusal::of(
                ErrorCode::UnknownConversation,
                "no such conversation; POST /v1/conversations creates one",
            )
        })
    }
}

fn member(new: NewMember) -> Result<MemberInfo, Refusal> {
    checks::check_user(&new.user_id)?;
    let name = new.role.as_deref().unwrap_or("MEMBER");
    let role = Role::from_str_name(name).filter(|role| *role != Role::Unspecified);
    let role = role.ok_or_else(|| {
        Refusal::of(ErrorCode::Invalid, format!("`role` is `{name}`; it is OWNER, ADMIN or MEMBER"))
    })?;
    Ok(MemberInfo { user_id: new.user_id, role: role.into() })
}

fn unexpected() -> Refusal {
    Refusal::of(ErrorCode::Internal, "the dataflow gave an answer of another kind")
}
