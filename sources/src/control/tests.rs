//! Requests over the routes, without a socket: what is refused and how, and what a mute may say.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use axum::response::Response;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use imflow_kind::testing::FakeInjector;
use imflow_proto::Record;
use imflow_proto::record::{UNTIL_LIFTED, Wish};
use imflow_proto::wire::{Done, envelope};
use serde_json::Value as Json;

use super::guarded;
use super::request::MAX_BODY_BYTES;
use super::testing::{NOW_MS, shared};
use crate::HttpListener;
use crate::auth::Secrets;

type Wishes = Arc<Mutex<Vec<Wish>>>;

/// The API over a dataflow that grants every wish, and the wishes.
struct Api {
    routes: TowerToHyperService<axum::Router>,
    key: String,
    wishes: Wishes,
}

impl Api {
    fn new() -> Self {
        let wishes = Wishes::default();
        let seen = Arc::clone(&wishes);
        let shared = shared(FakeInjector::reacting(move |record| {
            let Record::Command(command) = record else { panic!("{record:?}") };
            seen.lock().expect("not poisoned").push(command.wish.clone());
            command.ticket.answer(envelope::Body::Done(Done {}));
        }));
        let data = tempfile::tempdir().expect("a temporary folder");
        let secrets = Secrets::open(data.path()).expect("writable");
        let key = secrets.mint_admin(std::time::Duration::from_secs(60)).expect("signed");
        let listener = HttpListener::new("main", "127.0.0.1:0");
        listener.mount(guarded(&shared, secrets));
        Self { routes: TowerToHyperService::new(listener.routes()), key, wishes }
    }

    async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> (u16, Json) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key));
        let request = request.body(body.into()).expect("a request");
        let response: Response = self.routes.call(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (status, serde_json::from_str(&text).unwrap_or(Json::String(text)))
    }
}

#[tokio::test]
async fn whatever_does_not_fit_is_refused_in_one_form() {
    let api = Api::new();
    let long = "x".repeat(65);
    let big = format!("{{\"name\":\"{}\"}}", "x".repeat(MAX_BODY_BYTES));
    let cases = [
        ("POST", "/v1/conversations", &*big, 413, "TOO_LARGE"),
        ("PUT", "/v1/conversations/lobby/mutes/bob", &*big, 413, "TOO_LARGE"),
        ("POST", "/v1/conversations", "{", 400, "INVALID"),
        ("POST", "/v1/conversations", "\u{0}\u{1}", 400, "INVALID"),
        ("POST", "/v1/conversations", "", 400, "INVALID"),
        ("PUT", "/v1/conversations/lobby/members/bob", "7", 400, "INVALID"),
        ("PUT", "/v1/conversations/lobby/members/b%20b", "", 400, "INVALID"),
        ("PUT", "/v1/conversations/lobby/bans/a:b", "", 400, "INVALID"),
        ("DELETE", &format!("/v1/conversations/{long}/members/bob"), "", 400, "INVALID"),
        ("GET", "/v1/conversations/a%2Fb", "", 400, "INVALID"),
        ("GET", "/v1/conversations/%ff%fe", "", 400, "INVALID"),
        ("GET", "/v1/conversations/%ff%fe/messages", "", 400, "INVALID"),
        ("GET", "/v1/conversations/lobby/messages?limit=many", "", 400, "INVALID"),
        ("GET", "/v1/conversations/lobby/messages?colour=red", "", 400, "INVALID"),
        ("GET", "/v1/users/a%20b/conversations", "", 400, "INVALID"),
        ("GET", "/v1/users/alice/conversations?after=a%20b", "", 400, "INVALID"),
        ("GET", "/v1/conversations/nowhere", "", 404, "UNKNOWN_CONVERSATION"),
        ("GET", "/v1/nothing-here", "", 404, "INVALID"),
        ("GET", "/v1", "", 404, "INVALID"),
        ("GET", "/nothing-here", "", 404, "INVALID"),
        ("PATCH", "/v1/conversations", "", 405, "INVALID"),
        ("POST", "/v1/openapi.json", "", 405, "INVALID"),
        ("POST", "/healthz", "", 405, "INVALID"),
    ];
    for (method, path, body, status, code) in cases {
        let (found, answer) = api.call(method, path, body.to_owned()).await;
        let error = &answer["error"];
        assert_eq!(
            (found, error["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {answer}"
        );
        assert!(
            error["message"].as_str().is_some_and(|m| m.len() > 10) && error["retryable"] == false,
            "{method} {path} {answer}"
        );
    }
    assert!(api.wishes.lock().expect("not poisoned").is_empty(), "nothing of it went further");
}

#[tokio::test]
async fn a_mute_ends_at_a_time_after_a_while_or_when_it_is_lifted() {
    let api = Api::new();
    let now = NOW_MS as i64;
    for (body, until) in [
        (r#"{"until":77}"#, 77),
        (r#"{"for":"10m"}"#, now + 600_000),
        ("", UNTIL_LIFTED),
        ("{}", UNTIL_LIFTED),
    ] {
        let (status, answer) = api.call("PUT", "/v1/conversations/lobby/mutes/bob", body).await;
        assert_eq!((status, answer), (200, serde_json::json!({})), "{body}");
        let wish = api.wishes.lock().expect("not poisoned").pop();
        assert_eq!(wish, Some(Wish::Mute { user_id: "bob".into(), until }), "{body}");
    }
    for body in [r#"{"for":"soon"}"#, r#"{"until":1,"for":"1s"}"#, r#"{"till":1}"#] {
        let (status, answer) = api.call("PUT", "/v1/conversations/lobby/mutes/bob", body).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &"INVALID".into()), "{body}");
    }
}

#[tokio::test]
async fn a_users_conversations_are_asked_for_in_pages() {
    let api = Api::new();
    for (query, asked) in [
        ("", "alice after , 1000"),
        ("?after=team&limit=2", "alice after team, 2"),
        ("?limit=5000", "alice after , 1000"),
    ] {
        let path = format!("/v1/users/alice/conversations{query}");
        let (status, answer) = api.call("GET", &path, "").await;
        assert_eq!((status, &answer["items"][0]["name"]), (200, &asked.into()), "{query}");
    }
}
