//! Reads that take longer than a call: started, and asked for later.
//!
//! ```text
//! POST /v1/queries -> a task: history page by page, through the dataflow as any reader's -> pages, kept for a while
//! GET  /v1/queries/{id} -> how far it is, and one of its pages
//! ```
//! A task asks with the rights of the user that it is for, and waits when the service is busy or an archive is
//! away. It holds what it has read until it expires; how many there are and how much each holds is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use imflow_kind::Options;
use imflow_proto::record::Ask;
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Error, ErrorCode, History, Message, Messages};
use parking_lot::Mutex;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shared;
use super::request::{Asked, Body as JsonBody};
use crate::checks::{check_conversation, check_user};
use crate::refusal::Refusal;

/// What the pages of a task hold at most.
const BYTES: usize = 8 << 20;
/// Messages asked for at a time.
const PAGE: u32 = 200;
/// How often a page is asked for again when the answer was that it may be, and the longest pause before.
const TRIES: u32 = 60;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/queries", post(start_query))
        .route("/queries/{id}", get(get_query).delete(delete_query))
}

/// All tasks.
pub(super) struct Queries {
    limits: Limits,
    begun: AtomicU64,
    tasks: Mutex<BTreeMap<String, Task>>,
}

#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Kept at a time, and of one user.
    pub(super) queries: usize,
    pub(super) queries_of_user: usize,
    /// Messages of one.
    pub(super) query_messages: usize,
    /// How long one is kept that has ended.
    pub(super) query_keep_ms: u64,
}

impl Limits {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            queries: options.integer("queries") as usize,
            queries_of_user: options.integer("queries_of_user") as usize,
            query_messages: options.integer("query_messages") as usize,
            query_keep_ms: options.duration("query_keep").as_millis() as u64,
        }
    }
}

