//! All that the log holds about a user, as lines of JSON, read as fast as they are taken.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use imflow_kind::{Bookmark, Exported, StoreError};
use imflow_proto::wire::ErrorCode;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::request::UserPath;
use crate::refusal::Refusal;

/// Exports at a time: each reads the whole log.
pub(super) const AT_A_TIME: usize = 2;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/users/{user}/export", get(export))
}

/// All that the log holds about a user: JSON objects, one a line, the last one `end`
#[utoipa::path(get, path = "/v1/users/{user}/export", params(("user" = String, Path)), responses((status = 200, body = String, content_type = "application/x-ndjson", description = "message, created, membership, mute, ban, cursors, erased; at last end"), (status = 503, description = "two exports are under way")))]
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
) -> Result<Response, Refusal> {
    let turn = Arc::clone(&shared.exports).try_acquire_owned().map_err(|_| {
        let sentence = format!("{AT_A_TIME} exports are under way; ask again when one has ended");
        Refusal::of(ErrorCode::Busy, sentence)
    })?;
    let mut reading = Reading { shared, user, from: Bookmark::default(), more: true, _turn: turn };
    // What fails at once is told in the API's own form.
    let first = reading.next().await?;
    let rest = stream::try_unfold(reading, async |mut reading| match reading.more {
        true => match reading.next().await {
            Ok(lines) => Ok(Some((lines, reading))),
            Err(_) => Err(StoreError::Failed("the store could not be read".into())),
        },
        false => Ok(None),
    });
    let lines = stream::once(async { Ok(first) });
    let body = Body::from_stream(futures_util::StreamExt::chain(lines, rest));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

struct Reading {
    shared: Arc<Shared>,
    user: String,
    from: Bookmark,
    more: bool,
    _turn: OwnedSemaphorePermit,
}

impl Reading {
    async fn next(&mut self) -> Result<Bytes, Refusal> {
        let (user, mut from) = (self.user.clone(), self.from);
        let read = self.shared.read(move |store| Ok((store.export(&user, &mut from)?, from)));
        let (Exported { lines, more }, from) = read.await?;
        (self.from, self.more) = (from, more);
        Ok(lines.into())
    }
}
