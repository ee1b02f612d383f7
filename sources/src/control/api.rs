//! What all routes share: the key, and the form of bodies and refusals.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use imflow_proto::wire::ErrorCode;
use serde::de::DeserializeOwned;

use super::Shared;
use crate::bearer::{bearer, not_accepted};
use crate::refusal::Refusal;

/// Longest request body.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;

/// Lets only bearers of a control key pass.
pub(super) async fn authenticate(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let sentence =
        "the control API needs `Authorization: Bearer KEY`; `imflow token --admin` prints a key";
    let token = bearer(request.headers())
        .ok_or_else(|| Refusal::of(ErrorCode::Unauthenticated, sentence))?;
    let claims = shared.secrets.verify(token).map_err(|e| not_accepted(&e))?;
    if !claims.scopes.admin {
        let sentence =
            "this is a client's token; the control API needs a key from `imflow token --admin`";
        return Err(Refusal::of(ErrorCode::Forbidden, sentence));
    }
    Ok(next.run(request).await)
}

/// Reads a JSON body strictly: an unknown key is named.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|e| {
        Refusal::of(
            ErrorCode::Invalid,
            format!("the body does not fit: {e}; /v1/openapi.json describes it"),
        )
    })
}

/// As [`read`], where the body may be left out.
pub(super) fn read_optional<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Refusal> {
    if body.is_empty() { Ok(T::default()) } else { read(body) }
}

pub(super) async fn unknown_route() -> Refusal {
    Refusal::of(ErrorCode::Invalid, "no such route; /v1/openapi.json lists them")
        .with_status(StatusCode::NOT_FOUND)
}

pub(super) async fn wrong_method() -> Refusal {
    Refusal::of(ErrorCode::Invalid, "this route takes other methods; /v1/openapi.json lists them")
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}