struct Task {
    /// An id may be used again when it was deleted; who reads for the first one must not add to the second.
    number: u64,
    user_id: String,
    state: TaskState,
    pages: Vec<Messages>,
    found: usize,
    bytes: usize,
    /// Whether others follow what was read.
    more: bool,
    error: Option<Error>,
    /// Since when it is done.
    ended_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum TaskState {
    Pending,
    Done,
    Failed,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewQuery {
    /// At most 64 of A-Z, a-z, 0-9, `-` and `_`; made up when left out
    #[serde(default)]
    id: Option<String>,
    /// Whose rights count; left out: all is read
    #[serde(default)]
    user_id: String,
    conversation_id: String,
    /// Messages after this seq, from the first on
    #[serde(default)]
    after_seq: u64,
    /// Messages before this seq: alone from the last on, with `afterSeq` those between
    #[serde(default)]
    before_seq: u64,
    /// Milliseconds since 1970: messages from then on
    #[serde(default)]
    after_time: i64,
    /// Messages before that time, from the last on
    #[serde(default)]
    before_time: i64,
    /// How many, at most; 0: as many as the service allows
    #[serde(default)]
    limit: usize,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WhichPage {
    user_id: String,
    page: usize,
}

/// How far a task is, and one of its pages.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    id: String,
    state: TaskState,
    /// Messages that were read.
    found: usize,
    pages: usize,
    /// Whether others follow those of all pages.
    more: bool,
    /// Those of the page that was asked for.
    items: Vec<Message>,
    #[serde(skip_serializing_if = "is_zero")]
    removed_up_to_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

fn is_zero(seq: &u64) -> bool {
    *seq == 0
}

impl Queries {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, begun: AtomicU64::new(0), tasks: Mutex::default() }
    }

    /// Begins a task, if there is room for one more; gives its number.
    fn begin(&self, id: &str, user_id: &str, now_ms: u64) -> Result<u64, Refusal> {
        let mut tasks = self.tasks.lock();
        self.expire(&mut tasks, now_ms);
        if tasks.contains_key(id) {
            let text = format!("there is a query `{id}` already; give the new one another id");
            return Err(Refusal::of(ErrorCode::Conflict, text));
        }
        let of_user = tasks.values().filter(|task| task.user_id == user_id).count();
        if tasks.len() >= self.limits.queries || of_user >= self.limits.queries_of_user {
            let text = format!(
                "there are {of_user} queries of this user and {} in all, and {} and {} are kept; delete those that you have read",
                tasks.len(),
                self.limits.queries_of_user,
                self.limits.queries
            );
            return Err(Error::of(ErrorCode::Busy, text).retry_after(5_000).into());
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        tasks.insert(id.to_owned(), Task::new(number, user_id));
        Ok(number)
    }

    fn expire(&self, tasks: &mut BTreeMap<String, Task>, now_ms: u64) {
        let keep_ms = self.limits.query_keep_ms;
        tasks.retain(|_, task| {
            task.state == TaskState::Pending || now_ms < task.ended_ms.saturating_add(keep_ms)
        });
    }

    /// Adds a page; gives how many messages are still wanted. `None`: nobody wants any.
    fn add(&self, (id, number): (&str, u64), page: Messages, wanted: usize) -> Option<usize> {
        let mut tasks = self.tasks.lock();
        let task = tasks.get_mut(id).filter(|task| task.number == number)?;
        task.found += page.items.len();
        task.bytes += page.encoded_len();
        task.more = page.more;
        task.pages.push(page);
        let is_full = !task.more || task.bytes >= BYTES;
        (!is_full && task.found < wanted).then(|| wanted - task.found)
    }

    fn end(&self, (id, number): (&str, u64), error: Option<Error>, now_ms: u64) {
        let mut tasks = self.tasks.lock();
        if let Some(task) = tasks.get_mut(id).filter(|task| task.number == number) {
            task.state = if error.is_some() { TaskState::Failed } else { TaskState::Done };
            (task.error, task.ended_ms) = (error, now_ms);
        }
    }

    fn tell(&self, id: &str, which: &WhichPage, now_ms: u64) -> Result<Told, Refusal> {
        let mut tasks = self.tasks.lock();
        self.expire(&mut tasks, now_ms);
        let task = tasks.get(id).filter(|task| task.user_id == which.user_id);
        let task = task.ok_or_else(|| unknown(id))?;
        let page = task.pages.get(which.page);
        if page.is_none() && which.page > 0 {
            let text =
                format!("query `{id}` has {} pages so far; the first is 0", task.pages.len());
            return Err(Refusal::of(ErrorCode::Invalid, text));
        }
        let page = page.cloned().unwrap_or_default();
        Ok(Told {
            id: id.to_owned(),
            state: task.state,
            found: task.found,
            pages: task.pages.len(),
            more: task.more,
            items: page.items,
            removed_up_to_seq: page.removed_up_to_seq,
            error: task.error.clone(),
        })
    }
}

impl Task {
    fn new(number: u64, user_id: &str) -> Self {
        Self {
            number,
            user_id: user_id.to_owned(),
            state: TaskState::Pending,
            pages: Vec::new(),
            found: 0,
            bytes: 0,
            more: true,
            error: None,
            ended_ms: 0,
        }
    }
}

fn unknown(id: &str) -> Refusal {
    let text = format!("there is no query `{id}` of this user; it may have expired");
    Refusal::of(ErrorCode::Invalid, text).with_status(StatusCode::NOT_FOUND)
}

/// Read a conversation in the background; for what lies in an archive, or is long
#[utoipa::path(post, path = "/v1/queries", request_body = NewQuery, responses((status = 202, description = "id and state: the query runs"), (status = 400), (status = 409, description = "there is a query of this id"), (status = 503, description = "too many are kept")))]
pub(super) async fn start_query(
    State(shared): State<Arc<Shared>>,
    JsonBody(query): JsonBody<NewQuery>,
) -> Result<(StatusCode, Json<Told>), Refusal> {
    check_conversation(&query.conversation_id)?;
    if !query.user_id.is_empty() {
        check_user(&query.user_id)?;
    }
    let id = query.id.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    check_id(&id)?;
    let history = history(&query)?;
    let most = shared.queries.limits.query_messages;
    let wanted = if query.limit == 0 { most } else { query.limit.min(most) };
    let now_ms = shared.clock.now_ms();
    let number = shared.queries.begin(&id, &query.user_id, now_ms)?;
    let told =
        shared.queries.tell(&id, &WhichPage { user_id: query.user_id.clone(), page: 0 }, now_ms);
    let task = Arc::clone(&shared);
    shared.pace.spawn(async move {
        let ended = read(&task, (&id, number), &query.user_id, history, wanted).await;
        task.queries.end((&id, number), ended.err(), task.clock.now_ms());
    });
    told.map(|told| (StatusCode::ACCEPTED, Json(told)))
}

/// How far a query is, and one of its pages
#[utoipa::path(get, path = "/v1/queries/{id}", params(("id" = String, Path), ("userId" = Option<String>, Query, description = "as it was started"), ("page" = Option<usize>, Query, description = "from 0 on")), responses((status = 200, description = "state (PENDING, DONE, FAILED), found, pages, more, items of the page, error"), (status = 404)))]
pub(super) async fn get_query(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Asked(which): Asked<WhichPage>,
) -> Result<Json<Told>, Refusal> {
    shared.queries.tell(&id, &which, shared.clock.now_ms()).map(Json)
}

/// Forget a query and what it has read; one that runs ends
#[utoipa::path(delete, path = "/v1/queries/{id}", params(("id" = String, Path), ("userId" = Option<String>, Query, description = "as it was started")), responses((status = 200), (status = 404)))]
pub(super) async fn delete_query(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Asked(which): Asked<WhichPage>,
) -> Result<Json<serde_json::Value>, Refusal> {
    let mut tasks = shared.queries.tasks.lock();
    tasks.get(&id).filter(|task| task.user_id == which.user_id).ok_or_else(|| unknown(&id))?;
    tasks.remove(&id);
    Ok(Json(serde_json::json!({})))
}

fn check_id(id: &str) -> Result<(), Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match (1..=64).contains(&id.len()) && id.bytes().all(fits) {
        true => Ok(()),
        false => Err(Refusal::of(
            ErrorCode::Invalid,
            "the id of a query has 1 to 64 characters of A-Z, a-z, 0-9, `-` and `_`",
        )),
    }
}

fn history(query: &NewQuery) -> Result<History, Refusal> {
    let NewQuery { after_seq, before_seq, after_time, before_time, .. } = *query;
    let places = [after_seq > 0 || before_seq > 0, after_time != 0, before_time != 0];
    if places.iter().filter(|given| **given).count() > 1 {
        let text = "the query has several places; give `afterSeq`, `beforeSeq` or both, or one of `afterTime` and `beforeTime`";
        return Err(Refusal::of(ErrorCode::Invalid, text));
    }
    let conversation_id = query.conversation_id.clone();
    Ok(History {
        conversation_id,
        after_seq,
        before_seq,
        after_time,
        before_time,
        ..History::default()
    })
}

/// Reads page by page until there is enough.
async fn read(
    shared: &Shared,
    id: (&str, u64),
    user_id: &str,
    mut history: History,
    wanted: usize,
) -> Result<(), Error> {
    let mut left = wanted;
    loop {
        history.limit = PAGE.min(left as u32);
        let page = patiently(shared, user_id, &Ask::History(history.clone())).await?;
        history = next(history, &page);
        let is_empty = page.items.is_empty();
        match shared.queries.add(id, page, wanted) {
            Some(still) if !is_empty => left = still,
            _ => return Ok(()),
        }
    }
}

/// A page, asked for again while the answer is that it may be.
pub(super) async fn patiently(
    shared: &Shared,
    user_id: &str,
    ask: &Ask,
) -> Result<Messages, Error> {
    for attempt in 1.. {
        let error = match shared.ask(user_id, ask.clone()).await {
            Ok(Body::Messages(page)) => return Ok(page),
            Ok(_) => {
                let text = "the reader gave an answer of another kind";
                return Err(Error::of(ErrorCode::Internal, text));
            }
            Err(Refusal { error, .. }) => error,
        };
        if !error.retryable || attempt >= TRIES {
            return Err(error);
        }
        let pause = Duration::from_millis(error.retry_after_ms.max(200));
        shared.pace.sleep(pause.min(LONGEST_PAUSE)).await;
    }
    unreachable!("the loop has no end")
}

/// The same question, behind a page.
fn next(history: History, page: &Messages) -> History {
    let (Some(first), Some(last)) = (page.items.first(), page.items.last()) else { return history };
    let History { conversation_id, after_seq, before_seq, before_time, .. } = history;
    let at = History { conversation_id, ..History::default() };
    match before_time != 0 || before_seq > 0 && after_seq == 0 {
        true => History { before_seq: first.seq, ..at },
        false => History { after_seq: last.seq, before_seq, ..at },
    }
}

#[cfg(test)]
#[path = "queries_tests.rs"]
mod tests;
