//! Sink `redis`: ids of messages in Redis, and look-ups of them for `dedup`; the latest messages for a `reader`.
//!
//! Written behind the log as every copy is ([`crate::follower`]). A look-up asks Redis first; only the log
//! decides. See [`lookups`].

#[cfg(feature = "redis")]
mod lookups;

use imflow_kind::{
    Claim, ClaimKey, Description, Family, Key, Kind, Limit, Opt, OptType, Port, RoleName, State,
};
use imflow_proto::RecordType;

use crate::copies;

/// `committed: Committed`, `lookups: Lookup` → `found: Found`, `unknown: Lookup`
///
/// Source: SPEC M2, M6.
pub static DESCRIPTION: Description = Description {
    name: "redis",
    family: Family::Sink,
    summary: "keeps ids of messages and the latest messages in Redis, and answers look-ups of them",
    doc: "Writes `PREFIXidempotent:SHARD:CLIENTMSGID` for each message of the log, whatever lies on the wire, behind it (`NX`, for `ttl`), and its own position \
          beside it; so a Redis that was away, or emptied, is filled again from the log.\n\n\
          A look-up of `dedup` asks Redis for the place of the message and the log for the message there: only if it is the one that is looked for, \
          the look-up is answered on `found`. Everything else leaves on `unknown`, to be wired to the `lookups` of the log: ids that Redis does not know, \
          another conversation's or sender's, and all of them while Redis does not answer within `wait` (counted, and told in the service's log). So a wrong Redis costs time and never an answer.\n\n\
          `PREFIXlatest:CONVERSATION` is a sorted set of the `latest` messages of a conversation by seq, in JSON. A `reader` whose `cache` names this sink \
          takes from it what `keep` has removed from the log, where the set has all of it.",
    key: Key::Conversation,
    state: State::None,
    inputs: &[
        Port::of("committed", &[RecordType::Committed], "says that there are ids to write")
            .observes(),
        Port::of("lookups", &[RecordType::Lookup], "messages whose id may be known").pays(),
    ],
    outputs: &[
        Port::of("found", &[RecordType::Found], "messages that were committed before"),
        Port::of("unknown", &[RecordType::Lookup], "those that only the log's index can tell of"),
    ],
    options: &[
        Opt::required(
            "uri",
            OptType::Text,
            "`redis://HOST:PORT/DATABASE`; from a variable when it holds a password",
        ),
        copies::OF,
        Opt::new("prefix", OptType::Text, "core:", "before every key; empty gives the bare names"),
        Opt::new(
            "shards",
            OptType::Integer(1, 65_536),
            "64",
            "the ids are spread over so many, by hash",
        ),
        Opt::new(
            "ttl",
            OptType::Duration(60_000, 366 * 86_400_000),
            "7d",
            "how long an id is kept",
        ),
        Opt::new(
            "latest",
            OptType::Integer(0, 1_000),
            "100",
            "messages kept of each conversation; 0: none",
        ),
        Opt::new(
            "latest_ttl",
            OptType::Duration(60_000, 366 * 86_400_000),
            "7d",
            "how long they are kept after the last of them was made",
        ),
        Opt::new(
            "wait",
            OptType::Duration(1, 10_000),
            "50ms",
            "how long a look-up or a reader waits for Redis",
        ),
        copies::BATCH,
        copies::WINDOW,
        copies::retries("attempts after the first, before an error is told"),
        copies::PAUSE,
        Opt::new(
            "timeout",
            OptType::Duration(100, 60_000),
            "2s",
            "how long Redis is waited for when it is written to",
        ),
    ],
    claims: &[Claim {
        thing: "the keys of this prefix",
        key: &[ClaimKey::Option("uri"), ClaimKey::Option("prefix")],
    }],
    limits: &[
        Limit {
            what: "records in memory",
            bound: "`batch`, or 1 MiB",
            policy: "the rest waits in the log",
        },
        Limit {
            what: "batches of look-ups waiting",
            bound: "1,024",
            policy: "the log's index is asked at once",
        },
        Limit {
            what: "after a look-up that Redis did not answer",
            bound: "1 s",
            policy: "Redis is not asked; the log's index is",
        },
        Limit {
            what: "a message among the latest",
            bound: "16 KiB of JSON",
            policy: "not kept there: the reader asks its `archive`",
        },
        Limit {
            what: "an erasure",
            bound: "the set of a conversation; of a user all sets, 1,000 keys at a time",
            policy: "what follows waits for it; the sets fill again with what comes, and ids stay for their `ttl`",
        },
    ],
    provides: &[RoleName::Latest],
    script: Some(&copies::SCRIPT),
    example: "[sinks.ids]\n\
              kind = \"redis\"\n\
              of = \"store\"\n\
              inputs = { committed = [\"store.committed\"], lookups = [\"fresh.lookups\"] }\n\
              uri = \"${REDIS_URI:-redis://127.0.0.1:6379/0}\"\n\
              \n\
              [sinks.store]\n\
              kind = \"log\"\n\
              inputs = { records = [\"ordered\", \"allowed.facts\"], lookups = [\"ids.unknown\"], references = [\"amended.references\"] }\n\
              \n\
              [operators.fresh]\n\
              kind = \"dedup\"\n\
              inputs = { messages = [\"valid\"], outcomes = [\"allowed.denied\", \"store.committed\"], answers = [\"ids\", \"store.found\"] }\n",
    ..Description::EMPTY
};

