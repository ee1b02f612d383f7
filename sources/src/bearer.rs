//! Tokens in HTTP: where they stand, and how one that does not hold is refused.

use axum::http::{HeaderMap, header};
use imflow_proto::wire::ErrorCode;

use crate::auth::AuthError;
use crate::refusal::Refusal;

/// The token in `Authorization: Bearer TOKEN`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The refusal of a token.
pub(crate) fn not_accepted(error: &AuthError) -> Refusal {
    let code = match error {
        AuthError::Expired => ErrorCode::TokenExpired,
        _ => ErrorCode::Unauthenticated,
    };
    Refusal::of(code, error.to_string())
}
