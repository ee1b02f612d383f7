//! Routes of facts: conversations, members, mutes, bans.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use imflow_kind::units::duration_ms;
use imflow_proto::record::{UNTIL_LIFTED, Wish};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, ConversationType, ErrorCode, MemberInfo, Role};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::request::{
    Asked, Body as JsonBody, ConversationPath, MemberPath, OptionalBody, UserPath,
};
use crate::checks;
use crate::refusal::Refusal;

/// Most conversations in one page of a user's list.
const MAX_PAGE: usize = 1_000;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/conversations", post(create_conversation))
        .route("/conversations/{id}", get(get_conversation))
        .route("/conversations/{id}/fanout", put(put_fanout))
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
    /// Groups: who is added later sees the messages from then on only
    #[serde(default)]
    history_since_join: bool,
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

/// Either key or none: with none, the mute lasts until it is lifted
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mute {
    /// Milliseconds since the Unix epoch
    #[serde(default)]
    until: Option<i64>,
    /// From now on, such as `10m`
    #[serde(default)]
    r#for: Option<String>,
}

/// How the messages of a conversation come to its members
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fanout {
    /// `AUTO`: by the rules of the service; `DIRECT`: pushed; `NOTIFY`: told of, and pulled
    mode: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: Option<usize>,
}

/// Create a conversation, or get the one that exists
#[utoipa::path(post, path = "/v1/conversations", request_body = NewConversation, responses((status = 201, description = "created"), (status = 200, description = "existed"), (status = 400), (status = 409)))]
pub(super) async fn create_conversation(
    State(shared): State<Arc<Shared>>,
    JsonBody(wanted): JsonBody<NewConversation>,
) -> Result<Response, Refusal> {
    let NewConversation { mut id, r#type, name, members, history_since_join } = wanted;
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
    if history_since_join && kind == ConversationType::OneToOne {
        let sentence = "`historySinceJoin` is for groups: nobody joins a one-to-one later";
        return Err(Refusal::of(ErrorCode::Invalid, sentence));
    }
    let wish = Wish::Create { kind, name, members, history_since_join };
    let answer = shared.command(id.clone(), wish).await?;
    let Body::Conversation(info) = answer else { return Err(unexpected()) };
    Ok((status, Json(info)).into_response())
}

/// A conversation
#[utoipa::path(get, path = "/v1/conversations/{id}", params(("id" = String, Path)), responses((status = 200, description = "the conversation"), (status = 404)))]
pub(super) async fn get_conversation(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
) -> Result<Json<wire::ConversationInfo>, Refusal> {
    shared.existing(id).await.map(Json)
}

/// The members of a conversation
#[utoipa::path(get, path = "/v1/conversations/{id}/members", params(("id" = String, Path)), responses((status = 200, description = "items"), (status = 404)))]
pub(super) async fn list_members(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
) -> Result<Json<serde_json::Value>, Refusal> {
    shared.existing(id.clone()).await?;
    let items = shared.read(move |store| store.members(&id)).await?;
    Ok(Json(serde_json::json!({ "items": items })))
}

/// Add a member, or change a role
#[utoipa::path(put, path = "/v1/conversations/{id}/members/{user}", params(("id" = String, Path), ("user" = String, Path)), request_body = MemberRole, responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn put_member(
    State(shared): State<Arc<Shared>>,
    MemberPath { conversation, user }: MemberPath,
    OptionalBody(MemberRole { role }): OptionalBody<MemberRole>,
) -> Result<Json<Done>, Refusal> {
    let set = vec![member(NewMember { user_id: user, role })?];
    shared.change(conversation, Wish::ChangeMembers { set, remove: Vec::new() }).await
}

/// Remove a member
#[utoipa::path(delete, path = "/v1/conversations/{id}/members/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn delete_member(
    State(shared): State<Arc<Shared>>,
    MemberPath { conversation, user }: MemberPath,
) -> Result<Json<Done>, Refusal> {
    shared.change(conversation, Wish::ChangeMembers { set: Vec::new(), remove: vec![user] }).await
}

