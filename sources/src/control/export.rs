//! All that is held about a user, as lines of JSON, read as fast as they are taken.
//!
//! ```text
//! the reader: what the user wrote and only an archive still has, page by page
//! the store: what the log holds, in its order, to the line `end`
//! ```

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use imflow_kind::{Bookmark, Exported, StoreError};
use imflow_proto::record::{Ask, Written};
use imflow_proto::wire::ErrorCode;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::queries::patiently;
use super::request::UserPath;
use crate::refusal::Refusal;

/// Exports at a time: each reads the whole log.
pub(super) const AT_A_TIME: usize = 2;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/users/{user}/export", get(export))
}

/// All that is held about a user: JSON objects, one a line, the last one `end`
#[utoipa::path(get, path = "/v1/users/{user}/export", params(("user" = String, Path)), responses((status = 200, body = String, content_type = "application/x-ndjson", description = "first each message that only the archive of the reader still has, then what the log holds: message, created, membership, mute, ban, cursors, erased; at last end"), (status = 503, description = "two exports are under way")))]
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    UserPath(user): UserPath,
) -> Result<Response, Refusal> {
    let turn = Arc::clone(&shared.exports).try_acquire_owned().map_err(|_| {
        let sentence = format!("{AT_A_TIME} exports are under way; ask again when one has ended");
        Refusal::of(ErrorCode::Busy, sentence)
    })?;
    let old = Written { user_id: user.clone(), ..Written::default() };
    let mut reading = Reading { shared, user, next: Next::Archive(old), _turn: turn };
    // What fails at once is told in the API's own form.
    let first = reading.next().await?;
    let rest = stream::try_unfold(reading, async |mut reading| match reading.next {
        Next::End => Ok(None),
        _ => match reading.next().await {
            Ok(lines) => Ok(Some((lines, reading))),
            Err(_) => Err(StoreError::Failed("the store could not be read".into())),
        },
    });
    let lines = stream::once(async { Ok(first) });
    let body = Body::from_stream(futures_util::StreamExt::chain(lines, rest));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

struct Reading {
    shared: Arc<Shared>,
    user: String,
    next: Next,
    _turn: OwnedSemaphorePermit,
}

/// Where the next part comes from.
enum Next {
    /// What has left the log, behind a place.
    Archive(Written),
    Log(Bookmark),
    End,
}

impl Reading {
    async fn next(&mut self) -> Result<Bytes, Refusal> {
        if let Next::Archive(old) = &mut self.next {
            let page = patiently(&self.shared, "", &Ask::Written(old.clone())).await?;
            if let Some(last) = page.items.last() {
                old.after_conversation.clone_from(&last.conversation_id);
                old.after_seq = last.seq;
            }
            if !page.more {
                self.next = Next::Log(Bookmark::default());
            }
            if !page.items.is_empty() {
                let lines = page.items.iter().map(|it| format!("{}\n", json!({ "message": it })));
                return Ok(lines.collect::<String>().into());
            }
        }
        let Next::Log(mut from) = self.next else { return Ok(Bytes::new()) };
        let user = self.user.clone();
        let read = self.shared.read(move |store| Ok((store.export(&user, &mut from)?, from)));
        let (Exported { lines, more }, from) = read.await?;
        self.next = if more { Next::Log(from) } else { Next::End };
        Ok(lines.into())
    }
}
