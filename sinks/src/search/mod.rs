//! Sink `search`: an index of words behind the log.
//!
//! [`crate::follower`] says how it follows the log, `engines/src/search` what is kept. Whoever searches
//! asks a `reader`.

#[cfg(feature = "search")]
mod simulated;

use imflow_kind::{Description, Family, Key, Kind, Limit, Opt, OptType, Port, RoleName, State};
use imflow_proto::RecordType;

use crate::copies;

/// `committed: Committed` → nothing
///
/// Source: SPEC M7.
pub static DESCRIPTION: Description = Description {
    name: "search",
    family: Family::Sink,
    summary: "keeps an index of the words of messages, for a `reader` to search",
    doc: "Written behind the log: no ack waits for it. The sink is told by its input that something was committed and reads it from the log that `of` \
          names; what was edited or revoked is read anew. `window` later it can be found. Name the sink in the option `search` of a `reader`, which answers `search`.\n\n\
          The index lies in `DATA/search/NAME`, holds words and places and no texts, and is made from the log: when it is missing, damaged, of another \
          version or of another log it is made anew while the service runs; answers say `complete: false` meanwhile. What is cut off the log leaves it too.\n\n\
          Words of Latin and its like are found whole, without regard to case and accents; of Chinese, Japanese, Korean and Thai any part of a text is \
          found. `docs/search.md` has the form of queries, and sizes.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of(
        "committed",
        &[RecordType::Committed],
        "says that there is something to index",
    )
    .observes()],
    outputs: &[],
    options: &[
        copies::OF,
        Opt::new(
            "window",
            OptType::Duration(10, 5_000),
            "500ms",
            "how long messages gather before they can be found together",
        ),
        Opt::new(
            "memory",
            OptType::Size(16 << 20, 1 << 30),
            "32MiB",
            "what gathers in memory before it is written as one piece",
        ),
        Opt::new(
            "batch",
            OptType::Integer(1, 10_000),
            "5000",
            "records read from the log at once, at most",
        ),
        copies::retries("attempts after the first, before an error is told"),
        copies::PAUSE,
    ],
    provides: &[RoleName::Search],
    limits: &[
        Limit {
            what: "records in memory",
            bound: "`batch`, or 1 MiB, and `memory`",
            policy: "the rest waits in the log",
        },
        Limit {
            what: "threads",
            bound: "three: one that reads, one that writes, one that merges, all below the message path (nice 10)",
            policy: "the index is late",
        },
        Limit {
            what: "messages that can be found at once",
            bound: "50,000",
            policy: "written before further ones are read",
        },
        Limit {
            what: "an erasure",
            bound: "found by nobody once it is read; its words leave one piece in one step",
            policy: "further pieces when nothing waits to be indexed",
        },
        Limit {
            what: "pieces that are merged",
            bound: "10 million messages each",
            policy: "larger ones stay as they are",
        },
        Limit { what: "a query", bound: "256 bytes, 16 words", policy: "INVALID" },
    ],
    script: Some(&copies::SCRIPT),
    example: "[sinks.words]\n\
              kind = \"search\"\n\
              of = \"store\"\n\
              inputs = [\"store.committed\"]\n\
              \n\
              [sinks.reader]\n\
              kind = \"reader\"\n\
              of = \"store\"\n\
              search = \"words\"\n\
              inputs = [\"clients.queries\", \"facts.queries\", \"allowed.existing\"]\n",
    ..Description::EMPTY
};

/// The kind `search`; without the feature it is only described.
#[cfg(not(feature = "search"))]
pub fn kind() -> Kind {
    Kind::missing(&DESCRIPTION, "search")
}

/// The kind `search`. In virtual time every text is looked at.
#[cfg(feature = "search")]
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, build)
        .simulated_by(crate::follower::simulated::beside(simulated::replica))
}

#[cfg(feature = "search")]
fn build(
    context: &imflow_kind::IoContext,
) -> Result<Box<dyn imflow_kind::Sink>, imflow_kind::StartError> {
    use std::sync::Arc;

    use imflow_engines::search::{Settings, Writer};
    let (writer, index) = Writer::new(Settings {
        folder: context.data.join("search").join(&context.name),
        roles: context.roles.clone(),
        of: context.options.text("of").to_owned(),
        memory: context.options.size("memory") as usize,
    });
    context.roles.offer(&context.name, index as Arc<dyn imflow_kind::Search>);
    Ok(Box::new(crate::follower::threaded::Threaded::new(context, Box::new(writer), false)))
}
