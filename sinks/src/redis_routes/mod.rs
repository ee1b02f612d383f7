//! Sink `redis_routes`: shares through Redis where users are, with other nodes and other services.
//!
//! ```text
//! sessions ------> table --> keeper ==> Redis ==> listener --> followed --> elsewhere
//! grants ---------------------^          ^                        ^
//! subscriptions ------------------------ look-up -----------------+-------> subscriptions
//! ```
//! The worker only notes what came; three threads speak with Redis, none of which anybody waits for. Those
//! who ask where a user is use [`places`].

#[cfg(feature = "redis")]
mod cache;
mod counts;
#[cfg(feature = "redis")]
mod followed;
#[cfg(feature = "redis")]
mod keeper;
#[cfg(feature = "redis")]
mod live;
#[cfg(feature = "redis")]
mod memory;
#[cfg(feature = "redis")]
mod node;
#[cfg(feature = "redis")]
mod places;
#[cfg(feature = "redis")]
mod simulated;
#[cfg(feature = "redis")]
mod table;
#[cfg(all(test, feature = "redis"))]
mod testing;

use imflow_kind::{
    Action, ActionValue, Claim, ClaimKey, Description, Family, Key, Kind, Limit, Opt, OptType,
    Port, RoleName, Script, State,
};
use imflow_proto::RecordType;

