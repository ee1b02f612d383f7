//! Sink `log`: makes messages and facts durable, and finds them again.
//!
//! ```text
//! worker -> intake -> committer -> (disk) -> completions -> worker
//!                         `-> indexer -> ingester           lookups, references -> worker
//! ```
//! [`threaded`] runs these on threads of their own, [`stepped`] (for simulated runs) on the caller's.
//! The log is the truth: what leaves the port `committed` is on disk, everything else is rebuilt from
//! it. Recovery runs while the kind is built, so that its errors show before anything listens.

mod base;
mod commit_thread;
mod committer;
mod completions;
mod erase;
mod error;
mod export;
mod files;
mod frame;
mod index;
mod journal;
mod lookups;
mod meta;
mod meters;
pub mod offline;
mod parts;
mod progress;
mod recover;
mod references;
mod scan;
mod segments;
mod snapshots;
mod space;
mod stepped;
mod tail;
#[cfg(test)]
mod tests;
mod threaded;

use std::sync::Arc;

use imflow_kind::{
    Claim, ClaimKey, Description, Form, IoContext, Key, Kind, Limit, Opt, OptType, Port, RoleName,
    Sink, StartError, State,
};
use imflow_proto::RecordType;
use imflow_proto::record::MAX_FACT_BYTES;

#[cfg(any(feature = "mongo", feature = "redis", feature = "search", test))]
pub(crate) use erase::Targets;
pub use error::LogError;
pub use index::{Index, Lag};

use files::{Disk, Lock, Memory};
use index::{FjallFolder, MemoryTables, Policy, Reopening};
use parts::Storage;
use stepped::SteppedLog;
use threaded::ThreadedLog;

/// `records: Ordered | Change | Moves`, `lookups: Lookup`, `references: Reference` → `committed: Committed`,
/// `facts: Fact`, `found: Found`, `moved: Moved`, `referents: Referent`
///
/// Source: SPEC M2 to M5, M9.
pub static DESCRIPTION: Description = Description {
    name: "log",
    family: imflow_kind::Family::Sink,
    summary: "makes messages and facts durable in a segment log on the local disk, and indexes them",
    doc: "What waits is committed as one group: one write and one fdatasync into a pre-zeroed segment. A commit starts when \
          the one before has returned, so groups grow with the load and a lone message waits for nobody.\n\n\
          What leaves `committed`, `facts` and `moved` is on disk. The reply to a change of facts leaves when every stage has applied it. \
          `lookups` asks whether a clientMsgId was committed within `retain`; the answer leaves on `found`. \
          `references` asks for the messages that others refer to; they leave on `referents`. What is read shows what later entries \
          made of it: a revoked message has no content, though its bytes stay in the log.\n\n\
          The log lives in `log/` of the data directory, its index in `index/` (deleting it costs a slower start and nothing \
          else), snapshots of the operators' state in `snapshots/`. A damaged record refuses to start and names file and offset; \
          a write that was cut short by a crash is cut off, as nobody was told of it. A failed write or fdatasync ends the process.\n\n\
          With `keep` or `keep_bytes` the oldest segments go, when a segment is full and snapshots cover them. Facts and seqs stay, folded into \
          `log/BASE`; history says up to which seq messages were removed, and a repeat of a removed message is a new one.\n\n\
          With `archive`, segments whose messages are all older than `hot` move to that folder, when a segment is full; a link stays in their place. They are \
          read as before, and `keep` removes them there.",
    key: Key::Conversation,
    state: State::Log,
    inputs: &[
        Port::of(
            "records",
            &[RecordType::Ordered, RecordType::Change, RecordType::Moves],
            "what to make durable",
        )
        .pays(),
        Port::of(
            "lookups",
            &[RecordType::Lookup],
            "submissions whose clientMsgId may have been committed before",
        )
        .optional()
        .pays(),
        Port::of(
            "references",
            &[RecordType::Reference],
            "submissions that refer to a message, to be looked up",
        )
        .optional()
        .pays(),
    ],
    outputs: &[
        Port::of("committed", &[RecordType::Committed], "durable messages"),
        Port::of("facts", &[RecordType::Fact], "durable facts"),
        Port::of("found", &[RecordType::Found], "answers to `lookups`"),
        Port::of("moved", &[RecordType::Moved], "durable moves of cursors"),
        Port::of("referents", &[RecordType::Referent], "answers to `references`"),
    ],
    options: &[
        Opt::new(
            "segment",
            OptType::Size(SMALLEST_SEGMENT, 1 << 30),
            "64MiB",
            "size of a segment of the log",
        ),
        Opt::new(
            "retain",
            OptType::Duration(60_000, 366 * 86_400_000),
            "7d",
            "how long a repeated clientMsgId gets its first answer; older ids leave the index",
        ),
        Opt::new(
            "keep",
            OptType::Duration(0, 36_500 * 86_400_000),
            "0s",
            "how long messages are kept, a whole segment at a time; `0s`: for good",
        ),
        Opt::new(
            "keep_bytes",
            OptType::Size(0, 1 << 50),
            "0B",
            "how large the log may become before its oldest segments go; `0B`: as large as it will",
        ),
        Opt::new(
            "archive",
            OptType::Text,
            "",
            "a folder for segments that are older than `hot`, perhaps on a slower disk, of this log alone; empty: they stay in `log/`",
        ),
        Opt::new(
            "hot",
            OptType::Duration(1_000, 36_500 * 86_400_000),
            "30d",
            "age of its newest message at which a segment moves to `archive`",
        ),
    ],
    provides: &[RoleName::Store, RoleName::Journal],
    claims: &[Claim { thing: "the log of the data directory", key: &[ClaimKey::Fixed("log")] }],
    limits: &[
        Limit {
            what: "records in one commit",
            bound: "1,000, or 4 MiB",
            policy: "the rest goes with the next commit",
        },
        Limit {
            what: "batches waiting for a commit",
            bound: "65,536, and the credit of their commands",
            policy: "no more credit: the gateway stops reading, then answers BUSY",
        },
        Limit {
            what: "commits waiting for the index",
            bound: "64",
            policy: "the next commit waits",
        },
        Limit {
            what: "sealed segments in memory",
            bound: "7",
            policy: "the index waits for the disk",
        },
        Limit {
            what: "room reserved on the disk",
            bound: "32 MiB",
            policy: "below it commands are refused with STORAGE_FULL; reads go on",
        },
        Limit {
            what: "index that refuses writes",
            bound: "one try a second",
            policy: "commands are refused with STORAGE_FULL, reads go on; it is opened anew when 16 MiB can be had",
        },
        Limit {
            what: "size of the log",
            bound: "`keep`, `keep_bytes`",
            policy: "the oldest segments go when one is full and snapshots cover them",
        },
        Limit {
            what: "segments moved to `archive`",
            bound: "2, each time that one is full",
            policy: "the others wait; where they cannot be moved they stay, and an error is told",
        },
        Limit {
            what: "amendments that a page looks at",
            bound: "20,000",
            policy: "the page is closed behind the message with which it is reached",
        },
        Limit {
            what: "entries that `unread` looks at, to leave out edits and the like",
            bound: "20,000 after the read cursor",
            policy: "what follows counts as messages",
        },
        Limit {
            what: "reactions shown of a message",
            bound: "50 emojis, 50 users of each",
            policy: "the first are shown; the count tells all",
        },
        Limit {
            what: "memory of an erasure",
            bound: "a segment, twice",
            policy: "one segment is written anew at a time",
        },
        Limit {
            what: "erasures under way",
            bound: "a row for each user or conversation that was asked for and is not done",
            policy: "one that is asked for again takes the place of the one before",
        },
        Limit {
            what: "a part of an export",
            bound: "4,096 records, or 256 KiB of lines",
            policy: "the next is read when it is asked for",
        },
        Limit {
            what: "open segment files",
            bound: "512",
            policy: "closed, and opened again when read",
        },
    ],
    metrics: meters::METRICS,
    example: "[sinks.store]\n\
              kind = \"log\"\n\
              inputs = { records = [\"ordered\", \"allowed.facts\", \"cursors\"], lookups = [\"fresh.lookups\"], references = [\"amended.references\"] }\n\
              segment = \"256MiB\"\n",
    ..Description::EMPTY
};