/// The kind `redis`; without the feature it is only described.
#[cfg(not(feature = "redis"))]
pub fn kind() -> Kind {
    Kind::missing(&DESCRIPTION, "redis")
}

/// The kind `redis`. In virtual time Redis knows no id, and has the latest messages.
#[cfg(feature = "redis")]
pub fn kind() -> Kind {
    use crate::follower::simulated::{Passes, latest};
    let passes = Passes { input: LOOKUPS, output: UNKNOWN };
    Kind::sink(&DESCRIPTION, live::build).simulated_by(latest(passes))
}

#[cfg(feature = "redis")]
const LOOKUPS: usize = 1;
#[cfg(feature = "redis")]
const FOUND: usize = 0;
#[cfg(feature = "redis")]
const UNKNOWN: usize = 1;

#[cfg(feature = "redis")]
mod live {
    use std::sync::Arc;

    use imflow_engines::redis::{Redis, RedisLatest, Settings};
    use imflow_kind::{Injector, Intake, IoContext, Latest, Sink, StartError, Time};
    use imflow_proto::Record;

    use super::LOOKUPS;
    use super::lookups::{Asking, Queue};
    use crate::follower::threaded::Threaded;

    pub(super) fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
        let options = &context.options;
        let settings = |timeout| Settings {
            uri: options.text("uri").to_owned(),
            prefix: options.text("prefix").to_owned(),
            copy: format!("{}/{}", context.node, context.name),
            timeout: options.duration(timeout),
            shards: options.integer("shards") as u32,
            ttl: options.duration("ttl"),
            latest: options.integer("latest") as usize,
            latest_ttl: options.duration("latest_ttl"),
        };
        let redis = |timeout| Redis::new(settings(timeout)).map_err(StartError::new);
        let latest = RedisLatest::new(settings("wait")).map_err(StartError::new)?;
        context.roles.offer(&context.name, Arc::new(latest) as Arc<dyn Latest>);
        let copy = Threaded::new(context, Box::new(redis("timeout")?), false);
        Ok(Box::new(Live { copy, asking: Asking::new(context, Box::new(redis("wait")?)) }))
    }

    /// Writes on one thread, looks up on another.
    struct Live {
        copy: Threaded,
        asking: Asking,
    }

    impl Sink for Live {
        fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
            let (wake, queue) = (self.copy.intake(worker), self.asking.queue());
            Box::new(LiveIntake { worker, wake, queue })
        }

        fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
            self.asking.start(Arc::clone(&injector))?;
            self.copy.start(injector)
        }

        fn stop(&mut self) {
            self.asking.stop();
            self.copy.stop();
        }
    }

    struct LiveIntake {
        worker: usize,
        wake: Box<dyn Intake>,
        queue: Queue,
    }

    impl Intake for LiveIntake {
        fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>) {
            match port {
                LOOKUPS => self.queue.ask(self.worker, std::mem::take(records)),
                _ => self.wake.on_batch(now, port, records),
            }
        }
    }
}