/// `sessions: SessionEvent`, `subscriptions: Subscription`, `grants: Grant` → `elsewhere: Online`,
/// `subscriptions: Subscription`
///
/// Errors: none. Source: SPEC P1, P2, P4-P6.
pub static DESCRIPTION: Description = Description {
    name: "redis_routes",
    family: Family::Sink,
    summary: "shares presence and routes with other nodes, in Redis",
    doc: "Keeps in Redis which devices of which users are connected to this node, and tells on `elsewhere` when users that are followed here come \
          and go on other nodes. `docs/presence.md` has the keys.\n\n\
          Of a device the session that began last counts, ties go to the greater node. What is written of a user is all that this node has of it, in one \
          script: writing it again changes nothing, and an older session never undoes a later one. Each user who is online is written again every `refresh`, \
          with when the gateway last heard of the devices: a heartbeat of a device writes nothing. While Redis is away nobody waits for it; when it is back, everything \
          is written anew.\n\n\
          A node that has missed `misses` heartbeats is down: another one ends its routes, and tells who was there.",
    // Sessions and subscriptions in the user stage, grants in that of conversations.
    key: Key::Inherit,
    state: State::Volatile,
    inputs: &[
        Port::of("sessions", &[RecordType::SessionEvent], "sessions that begin and end"),
        Port::of("subscriptions", &[RecordType::Subscription], "who follows whom")
            .pays()
            .optional(),
        Port::of("grants", &[RecordType::Grant], "who becomes a member, and who is none any more")
            .optional(),
    ],
    outputs: &[
        Port::of("elsewhere", &[RecordType::Online], "followed users, on other nodes"),
        Port::of(
            "subscriptions",
            &[RecordType::Subscription],
            "the same, once it is known who is elsewhere",
        ),
    ],
    options: &[
        Opt::required(
            "uri",
            OptType::Text,
            "`redis://HOST:PORT/DATABASE`; from a variable when it holds a password",
        ),
        Opt::new("prefix", OptType::Text, "core:", "before every key; empty gives the bare names"),
        Opt::required(
            "gateway",
            OptType::Reference(RoleName::Routes),
            "the gateway whose sessions these are, which knows when devices were last heard of",
        ),
        Opt::new(
            "of",
            OptType::Reference(RoleName::Store),
            "",
            "the sink that knows the members of conversations; empty: no sets of online members are kept",
        ),
        Opt::new(
            "device_ids",
            OptType::Choice(&["of_user", "global"]),
            "of_user",
            "`of_user`: keys name a device `userId-deviceId`; `global`: by its id alone, which no other user's device has",
        ),
        Opt::new(
            "ttl",
            OptType::Duration(3_000, 86_400_000),
            "3m",
            "how long a key lives that nobody refreshes; up to a fifth longer, each by its own",
        ),
        Opt::new(
            "refresh",
            OptType::Duration(1_000, 86_400_000),
            "1m",
            "how often users who are online are written again; well below `ttl`",
        ),
        Opt::new(
            "keep",
            OptType::Duration(60_000, 366 * 86_400_000),
            "7d",
            "how long it is known when an offline user was last heard of",
        ),
        Opt::new(
            "heartbeat",
            OptType::Duration(100, 600_000),
            "5s",
            "between two heartbeats of a node",
        ),
        Opt::new("misses", OptType::Integer(1, 100), "3", "heartbeats after which a node is down"),
        Opt::new(
            "strategy",
            OptType::Choice(&["sticky", "fresh"]),
            "sticky",
            "`sticky`: a route is used until it fails or is `cache_ttl` old; `fresh`: Redis is asked each time",
        ),
        Opt::new(
            "cache",
            OptType::Integer(1, 10_000_000),
            "1000",
            "users whose routes are remembered",
        ),
        Opt::new(
            "cache_ttl",
            OptType::Duration(100, 3_600_000),
            "30s",
            "how long; up to a tenth less, each by its own",
        ),
        Opt::new(
            "busy",
            OptType::Integer(1, 1_000_000),
            "1000",
            "a conversation of more members keeps no set of those who are online: they are asked for in batches",
        ),
        Opt::new(
            "busy_ttl",
            OptType::Duration(10, 600_000),
            "2s",
            "how long such an answer is used; up to a quarter less, each by its own",
        ),
        Opt::new(
            "followed",
            OptType::Integer(1, 100_000_000),
            "1000000",
            "users of whom is told what they do on other nodes",
        ),
        Opt::new(
            "wait",
            OptType::Duration(1, 10_000),
            "100ms",
            "how long somebody who asks waits for Redis",
        ),
        Opt::new(
            "timeout",
            OptType::Duration(100, 60_000),
            "2s",
            "how long Redis is waited for when it is written to",
        ),
    ],
    claims: &[Claim {
        thing: "the routes under this prefix",
        key: &[ClaimKey::Option("uri"), ClaimKey::Option("prefix")],
    }],
    limits: &[
        Limit {
            what: "users that wait to be written",
            bound: "those with a session here, each once",
            policy: "later events of a user join the one that waits",
        },
        Limit {
            what: "subscriptions waiting",
            bound: "the credit of the gateway, and the sessions that end",
            policy: "the socket is not read, then BUSY",
        },
        Limit {
            what: "users that are followed on other nodes",
            bound: "`followed`, 10,000 of one session",
            policy: "of others nothing is told from other nodes; counted in the service's log",
        },
        Limit {
            what: "changes of members that wait",
            bound: "100,000",
            policy: "the oldest is dropped, and put right when the user connects again",
        },
        Limit {
            what: "a user's conversations with a set of online members",
            bound: "10,000",
            policy: "the others are asked for in batches",
        },
        Limit {
            what: "busy conversations whose online members are remembered",
            bound: "1,000",
            policy: "the oldest answer is forgotten",
        },
        Limit {
            what: "a lock that somebody else holds on a user",
            bound: "200 ms",
            policy: "it is not heeded any more",
        },
    ],
    metrics: counts::METRICS,
    provides: &[RoleName::Routes],
    script: Some(&SCRIPT),
    example: "[sinks.shared]\n\
              kind = \"redis_routes\"\n\
              uri = \"${REDIS_URI:-redis://127.0.0.1:6379/0}\"\n\
              gateway = \"clients\"\n\
              of = \"store\"\n\
              inputs = { sessions = [\"clients.sessions\"], subscriptions = [\"followed\"], grants = [\"grants\"] }\n\
              \n\
              [operators.online]\n\
              kind = \"presence\"\n\
              inputs = { online = [\"routes\"], subscriptions = [\"shared.subscriptions\"], elsewhere = [\"shared\"] }\n",
    ..Description::EMPTY
};

pub(crate) static SCRIPT: Script = Script {
    actor: None,
    actions: &[
        Action {
            name: "elsewhere",
            value: ActionValue::Table,
            body: false,
            doc: "a device connects to another node, or leaves it: `{ userId, deviceId, nodeId, online }`. The node lives from then on for as long as one does without a heartbeat",
        },
        Action {
            name: "outage",
            value: ActionValue::Flag,
            body: false,
            doc: "Redis is out of reach from here on",
        },
        Action {
            name: "back",
            value: ActionValue::Flag,
            body: false,
            doc: "and can be reached again",
        },
    ],
    sees: "shared",
};

/// The kind `redis_routes`; without the feature it is only described.
#[cfg(not(feature = "redis"))]
pub fn kind() -> Kind {
    Kind::missing(&DESCRIPTION, "redis")
}

/// The kind `redis_routes`. In virtual time what nodes share is kept in memory, and other nodes do what a test
/// says.
#[cfg(feature = "redis")]
pub fn kind() -> Kind {
    use std::sync::Arc;

    use imflow_kind::Form;
    Kind::sink(&DESCRIPTION, live::build).simulated_by(Form::Sink(Arc::new(simulated::build)))
}
