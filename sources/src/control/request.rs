//! What a request carries: ids in its path, a query, a JSON body. Each is checked as it is taken out, and
//! whatever does not fit is refused in the API's own form.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use imflow_proto::wire::ErrorCode;
use serde::de::DeserializeOwned;

use crate::checks::{check_conversation, check_user};
use crate::refusal::Refusal;

/// Longest request body.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;

/// The path's `{id}`.
pub(super) struct ConversationPath(pub(super) String);

/// The path's `{id}` and `{user}`.
pub(super) struct MemberPath {
    pub(super) conversation: String,
    pub(super) user: String,
}

/// The path's `{id}` and `{seq}`.
pub(super) struct MessagePath {
    pub(super) conversation: String,
    pub(super) seq: u64,
}

/// The path's `{user}`.
pub(super) struct UserPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for ConversationPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let conversation: String = path(parts, state).await?;
        check_conversation(&conversation)?;
        Ok(Self(conversation))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MemberPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (conversation, user): (String, String) = path(parts, state).await?;
        check_conversation(&conversation)?;
        check_user(&user)?;
        Ok(Self { conversation, user })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MessagePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let (conversation, seq): (String, u64) = path(parts, state).await?;
        check_conversation(&conversation)?;
        Ok(Self { conversation, seq })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let user: String = path(parts, state).await?;
        check_user(&user)?;
        Ok(Self(user))
    }
}

async fn path<T: DeserializeOwned + Send, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, Refusal> {
    let path = Path::<T>::from_request_parts(parts, state).await;
    path.map(|Path(ids)| ids)
        .map_err(|rejection| invalid(format!("the path does not fit: {}", rejection.body_text())))
}

/// The query; an unknown key is named.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|rejection| {
            invalid(format!("the query does not fit: {}", rejection.body_text()))
        })
    }
}

/// A JSON body; an unknown key is named.
pub(super) struct Body<T>(pub(super) T);

/// As [`Body`], where it may be left out.
pub(super) struct OptionalBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        parse(&bytes(request, state).await?).map(Self)
    }
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = bytes(request, state).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    let bytes = Bytes::from_request(request, state).await;
    bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::of(
            ErrorCode::TooLarge,
            format!("a request body has at most {MAX_BODY_BYTES} bytes; send less at a time"),
        ),
        _ => invalid(format!("the body could not be read: {}", rejection.body_text())),
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        invalid(format!("the body does not fit: {error}; /v1/openapi.json describes it"))
    })
}

fn invalid(sentence: String) -> Refusal {
    Refusal::of(ErrorCode::Invalid, sentence)
}
