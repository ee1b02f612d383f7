//! Routes of the levels of users, by which copies of the log keep what they archive for longer.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use imflow_proto::record::Wish;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::facts::Done;
use super::request::{Body as JsonBody, UserPath};
use crate::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/users/{user}/level", get(get_level).put(put_level))
}

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Level {
    /// A name that options of sinks know, such as `gold`; empty: none
    level: String,
}

/// Set the level of a user
#[utoipa::path(put, path = "/v1/users/{user}/level", params(("user" = String, Path)), request_body = Level, responses((status = 200, description = "in force"), (status = 400)))]
pub(super) async fn put_level(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
    JsonBody(Level { level }): JsonBody<Level>,
) -> Result<Json<Done>, Refusal> {
    shared.change(String::new(), Wish::SetLevel { user_id: user, level }).await
}

/// The level of a user
#[utoipa::path(get, path = "/v1/users/{user}/level", params(("user" = String, Path)), responses((status = 200, description = "level"), (status = 400)))]
pub(super) async fn get_level(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
) -> Result<Json<Level>, Refusal> {
    let level = shared.read(move |store| store.level(&user)).await?;
    Ok(Json(Level { level }))
}
