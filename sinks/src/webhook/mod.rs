//! Sink `webhook`: records of any type as signed HTTP posts, to a service of somebody else.
//!
//! Here is what every build knows of it; a build with the cargo feature `webhook` also holds the sink itself.

mod meters;
#[cfg(feature = "webhook")]
mod post;
#[cfg(feature = "webhook")]
mod retry;
#[cfg(feature = "webhook")]
mod sink;
mod target;

use imflow_kind::{
    ANY, Claim, ClaimKey, Description, Family, Key, Kind, Limit, Opt, OptType, Port, State,
};

use crate::discard;

/// `records: any`
///
/// Source: SPEC M12.
pub static DESCRIPTION: Description = Description {
    name: "webhook",
    family: Family::Sink,
    summary: "posts records of any type to a URL, signed and tried again",
    doc: "Each record becomes one POST of a JSON object: `{\"id\":..,\"type\":..,\"record\":{..}}`. With `fanout.absent` as its input \
          a service gets each message with the members that have no live device, and wakes them by APNs, FCM or mail.\n\n\
          2xx is success. A timeout, 408, 429 and 5xx are tried again after `retry_from`, then after twice as long each time up to `retry_most`, or as \
          `Retry-After` says, `attempts` times in all. Whatever else is answered, or is tried in vain, becomes a line of `dead_letters`. \
          A record may come twice: its `id` is the same then. Order is not kept.\n\n\
          `Imflow-Signature: t=SECONDS,v1=HEX` is the HMAC-SHA256 of `SECONDS.BODY` under `secret`. Records that wait are lost when the service \
          is killed; a message is in the log all the same.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "what to post")],
    options: &[
        Opt::required("url", OptType::Text, "where to, `https://` or `http://`")
            .also(&["uri", "endpoint"]),
        Opt::new(
            "secret",
            OptType::Text,
            "",
            "signs each post, best from a variable: `${WEBHOOK_SECRET}`; empty: no signature",
        ),
        Opt::new(
            "timeout",
            OptType::Duration(10, 600_000),
            "5s",
            "how long one post may take, the answer included",
        ),
        Opt::new("attempts", OptType::Integer(1, 100), "8", "posts of one record at most"),
        Opt::new(
            "retry_from",
            OptType::Duration(1, 600_000),
            "500ms",
            "how long after the first attempt the second comes",
        ),
        Opt::new(
            "retry_most",
            OptType::Duration(1, 86_400_000),
            "1m",
            "longest wait between two attempts",
        ),
        Opt::new("parallel", OptType::Integer(1, 256), "8", "posts at a time"),
        Opt::new(
            "queue",
            OptType::Integer(1, 10_000_000),
            "10000",
            "records that wait at most, those between two attempts included",
        ),
        Opt::new(
            "dead_letters",
            OptType::Text,
            "webhook.dead.ndjson",
            "the file of what could not be posted; a relative path is below `service.data`",
        ),
    ],
    claims: &[Claim { thing: "the file", key: &[ClaimKey::Option("dead_letters")] }],
    limits: &[
        Limit {
            what: "records waiting for the URL",
            bound: "`queue`",
            policy: "further ones are dropped and counted",
        },
        Limit {
            what: "attempts",
            bound: "`attempts`",
            policy: "then the record is a line of `dead_letters`",
        },
        Limit {
            what: "dead letters",
            bound: "64 MiB, and four files of it before",
            policy: "the oldest file goes",
        },
    ],
    metrics: meters::METRICS,
    example: "[sinks.wake]\n\
              kind = \"webhook\"\n\
              inputs = [\"fanout.absent\"]\n\
              url = \"https://push.example.com/imflow\"\n\
              secret = \"${WEBHOOK_SECRET:-change-me}\"\n",
    ..Description::EMPTY
};

/// The kind `webhook`.
pub fn kind() -> Kind {
    #[cfg(feature = "webhook")]
    let kind = Kind::sink(&DESCRIPTION, sink::build);
    #[cfg(not(feature = "webhook"))]
    let kind = Kind::missing(&DESCRIPTION, "webhook");
    kind.inferring(target::check).simulated_by(discard::form())
}
