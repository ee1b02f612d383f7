//! Sink `mongo`: keeps a copy of the log in MongoDB, where other services read it.
//!
//! [`crate::follower`] says how it follows the log, `engines/src/mongo` what is written where.

use imflow_kind::{
    Claim, ClaimKey, Description, Family, Key, Kind, Limit, Opt, OptType, Port, RoleName, State,
};
use imflow_proto::RecordType;

use crate::copies;

/// `committed: Committed` → `statuses: Delivery`
///
/// Source: SPEC M4 to M6.
pub static DESCRIPTION: Description = Description {
    name: "mongo",
    family: Family::Sink,
    summary: "keeps a copy of the log in MongoDB: messages, timelines, ids, and a monthly archive",
    doc: "Written behind the log: an ack never waits for MongoDB. The sink is told by its input that something was committed and \
          reads it from the log that `of` names, all of it, whatever lies on the wire; so an outage costs a place in the log and no memory. The \
          position of the copy is kept in MongoDB itself, in `imflow_position`, and moves after the documents are there: interrupted anywhere, \
          the same documents are written again, which changes nothing; a database that was restored from a backup, or emptied, is filled again.\n\n\
          Collections: `message_0` to `message_31` by hash of the conversation, `timeline_0` to `timeline_31` by hash of the user (for \
          conversations of at most `timeline_members` members), `idempotent_YYYYMMDD` by day. Messages older than `hot` move to \
          `message_archive_YYYYMM`, where each has an `expireAt`, `archive` after it was created, or \
          later by the levels of the conversation's members at that time (`PUT /v1/users/USER/level`).\n\n\
          When `retries` are used up, the senders of what is late are told by a push `status` DELAYED, and by OK once it is there. \
          A `reader` whose `archive` names this sink answers from here what the log has removed; so the log removes nothing by `keep` that the copy has not \
          got. `keep_bytes` does not wait for it.\n\n\
          `docs/mongodb.md` has indexes, shard keys, document forms, and what a real cluster has not yet confirmed.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of(
        "committed",
        &[RecordType::Committed],
        "says that there is something to copy",
    )
    .observes()],
    outputs: &[Port::of(
        "statuses",
        &[RecordType::Delivery],
        "senders whose message is late, or there after all",
    )],
    options: &[
        Opt::required(
            "uri",
            OptType::Text,
            "as drivers take it: `mongodb://HOST:PORT/`; from a variable when it holds a password",
        ),
        Opt::new("database", OptType::Text, "imflow", "the database"),
        copies::OF,
        copies::BATCH,
        copies::WINDOW,
        copies::retries("attempts after the first, before senders are told DELAYED"),
        copies::PAUSE,
        Opt::new(
            "timeout",
            OptType::Duration(100, 60_000),
            "2s",
            "how long a server is waited for; a whole attempt takes at most ten times as long",
        ),
        Opt::new(
            "writers",
            OptType::Integer(1, 64),
            "8",
            "collections that are written at the same time",
        ),
        Opt::new(
            "timeline_members",
            OptType::Integer(0, 10_000),
            "100",
            "conversations with more members get no timeline rows",
        ),
        Opt::new(
            "ids",
            OptType::Duration(86_400_000, 366 * 86_400_000),
            "7d",
            "how long the collections of ids are kept",
        ),
        Opt::new(
            "hot",
            OptType::Duration(86_400_000, 3_660 * 86_400_000),
            "30d",
            "age at which messages move to the archive",
        ),
        Opt::new(
            "archive",
            OptType::Duration(86_400_000, 3_660 * 86_400_000),
            "180d",
            "age at which archived messages expire",
        ),
        Opt::new(
            "levels",
            OptType::Durations(86_400_000, 36_600 * 86_400_000),
            "",
            "the same for conversations with a member of a level, if it is later; the longest of them counts",
        ),
    ],
    provides: &[RoleName::Archive],
    claims: &[Claim {
        thing: "the database",
        key: &[ClaimKey::Option("uri"), ClaimKey::Option("database")],
    }],
    limits: &[
        Limit {
            what: "records in memory",
            bound: "`batch`, or 1 MiB, and their rows of timelines",
            policy: "the rest waits in the log",
        },
        Limit {
            what: "while MongoDB is away",
            bound: "the log",
            policy: "it is read on from the copy's position when MongoDB is back",
        },
        Limit {
            what: "members remembered for timelines",
            bound: "those of the log's conversations",
            policy: "as many as `grants` holds",
        },
        Limit {
            what: "senders told at one attempt",
            bound: "10,000",
            policy: "the others at the next",
        },
        Limit {
            what: "messages moved to the archive at once",
            bound: "500",
            policy: "further ones when nothing waits to be copied",
        },
        Limit {
            what: "documents that an erasure looks at in one step",
            bound: "2,000 ids of one collection; every collection of messages is looked through",
            policy: "further steps when nothing waits to be copied; how far it is stands in `imflow_erasures`",
        },
        Limit {
            what: "conversations of a timeline in one question, and questions at a time",
            bound: "100, and 4",
            policy: "further ones after these",
        },
        Limit {
            what: "messages of an export in one page",
            bound: "200, or 512 KiB",
            policy: "the control API asks for the next",
        },
    ],
    script: Some(&copies::SCRIPT),
    example: "[sinks.archive]\n\
              kind = \"mongo\"\n\
              of = \"store\"\n\
              inputs = [\"store.committed\"]\n\
              uri = \"${MONGO_URI:-mongodb://127.0.0.1:27017/}\"\n",
    ..Description::EMPTY
};

/// The kind `mongo`; without the feature it is only described.
#[cfg(not(feature = "mongo"))]
pub fn kind() -> Kind {
    Kind::missing(&DESCRIPTION, "mongo")
}

/// The kind `mongo`.
#[cfg(feature = "mongo")]
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, build).simulated_by(crate::follower::simulated::archive())
}

#[cfg(feature = "mongo")]
fn build(
    context: &imflow_kind::IoContext,
) -> Result<Box<dyn imflow_kind::Sink>, imflow_kind::StartError> {
    use imflow_engines::mongo::{Mongo, MongoArchive, Settings};
    use std::sync::Arc;
    let options = &context.options;
    let levels = options.durations("levels").iter();
    let days = |name| options.duration(name).as_millis() as i64;
    let settings = Settings {
        uri: options.text("uri").to_owned(),
        database: options.text("database").to_owned(),
        copy: format!("{}/{}", context.node, context.name),
        timeout: options.duration("timeout"),
        writers: options.integer("writers") as usize,
        timeline_members: options.integer("timeline_members") as usize,
        ids_ms: days("ids"),
        hot_ms: days("hot"),
        archive_ms: days("archive"),
        levels: levels.map(|(level, age)| (level.clone(), age.as_millis() as i64)).collect(),
    };
    let archive = MongoArchive::new(settings.clone()).map_err(imflow_kind::StartError::new)?;
    context.roles.offer(&context.name, Arc::new(archive) as Arc<dyn imflow_kind::Archive>);
    let replica = Mongo::new(settings).map_err(imflow_kind::StartError::new)?;
    Ok(Box::new(crate::follower::threaded::Threaded::new(context, Box::new(replica), true)))
}
