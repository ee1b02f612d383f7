//! Sink `kafka`: records of any type as JSON, to a topic of Kafka.
//!
//! Here is what every build knows of it; a build with the cargo feature `kafka` also holds the sink itself.

mod addresses;
#[cfg(feature = "kafka")]
mod sink;
#[cfg(all(test, feature = "kafka"))]
mod tests;

use imflow_kind::{
    ANY, Claim, ClaimKey, Description, Family, Key, Kind, Limit, Opt, OptType, Port, State,
};

use crate::discard;

/// `records: any`
///
/// Source: SPEC T4, N2.
pub static DESCRIPTION: Description = Description {
    name: "kafka",
    family: Family::Sink,
    summary: "publishes records of any type to a topic of Kafka",
    doc: "Each record becomes one JSON object of its fields. Its key is its `conversationId`, if it has one, so that the records of a \
          conversation are in one partition and in order. The producer is idempotent and waits for all in-sync replicas: while \
          imflow runs, retries neither repeat nor reorder anything. What is under way when imflow is killed is not sent again.\n\
          \n\
          Kafka may be down, also at the start: records wait in the queue, each for `give_up` at most. With `when_full = \"drop\"` what finds the queue \
          full is dropped and counted, and nobody waits. With `\"hold\"` the stages that feed the sink take no new \
          records until there is room, so senders meet BUSY; use it where a gap is worse than that.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "what to publish")],
    options: &[
        Opt::required("brokers", OptType::Texts, "addresses to begin with, as HOST:PORT").also(&[
            "bootstrap_servers",
            "addresses",
            "seed_brokers",
            "servers",
        ]),
        Opt::required("topic", OptType::Text, "the topic that the records go to"),
        Opt::new(
            "queue",
            OptType::Integer(1, 10_000_000),
            "65536",
            "records that wait for Kafka at most, those under way included",
        ),
        Opt::new(
            "when_full",
            OptType::Choice(&["drop", "hold"]),
            "drop",
            "what happens when the queue is full",
        ),
        Opt::new(
            "give_up",
            OptType::Duration(1_000, 86_400_000),
            "2m",
            "how long a record is tried before it is dropped and counted",
        ),
        Opt::new(
            "compression",
            OptType::Choice(&["none", "snappy", "lz4"]),
            "none",
            "how batches are compressed",
        ),
    ],
    claims: &[Claim { thing: "the topic", key: &[ClaimKey::Option("topic")] }],
    limits: &[
        Limit {
            what: "records waiting for Kafka",
            bound: "`queue`; with `when_full = \"hold\"` also those that were under way in imflow",
            policy: "as `when_full` says",
        },
        Limit {
            what: "bytes in the client library",
            bound: "64 MiB",
            policy: "further records wait in the queue",
        },
        Limit {
            what: "time that a record is tried",
            bound: "`give_up`",
            policy: "then it is dropped and counted",
        },
        Limit {
            what: "time that a stopping service waits for Kafka",
            bound: "5 s",
            policy: "what is left is dropped and counted",
        },
    ],
    example: "[sinks.stream]\n\
              kind = \"kafka\"\n\
              inputs = [\"store.committed\"]\n\
              brokers = [\"127.0.0.1:9092\"]\n\
              topic = \"im.committed\"\n",
    ..Description::EMPTY
};

/// The kind `kafka`.
pub fn kind() -> Kind {
    #[cfg(feature = "kafka")]
    let kind = Kind::sink(&DESCRIPTION, sink::build);
    #[cfg(not(feature = "kafka"))]
    let kind = Kind::missing(&DESCRIPTION, "kafka");
    kind.inferring(addresses::check).simulated_by(discard::form())
}
