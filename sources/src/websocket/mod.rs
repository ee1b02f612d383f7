//! The kind `websocket`: the gateway that devices connect to.
//!
//! ```text
//! handshake -> connection -> admission -> [dataflow] -> hub -> dispatch -> outbox -> connection
//! ```
//!
//! It turns frames into records and records into frames; it knows scopes, credit and limits, and
//! nothing of what a message means.

mod admission;
mod bands;
mod close;
mod commands;
mod connection;
mod cork;
mod dispatch;
mod echo;
mod expansion;
mod farewell;
mod flow;
mod frames;
mod gaps;
mod groups;
mod handshake;
mod hub;
mod limits;
mod meters;
mod origins;
mod outbox;
mod parking;
mod peer;
mod pending;
mod queue;
mod rates;
mod refresh;
mod registry;
mod resume;
mod simulated;
#[cfg(test)]
mod testing;
mod throttle;
mod watch;
mod whereabouts;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use imflow_kind::{
    Claim, ClaimKey, Description, Family, Form, Injector, IoContext, Key, Kind, Limit, Port,
    RoleName, Roles, Source, StartError, State,
};
use imflow_proto::RecordType;
use tokio::task::AbortHandle;

pub use self::echo::echo;

use self::close::Close;
use self::dispatch::Dispatcher;
use self::handshake::Door;
use self::hub::{Gateway, Hub};
use self::origins::Origins;
use crate::HttpListener;
use crate::auth::Secrets;

/// How long the end of the process waits for the last goodbyes.
const LAST_GOODBYES: Duration = Duration::from_secs(2);

const DESCRIPTION: Description = Description {
    name: "websocket",
    family: Family::Source,
    summary: "is the gateway: devices connect here, send commands and get pushes",
    doc: "Takes WebSocket connections at `path` of a listener, with the subprotocol `imflow.v1.json` or \
          `imflow.v1.proto` and a token in `Authorization: Bearer` (or the subprotocol `bearer.TOKEN`).\n\n\
          Each command of a client leaves on a port and meets exactly one reply. A `push` sink with \
          `to` set to this source brings replies and pushes back.",
    key: Key::Conversation,
    state: State::Volatile,
    inputs: &[],
    outputs: &[
        Port::of("messages", &[RecordType::Submission], "Messages as devices sent them."),
        Port::of(
            "commands",
            &[RecordType::Command],
            "Wishes to create conversations and to change members.",
        ),
        Port::of("sessions", &[RecordType::SessionEvent], "Sessions that began or ended."),
        Port::of("subscriptions", &[RecordType::Subscription], "Whose presence a session follows."),
        Port::of("queries", &[RecordType::Query], "Reads: history, sync, conversations, cursors."),
        Port::of("marks", &[RecordType::Mark], "How far devices and their users have come."),
        Port::of("typing", &[RecordType::Typing], "Who writes something."),
        Port::of(
            "costs",
            &[RecordType::FanoutCost],
            "How long fan-outs to 100 and more users took.",
        ),
    ],
    options: limits::OPTIONS,
    provides: &[RoleName::Outboxes, RoleName::Routes],
    claims: &[Claim {
        thing: "the HTTP path",
        key: &[ClaimKey::Option("listener"), ClaimKey::Option("path")],
    }],
    limits: &[
        Limit {
            what: "connections",
            bound: "`max_connections`, `.._per_user`, `.._per_ip`",
            policy: "refused before the upgrade with 503 or 429",
        },
        Limit {
            what: "handshakes",
            bound: "`handshake_rate_per_ip`",
            policy: "refused before the token is looked at, with 429 and `Retry-After`",
        },
        Limit {
            what: "commands a second",
            bound: "`rate_per_device`, `.._user`, `.._ip`, `.._conversation`",
            policy: "answered RATE_LIMITED with `retryAfterMs`",
        },
        Limit {
            what: "buckets of rates",
            bound: "1,048,576 of users, IP addresses, conversations, handshakes",
            policy: "those who have been still are forgotten; beyond it newcomers pass unmeasured",
        },
        Limit {
            what: "unanswered commands of a connection",
            bound: "`in_flight`",
            policy: "its socket is not read",
        },
        Limit {
            what: "commands without credit",
            bound: "1 s",
            policy: "the socket is not read, then they are answered BUSY",
        },
        Limit {
            what: "pushes that wait for this node's connections",
            bound: "1,000 of P0, 5,000 of P1, 10,000 of P2, 20,000 of P3, and `fanout_bytes`",
            policy: "from 70 % of the total on P3 is left out, from 85 % P2, from 95 % P1: a `notify` takes the place of the messages; \
                     from 70 % on reads are answered BUSY, from 95 % on messages too",
        },
        Limit {
            what: "pushes that wait for a connection",
            bound: "`outbox_pushes` over the same four bands, `outbox_bytes`",
            policy: "left out as above; one `notify` for each conversation until it was pulled",
        },
        Limit {
            what: "conversations of which a connection lacks pushes",
            bound: "`outbox_gaps`",
            policy: "the connection is closed with 4408",
        },
        Limit {
            what: "sessions that wait to be resumed",
            bound: "`resume_sessions`, each for `resume_window`; 256 pushes and 64 KiB of what was written",
            policy: "it ends: the next connection is told `recovered: false`",
        },
        Limit {
            what: "notices of the moment (who types, who is online)",
            bound: "64 a connection, 4,096 a node, none from 70 % on",
            policy: "dropped",
        },
        Limit {
            what: "users who left, and of whom it is known when they were last heard of",
            bound: "100,000",
            policy: "the one who left first is forgotten",
        },
        Limit {
            what: "replies that wait for a connection",
            bound: "1 MiB",
            policy: "its socket is not read",
        },
        Limit {
            what: "a frame",
            bound: "`max_frame`, 1,024 envelopes",
            policy: "the connection is closed with 4513 or 4500",
        },
        Limit {
            what: "a message on its way",
            bound: "`message_timeout`; `max_frame` and 16 KiB for the heads of its fragments",
            policy: "the connection is closed with 4414 or 4513",
        },
        Limit {
            what: "pings and pongs of a connection",
            bound: "`control_rate`",
            policy: "the connection is closed with 4529",
        },
    ],
    metrics: meters::METRICS,
    script: Some(&simulated::SCRIPT),
    example: "[sources.clients]\n\
              kind = \"websocket\"\n\
              path = \"/ws\"\n",
    ..Description::EMPTY
};