/// Mute a user: until a time, for a while, or until it is lifted
#[utoipa::path(put, path = "/v1/conversations/{id}/mutes/{user}", params(("id" = String, Path), ("user" = String, Path)), request_body = Mute, responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn put_mute(
    State(shared): State<Arc<Shared>>,
    MemberPath { conversation, user }: MemberPath,
    OptionalBody(mute): OptionalBody<Mute>,
) -> Result<Json<Done>, Refusal> {
    let until = mute.end(shared.clock.now_ms())?;
    shared.change(conversation, Wish::Mute { user_id: user, until }).await
}

/// Lift a mute
#[utoipa::path(delete, path = "/v1/conversations/{id}/mutes/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn delete_mute(
    State(shared): State<Arc<Shared>>,
    MemberPath { conversation, user }: MemberPath,
) -> Result<Json<Done>, Refusal> {
    shared.change(conversation, Wish::Mute { user_id: user, until: 0 }).await
}

/// Pin how the messages of a conversation come to its members
#[utoipa::path(put, path = "/v1/conversations/{id}/fanout", params(("id" = String, Path)), request_body = Fanout, responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn put_fanout(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
    JsonBody(Fanout { mode }): JsonBody<Fanout>,
) -> Result<Json<Done>, Refusal> {
    let mode = wire::FanoutMode::from_str_name(&mode).ok_or_else(|| {
        let sentence = format!("`mode` is `{mode}`; it is AUTO, DIRECT or NOTIFY");
        Refusal::of(ErrorCode::Invalid, sentence)
    })?;
    shared.change(id, Wish::PinFanout { mode }).await
}

/// Ban a user
#[utoipa::path(put, path = "/v1/conversations/{id}/bans/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn put_ban(
    State(shared): State<Arc<Shared>>,
    MemberPath { conversation, user }: MemberPath,
) -> Result<Json<Done>, Refusal> {
    shared.change(conversation, Wish::Ban { user_id: user, banned: true }).await
}

/// Lift a ban
#[utoipa::path(delete, path = "/v1/conversations/{id}/bans/{user}", params(("id" = String, Path), ("user" = String, Path)), responses((status = 200, description = "in force"), (status = 404)))]
pub(super) async fn delete_ban(
    State(shared): State<Arc<Shared>>,
    MemberPath { conversation, user }: MemberPath,
) -> Result<Json<Done>, Refusal> {
    shared.change(conversation, Wish::Ban { user_id: user, banned: false }).await
}

/// The conversations of a user, by id, in pages
#[utoipa::path(get, path = "/v1/users/{user}/conversations", params(("user" = String, Path), ("after" = Option<String>, Query, description = "the id of the last page's last item"), ("limit" = Option<u32>, Query)), responses((status = 200, description = "items, more"), (status = 400)))]
pub(super) async fn conversations_of_user(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
    Asked(Page { after, limit }): Asked<Page>,
) -> Result<Json<wire::ConversationList>, Refusal> {
    checks::check_after(&after)?;
    let limit = limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    shared.read(move |store| store.conversations_of(&user, &after, limit)).await.map(Json)
}

pub(super) type Done = serde_json::Value;

impl Shared {
    pub(super) async fn change(
        &self,
        conversation_id: String,
        wish: Wish,
    ) -> Result<Json<Done>, Refusal> {
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

impl Mute {
    /// Until when, in milliseconds since the Unix epoch.
    fn end(&self, now_ms: u64) -> Result<i64, Refusal> {
        match (self.until, &self.r#for) {
            (None, None) => Ok(UNTIL_LIFTED),
            (Some(until), None) => Ok(until),
            (None, Some(length)) => {
                let length = duration_ms(length).map_err(|expected| {
                    Refusal::of(ErrorCode::Invalid, format!("`for`: {expected}"))
                })?;
                Ok(i64::try_from(now_ms.saturating_add(length)).unwrap_or(UNTIL_LIFTED))
            }
            (Some(_), Some(_)) => Err(Refusal::of(
                ErrorCode::Invalid,
                "`until` and `for` both say when the mute ends; give one of them",
            )),
        }
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
