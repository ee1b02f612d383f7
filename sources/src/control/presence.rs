//! Routes of presence: a user's devices, the nodes that hold them, and who of a conversation is online.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use imflow_kind::{Routes, StoreError};
use imflow_proto::wire::{Error, ErrorCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::facts::Done;
use super::request::{ConversationPath, UserPath};
use crate::checks::check_user;
use crate::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/users/{user}/presence", get(user_presence))
        .route("/users/{user}/routes", get(user_routes))
        .route("/users/{user}/routes/{device}", delete(failed_route))
        .route("/conversations/{id}/online", get(online_members))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Presence {
    user_id: String,
    online: bool,
    devices: Vec<Device>,
    /// When the user was last heard of, in milliseconds since the Unix epoch; left out when it is not known
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_at: Option<i64>,
    /// The node that held the devices until it failed, while none of them has connected again
    #[serde(skip_serializing_if = "Option::is_none")]
    migrating_from: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device {
    device_id: String,
    node_id: String,
    /// When the device was last heard of, in milliseconds since the Unix epoch
    last_seen: i64,
    /// When its session began
    since: i64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RouteList {
    items: Vec<RouteItem>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RouteItem {
    device_id: String,
    node_id: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OnlineMembers {
    /// User ids
    items: Vec<String>,
}

/// The presence of a user
#[utoipa::path(get, path = "/v1/users/{user}/presence", params(("user" = String, Path)), responses((status = 200, description = "presence", body = Presence), (status = 400), (status = 501)))]
pub(super) async fn user_presence(
    State(shared): State<Arc<Shared>>,
    UserPath(user_id): UserPath,
) -> Result<Json<Presence>, Refusal> {
    let asked = user_id.clone();
    let found = shared.ask_routes(move |routes, _| routes.presence(&[&asked])).await?;
    let found = found.into_iter().next().unwrap_or_default();
    let devices: Vec<_> = found
        .devices
        .into_iter()
        .map(|it| Device {
            device_id: it.device_id,
            node_id: it.node_id,
            last_seen: it.last_seen,
            since: it.since,
        })
        .collect();
    Ok(Json(Presence {
        user_id,
        online: !devices.is_empty(),
        devices,
        last_active_at: (found.last_active_at > 0).then_some(found.last_active_at),
        migrating_from: found.migrating_from,
    }))
}

/// The nodes that hold a user's devices
///
/// The answer may be up to 30 s old; whoever does not find a device there says so with DELETE.
#[utoipa::path(get, path = "/v1/users/{user}/routes", params(("user" = String, Path)), responses((status = 200, description = "routes", body = RouteList), (status = 400), (status = 501)))]
pub(super) async fn user_routes(
    State(shared): State<Arc<Shared>>,
    UserPath(user_id): UserPath,
) -> Result<Json<RouteList>, Refusal> {
    let found = shared.ask_routes(move |routes, _| routes.routes(&user_id)).await?;
    let items = found
        .into_iter()
        .map(|it| RouteItem { device_id: it.device_id, node_id: it.node_id })
        .collect();
    Ok(Json(RouteList { items }))
}

/// Say that a device was not where its route leads: the next question is asked anew
#[utoipa::path(delete, path = "/v1/users/{user}/routes/{device}", params(("user" = String, Path), ("device" = String, Path)), responses((status = 200, description = "forgotten"), (status = 400), (status = 501)))]
pub(super) async fn failed_route(
    State(shared): State<Arc<Shared>>,
    Path((user, device)): Path<(String, String)>,
) -> Result<Json<Done>, Refusal> {
    check_user(&user)?;
    shared
        .ask_routes(move |routes, _| {
            routes.failed(&user, &device);
            Ok(())
        })
        .await?;
    Ok(Json(serde_json::json!({})))
}

/// The members of a conversation that are online
#[utoipa::path(get, path = "/v1/conversations/{id}/online", params(("id" = String, Path)), responses((status = 200, description = "user ids", body = OnlineMembers), (status = 404), (status = 501)))]
pub(super) async fn online_members(
    State(shared): State<Arc<Shared>>,
    ConversationPath(id): ConversationPath,
) -> Result<Json<OnlineMembers>, Refusal> {
    shared.existing(id.clone()).await?;
    let items = shared.ask_routes(move |routes, store| {
        let members = || Ok(store.members(&id)?.into_iter().map(|it| it.user_id).collect());
        routes.online_members(&id, &members)
    });
    Ok(Json(OnlineMembers { items: items.await? }))
}

impl Shared {
    /// Asks who knows where users are, on the pool of those who read.
    async fn ask_routes<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Routes, &dyn imflow_kind::Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Some(routes) = self.routes.clone() else {
            let sentence = "nobody here knows where users are: set `presence` of the source of kind `control` to a gateway";
            return Err(Refusal::of(ErrorCode::Unsupported, sentence));
        };
        let answer = self.pace.read(&self.store, move |store| ask(&*routes, store)).await;
        answer.map_err(|error| match error {
            StoreError::Away(why) => {
                tracing::warn!(why, "presence could not be asked for");
                let sentence = "the system that keeps presence does not answer; ask again";
                Refusal::from(Error::of(ErrorCode::Busy, sentence).retry_after(1_000))
            }
            error => {
                tracing::error!(%error, "presence could not be read");
                let sentence = "presence could not be read; the server's log says why";
                Refusal::of(ErrorCode::Internal, sentence)
            }
        })
    }
}
