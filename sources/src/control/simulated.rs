//! The control API in virtual time: the same routes, without HTTP and keys.
//!
//! A call is the future of its route, polled whenever something may have moved; what it waits for is the
//! dataflow, or an alarm in virtual time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use imflow_kind::{
    Act, Action, ActionValue, Clock, Injector, IoContext, Outside, Script, Seen, Source,
    StartError, World,
};

use serde::{Deserialize, Serialize};

use super::pace::{Alarms, Pace};
use super::{Shared, openapi, routes, seed};

pub(super) static SCRIPT: Script = Script {
    actor: None,
    actions: &[
        call("get", false, "reads, as GET does"),
        call("put", true, "sets, as PUT does"),
        call("post", true, "creates or sends, as POST does"),
        call("delete", false, "removes, as DELETE does"),
    ],
    sees: "responses",
};

const fn call(name: &'static str, body: bool, doc: &'static str) -> Action {
    Action { name, value: ActionValue::Text, body, doc }
}

fn check(act: &Act) -> Result<(), String> {
    let request = request(act)?;
    openapi::route_of(request.method(), request.uri().path())
}

/// What a call ends with.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Response {
    status: u16,
    body: serde_json::Value,
}

fn is_response(json: &str) -> Result<(), String> {
    serde_json::from_str::<Response>(json).map(drop).map_err(|error| {
        let text = error.to_string().replace("unknown field", "unknown key");
        text.split(" at line ").next().unwrap_or_default().to_owned()
    })
}

fn request(act: &Act) -> Result<Request<Body>, String> {
    let path: String = serde_json::from_str(&act.value).map_err(|e| e.to_string())?;
    let method = Method::from_bytes(act.action.to_uppercase().as_bytes());
    let body = act.body.clone().map_or_else(Body::empty, Body::from);
    let request = Request::builder().method(method.map_err(|e| e.to_string())?).uri(&path);
    request.body(body).map_err(|_| format!("`{path}` is not a path like \"/v1/conversations\""))
}

/// The source.
pub(super) struct Simulated {
    context: IoContext,
    alarms: Arc<Alarms>,
    world: Arc<World>,
    router: Option<Router>,
    calls: Vec<Call>,
}

/// What a call ends with: a response, unless it was the source's own.
type Call = Pin<Box<dyn Future<Output = Option<Seen>> + Send>>;

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Source>, StartError> {
    let world = World::new(&SCRIPT, check, is_response);
    context.roles.offer(&context.name, Arc::clone(&world) as Arc<dyn Outside>);
    let alarms = Alarms::new(Arc::clone(&context.clock));
    let context = context.clone();
    Ok(Box::new(Simulated { context, alarms, world, router: None, calls: Vec::new() }))
}

impl Source for Simulated {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let pace = Pace::Virtual(Arc::clone(&self.alarms));
        let shared = Arc::new(Shared::new(&self.context, injector, pace)?);
        self.router = Some(routes(|routes| routes).with_state(Arc::clone(&shared)));
        let conversations = self.context.options.lists("conversations").clone();
        self.calls.push(Box::pin(async move {
            seed::seed(&shared, conversations).await;
            None
        }));
        Ok(())
    }

    fn step(&mut self) -> bool {
        let acts = self.world.take_acts();
        let mut moved = self.alarms.ring() || !acts.is_empty();
        if let Some(router) = &self.router {
            let clock = &self.context.clock;
            self.calls.extend(acts.iter().map(|act| respond(router.clone(), act, clock)));
        }
        // They are polled as calls are, which end with nothing to show.
        self.calls.extend(self.alarms.take_tasks().into_iter().map(|task| -> Call {
            moved = true;
            Box::pin(async move {
                task.await;
                None
            })
        }));
        let mut context = Context::from_waker(Waker::noop());
        let world = &self.world;
        self.calls.retain_mut(|call| match call.as_mut().poll(&mut context) {
            Poll::Ready(response) => {
                world.note(response);
                moved = true;
                false
            }
            Poll::Pending => true,
        });
        moved
    }

    fn next_due(&self) -> Option<u64> {
        self.alarms.next_due()
    }
}

fn respond(router: Router, act: &Act, clock: &Arc<dyn Clock>) -> Call {
    let (request, clock) = (request(act), Arc::clone(clock));
    Box::pin(async move {
        let response = TowerToHyperService::new(router).call(request.ok()?).await.ok()?;
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        // Routes answer in JSON, or with nothing.
        let body = serde_json::from_slice(&body).unwrap_or(serde_json::Value::Null);
        let body = serde_json::to_string(&Response { status: status.as_u16(), body }).ok()?;
        let refusal = status.is_client_error() || status.is_server_error();
        Some(Seen { at_ms: clock.now_ms(), actor: String::new(), body, refusal })
    })
}
