//! The key that opens every route.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use imflow_proto::wire::ErrorCode;

use crate::auth::Secrets;
use crate::bearer::{bearer, not_accepted};
use crate::refusal::Refusal;

/// Lets only bearers of a control key pass.
pub(super) async fn authenticate(
    State(secrets): State<Arc<Secrets>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let sentence =
        "the control API needs `Authorization: Bearer KEY`; `imflow token --admin` prints a key";
    let token = bearer(request.headers())
        .ok_or_else(|| Refusal::of(ErrorCode::Unauthenticated, sentence))?;
    let claims = secrets.verify(token).map_err(|e| not_accepted(&e))?;
    if !claims.scopes.admin {
        let sentence =
            "this is a client's token; the control API needs a key from `imflow token --admin`";
        return Err(Refusal::of(ErrorCode::Forbidden, sentence));
    }
    Ok(next.run(request).await)
}
