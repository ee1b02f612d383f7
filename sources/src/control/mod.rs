//! The kind `control`: the HTTP API by which a business service rules conversations.
//!
//! ```text
//! request -> routes -> call --(ticket, credit)--> [dataflow: permission -> log] -> answer -> response
//! ```
//!
//! A change is answered once its fact is durable and applied by every worker. Reads come from the store,
//! on a bounded pool. What a change may do is decided in the dataflow; here only its form is checked.

mod call;
mod facts;
mod key;
mod messages;
mod openapi;
mod request;
mod seed;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use imflow_kind::{
    Clock, Description, Family, Injector, IoContext, Key, Kind, Limit, Opt, OptType, Port,
    RoleName, Source, StartError, State, Store,
};
use imflow_proto::RecordType;
use tokio::sync::Semaphore;

use crate::HttpListener;
use crate::auth::Secrets;

/// Store reads at a time.
const READERS: usize = 8;

const DESCRIPTION: Description = Description {
    name: "control",
    family: Family::Source,
    summary: "serves the control API: conversations, members, roles, mutes, bans, and messages of bots over HTTP",
    doc: "Serves `/v1/...` on a listener, for bearers of a key from `imflow token --admin`; the OpenAPI document is at \
          `/v1/openapi.json`.\n\nThe answer to a change means that it is on disk and in force: a member who was added \
          can send from then on.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[],
    outputs: &[
        Port::of("messages", &[RecordType::Submission], "messages of bots"),
        Port::of("commands", &[RecordType::Command], "wishes to change facts"),
    ],
    options: &[
        Opt::new("listener", OptType::Listener, "main", "the listener that the API stands on"),
        Opt::required("store", OptType::Reference(RoleName::Store), "where it reads"),
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
    ],
    provides: &[],
    limits: &[
        Limit { what: "request body", bound: "256 KiB", policy: "refused with 413" },
        Limit {
            what: "reads at a time",
            bound: "8",
            policy: "more wait their turn, up to the timeout",
        },
    ],
    example: "[sources.facts]\n\
              kind = \"control\"\n\
              store = \"store\"\n\
              conversations = { lobby = [\"alice\", \"bob\"] }\n",
    ..Description::EMPTY
};

/// The kind, for the registry.
pub(crate) fn kind() -> Kind {
    Kind::source(&DESCRIPTION, |context| Ok(Box::new(Control(context.clone()))))
}

struct Control(IoContext);

/// What every request needs.
struct Shared {
    injector: Arc<dyn Injector>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    readers: Semaphore,
    secrets: Secrets,
    timeout: Duration,
}

impl Source for Control {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Self(context) = self;
        let listener = context.options.text("listener");
        let role = HttpListener::role(listener);
        let listener = context.roles.find::<Arc<HttpListener>>(&role);
        let listener = listener.ok_or_else(|| StartError::new("its listener was not opened"))?;
        let store = context.roles.find::<Arc<dyn Store>>(context.options.text("store"));
        let store = store.ok_or_else(|| StartError::new("its store offers no reads"))?;
        let secrets = Secrets::open(&context.data).map_err(|e| StartError::new(e.to_string()))?;
        let timeout = context.options.duration("timeout");
        let shared = Arc::new(Shared {
            injector,
            store,
            clock: Arc::clone(&context.clock),
            readers: Semaphore::new(READERS),
            secrets,
            timeout,
        });
        listener.mount(routes(&shared));
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

fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .nest("/v1", facts::routes().merge(messages::routes()))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(shared), key::authenticate))
        .route("/v1/openapi.json", axum::routing::get(openapi::document))
        .layer(axum::extract::DefaultBodyLimit::max(request::MAX_BODY_BYTES))
        .with_state(Arc::clone(shared))
}
