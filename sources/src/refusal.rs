//! How an error of the wire looks over HTTP: a fitting status and `{"error":{code,message,retryable}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use imflow_proto::wire::{Error, ErrorCode};

/// A request that is refused.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: Error,
}

impl Refusal {
    /// A refusal with the status that goes with the code.
    pub(crate) fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Error::of(code, message).into()
    }

    /// The same refusal under another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { status: status_of(error.code()), error }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, Json(serde_json::json!({ "error": self.error }))).into_response();
        if self.error.retry_after_ms > 0 {
            let seconds = self.error.retry_after_ms.div_ceil(1_000);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Invalid => StatusCode::BAD_REQUEST,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Unauthenticated | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::NotAMember | ErrorCode::Muted | ErrorCode::Banned => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::UnknownConversation | ErrorCode::UnknownMessage => StatusCode::NOT_FOUND,
        ErrorCode::Conflict | ErrorCode::TooLate => StatusCode::CONFLICT,
        ErrorCode::MessageRevoked => StatusCode::GONE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Busy | ErrorCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Internal | ErrorCode::Unspecified => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_service_says_when_to_come_back() {
        let response =
            Refusal::from(Error::of(ErrorCode::Busy, "later").retry_after(1_500)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
