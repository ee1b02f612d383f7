//! The route that tells what runs: `imflow plan` compares with it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use imflow_proto::wire::ErrorCode;

use super::Shared;
use crate::refusal::Refusal;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/topology", get(get_topology))
}

/// The topology that runs: nodes, options and wires, without secrets
#[utoipa::path(get, path = "/v1/topology", responses((status = 200, description = "nodes, options and wires"), (status = 404)))]
pub(super) async fn get_topology(
    State(shared): State<Arc<Shared>>,
) -> Result<impl IntoResponse, Refusal> {
    let sentence = "this process does not tell what it runs";
    let topology =
        shared.topology.clone().ok_or_else(|| Refusal::of(ErrorCode::Unsupported, sentence))?;
    Ok(([(CONTENT_TYPE, "application/json")], topology.0.to_string()))
}