/// Every segment takes the longest fact, whatever the file says.
const SMALLEST_SEGMENT: u64 = 1 << 20;
const _: () = assert!(
    MAX_FACT_BYTES + frame::HEAD <= space::Sizes::of_segment(SMALLEST_SEGMENT).longest_record()
);

/// Sealed segments that a simulated log keeps in memory.
const SIMULATED_SEGMENTS: usize = 1;

/// The kind `log`, on the disk.
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, on_disk).simulated_by(Form::Sink(Arc::new(in_memory)))
}

/// The kind `log` with its files in memory: the same code but the disk and the threads. Whatever it is
/// given is committed, indexed and answered on the thread that gives it, before the call returns. It
/// keeps the newest segments and forgets older ones.
pub fn simulated_log() -> Kind {
    Kind::sink(&DESCRIPTION, in_memory).simulated_as_it_is()
}

fn on_disk(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let log = context.data.join("log");
    let files = Arc::new(Disk::open(log.clone())?);
    let lock = Lock::take(&log)?;
    meta::check(&*files, context.partitions)?;
    let snapshots = Arc::new(Disk::open(context.data.join("snapshots"))?);
    let tables = Arc::new(Reopening::open(Box::new(FjallFolder(context.data.join("index"))))?);
    let storage = Storage { files, tables, policy: Policy::Ingest, lock: Some(lock) };
    Ok(Box::new(ThreadedLog::build(context, storage, snapshots)?))
}

fn in_memory(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let storage = Storage {
        files: Arc::new(Memory::default()),
        tables: Arc::new(MemoryTables::default()),
        policy: Policy::Keep(SIMULATED_SEGMENTS),
        lock: None,
    };
    let snapshots = Arc::new(Memory::default());
    Ok(Box::new(SteppedLog::build(context, &storage, snapshots)?))
}
