//! The kind `control`: the HTTP API by which a business service rules conversations.
//!
//! ```text
//! request -> routes -> call --(ticket, credit)--> [dataflow: permission -> log] -> answer -> response
//! ```
//!
//! A change is answered once its fact is durable and applied by every worker. Reads come from the store,
//! on a bounded pool. What a change may do is decided in the dataflow; here only its form is checked.

mod call;
mod erase;
mod export;
mod facts;
mod key;
mod levels;
mod messages;
mod openapi;
mod pace;
mod presence;
mod queries;
mod request;
mod seed;
mod simulated;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use imflow_kind::{
    Claim, ClaimKey, Clock, Description, Family, Form, Injector, IoContext, Key, Kind, Limit, Opt,
    OptType, Port, RoleName, Routes, Source, StartError, State, Store, Topology,
};
use imflow_proto::RecordType;
use tokio::sync::Semaphore;

use self::pace::Pace;
use self::queries::{Limits, Queries};
use crate::HttpListener;
use crate::auth::Secrets;

const DESCRIPTION: Description = Description {
    name: "control",
    family: Family::Source,
    summary: "serves the control API: conversations, members, roles, mutes, bans, and messages of bots over HTTP",
    doc: "Serves `/v1/...` on a listener, for bearers of a key from `imflow token --admin`; the OpenAPI document is at \
          `/v1/openapi.json`.\n\nThe answer to a change means that it is on disk and in force: a member who was added \
          can send from then on.\n\n`POST /v1/queries` starts a read of history in the background, for long ranges and for what lies in \
          an archive: its answer is an id, under which `GET /v1/queries/{id}` tells how far it is and gives its pages. It asks as `userId` may, waits \
          while the service is busy or the archive away, and is kept for `query_keep`.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[],
    outputs: &[
        Port::of("messages", &[RecordType::Submission], "messages of bots"),
        Port::of("commands", &[RecordType::Command], "wishes to change facts"),
        Port::of("queries", &[RecordType::Query], "reads of messages and cursors"),
    ],
    options: &[
        Opt::new("listener", OptType::Listener, "main", "the listener that the API stands on"),
        Opt::required("store", OptType::Reference(RoleName::Store), "where it reads"),
        Opt::new(
            "presence",
            OptType::Reference(RoleName::Routes),
            "",
            "who knows where users are: a gateway, or a sink of kind `redis_routes`; empty: presence cannot be asked for",
        ),
        Opt::new(
            "conversations",
            OptType::Lists,
            "",
            "groups that exist from the first start: the first member is the owner",
        ),
        Opt::new(
            "timeout",
            OptType::Duration(100, 60_000),
            "10s",
            "after this a call is answered TIMEOUT",
        ),
        Opt::new(
            "queries",
            OptType::Integer(1, 1_000),
            "32",
            "queries in the background that are kept at a time",
        ),
        Opt::new("queries_of_user", OptType::Integer(1, 1_000), "4", "of these, of one user"),
        Opt::new(
            "query_messages",
            OptType::Integer(1, 100_000),
            "10000",
            "messages that one of them reads, at most",
        ),
        Opt::new(
            "query_keep",
            OptType::Duration(1_000, 86_400_000),
            "10m",
            "how long one is kept when it has ended",
        ),
    ],
    provides: &[],
    claims: &[Claim {
        thing: "the HTTP path",
        key: &[ClaimKey::Option("listener"), ClaimKey::Fixed("/v1")],
    }],
    limits: &[
        Limit { what: "request body", bound: "256 KiB", policy: "refused with 413" },
        Limit {
            what: "reads at a time",
            bound: "8",
            policy: "more wait their turn, up to the timeout",
        },
        Limit {
            what: "queries in the background",
            bound: "`queries`, and `queries_of_user`",
            policy: "the next is refused with BUSY",
        },
        Limit {
            what: "what such a query holds",
            bound: "`query_messages`, 8 MiB",
            policy: "it ends, with `more` set",
        },
        Limit {
            what: "exports at a time",
            bound: "2; 256 KiB of each in memory, and what one record adds",
            policy: "the next is refused with BUSY; each is read as fast as it is taken",
        },
        Limit {
            what: "a page of it that the service does not give",
            bound: "60 tries",
            policy: "it ends as FAILED, with the last reason",
        },
    ],
    script: Some(&simulated::SCRIPT),
    example: "[sources.facts]\n\
              kind = \"control\"\n\
              store = \"store\"\n\
              conversations = { lobby = [\"alice\", \"bob\"] }\n",
    ..Description::EMPTY
};

/// The kind, for the registry.
pub(crate) fn kind() -> Kind {
    Kind::source(&DESCRIPTION, |context| Ok(Box::new(Control(context.clone()))))
        .simulated_by(Form::Source(Arc::new(simulated::build)))
}

struct Control(IoContext);

/// What every request needs.
struct Shared {
    injector: Arc<dyn Injector>,
    store: Arc<dyn Store>,
    routes: Option<Arc<dyn Routes>>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    timeout: Duration,
    /// What runs, if the process tells.
    topology: Option<Topology>,
    queries: Queries,
    exports: Arc<Semaphore>,
}

impl Shared {
    fn new(
        context: &IoContext,
        injector: Arc<dyn Injector>,
        pace: Pace,
    ) -> Result<Self, StartError> {
        let store = context.roles.find::<Arc<dyn Store>>(context.options.text("store"));
        let store = store.ok_or_else(|| StartError::new("its store offers no reads"))?;
        let routes = context.roles.find(context.options.text("presence"));
        let clock = Arc::clone(&context.clock);
        let timeout = context.options.duration("timeout");
        let topology = context.roles.find(Topology::NAME);
        let queries = Queries::new(Limits::of(&context.options));
        let exports = Arc::new(Semaphore::new(export::AT_A_TIME));
        Ok(Self { injector, store, routes, clock, pace, timeout, topology, queries, exports })
    }
}

impl Source for Control {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Self(context) = self;
        let listener = context.options.text("listener");
        let role = HttpListener::role(listener);
        let listener = context.roles.find::<Arc<HttpListener>>(&role);
        let listener = listener.ok_or_else(|| StartError::new("its listener was not opened"))?;
        let secrets = Secrets::open(&context.data).map_err(|e| StartError::new(e.to_string()))?;
        let shared = Arc::new(Shared::new(context, injector, Pace::real())?);
        listener.mount(guarded(&shared, secrets));
        // Whoever waits for the service to be ready finds the conversations of the file.
        let hold = listener.hold();
        let conversations = context.options.lists("conversations").clone();
        tokio::spawn(async move {
            seed::seed(&shared, conversations).await;
            drop(hold);
        });
        Ok(())
    }
}

/// Every route, behind a key.
fn guarded(shared: &Arc<Shared>, secrets: Secrets) -> Router {
    let guard = axum::middleware::from_fn_with_state(Arc::new(secrets), key::authenticate);
    routes(|routes| routes.layer(guard)).with_state(Arc::clone(shared))
}

/// Every route; those that rule anything are behind `guard`.
fn routes(guard: impl FnOnce(Router<Arc<Shared>>) -> Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    let ruling = facts::routes()
        .merge(messages::routes())
        .merge(queries::routes())
        .merge(erase::routes())
        .merge(export::routes())
        .merge(levels::routes())
        .merge(presence::routes())
        .merge(topology::routes());
    guard(Router::new().nest("/v1", ruling))
        .route("/v1/openapi.json", axum::routing::get(openapi::document))
        .layer(axum::extract::DefaultBodyLimit::max(request::MAX_BODY_BYTES))
}