/// The kind, for the registry.
pub(crate) fn kind() -> Kind {
    Kind::source(&DESCRIPTION, |context| Ok(Box::new(WebSocket::build(context)?)))
        .simulated_by(Form::Source(Arc::new(simulated::build)))
}

/// The source: built, then started.
struct WebSocket {
    name: String,
    data: std::path::PathBuf,
    listener: String,
    path: String,
    origins: Vec<String>,
    roles: Roles,
    hub: Arc<Hub>,
    gateway: Option<Arc<Gateway>>,
    /// Every connection has been told to go.
    drained: Arc<AtomicBool>,
    tasks: Vec<AbortHandle>,
}

impl WebSocket {
    fn build(context: &IoContext) -> Result<Self, StartError> {
        let path = context.options.text("path").to_owned();
        let hub = Hub::of(context);
        Ok(Self {
            name: context.name.clone(),
            data: context.data.clone(),
            listener: context.options.text("listener").to_owned(),
            path,
            origins: context.options.texts("origins").to_vec(),
            roles: context.roles.clone(),
            hub,
            gateway: None,
            drained: Arc::default(),
            tasks: Vec::new(),
        })
    }
}

impl Source for WebSocket {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let listener = find_listener(&self.roles, &self.name, &self.listener)?;
        let secrets =
            Secrets::open(&self.data).map_err(|error| StartError::new(error.to_string()))?;
        let dispatcher = Dispatcher::new(Arc::clone(&self.hub), Some(Arc::clone(&injector)));
        let secrets = Arc::new(secrets);
        let origins = Origins::read(&self.origins)?;
        let gateway = Gateway::new(Arc::clone(&self.hub), injector, Some(Arc::clone(&secrets)));
        listener.mount(
            Router::new().route(&self.path, any(handshake::upgrade)).with_state(Arc::new(Door {
                gateway: Arc::clone(&gateway),
                secrets,
                origins,
            })),
        );
        self.tasks = vec![
            tokio::spawn(dispatcher.run()).abort_handle(),
            tokio::spawn(watch::run(Arc::clone(&gateway))).abort_handle(),
        ];
        self.gateway = Some(gateway);
        Ok(())
    }

    fn drain(&mut self) {
        if let Some(gateway) = &self.gateway {
            gateway.draining.store(true, Ordering::Release);
            let paced = farewell::say(Arc::clone(gateway), Arc::clone(&self.drained));
            self.tasks.push(tokio::spawn(paced).abort_handle());
        }
    }

    fn is_drained(&self) -> bool {
        self.gateway.is_none() || self.drained.load(Ordering::Acquire)
    }

    /// Blocks for the last goodbyes, which the runtime's other threads write.
    fn stop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.draining.store(true, Ordering::Release);
            gateway.hub.registry.each(|peer| peer.outbox.close(Close::ShuttingDown, false));
            gateway.doors.wait_until_empty(LAST_GOODBYES);
        }
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

/// The listener that a source names.
pub(crate) fn find_listener(
    roles: &Roles,
    source: &str,
    listener: &str,
) -> Result<Arc<HttpListener>, StartError> {
    roles.find::<Arc<HttpListener>>(&HttpListener::role(listener)).ok_or_else(|| {
        StartError::new(format!("source `{source}`: no listener `{listener}` is open; add [listeners.{listener}] with an `address`"))
    })
}
