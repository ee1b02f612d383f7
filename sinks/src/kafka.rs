//! Sink `kafka`: described, so that files that use it are checked; no build holds it yet.

use imflow_kind::{ANY, Claim, ClaimKey, Description, Family, Kind, Opt, OptType, Port};

/// `records: any`
pub static DESCRIPTION: Description = Description {
    name: "kafka",
    family: Family::Sink,
    summary: "publishes records of any type to a topic of Kafka",
    doc: "Each record becomes one JSON object of its fields. Described so that files that name it are checked; no build holds it yet.",
    inputs: &[Port::of("records", ANY, "what to publish")],
    options: &[
        Opt::required("brokers", OptType::Texts, "addresses to begin with, as HOST:PORT"),
        Opt::required("topic", OptType::Text, "the topic that the records go to"),
    ],
    example: "[sinks.stream]\n\
              kind = \"kafka\"\n\
              inputs = [\"store.committed\"]\n\
              brokers = [\"127.0.0.1:9092\"]\n\
              topic = \"im.committed\"\n",
    claims: &[Claim { thing: "the topic", key: &[ClaimKey::Option("topic")] }],
    ..Description::EMPTY
};

/// The kind `kafka`.
pub fn kind() -> Kind {
    Kind::missing(&DESCRIPTION, "kafka")
}
