//! Lets each message through once; a repeat gets the first one's answer.
//!
//! ```text
//! messages -> in flight? --yes--> waits for the outcome
//!                |no
//!             remembered? --new--> fresh          --repeat--> repeated (ack, or CONFLICT)
//!                |unsure
//!             lookups -> (index) -> answers       meanwhile the sender's later messages queue behind it
//! ```
//!
//! What counts is what is committed: a refused message leaves no trace. Order within (conversation, sender)
//! is kept. How outcomes and answers come to be is for others; they arrive over declared feedback.

mod in_flight;
mod marks;
mod memory;
mod original;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Out, Port, Snapshot,
    StartError, State, Time,
};
use imflow_proto::record::{Committed, Found, Refused, Reply, Submission};
use imflow_proto::wire::{Error, ErrorCode, Message, envelope::Body};
use imflow_proto::{Content, FingerprintMap, Record, RecordType};

use in_flight::{InFlight, Joined, MAX_WAITING};
use memory::{Memory, Recall};
use original::Original;

/// `messages: Submission` → `fresh: Submission`, `repeated: Reply`, `lookups: Lookup`
///
/// Errors: CONFLICT, BUSY, and INTERNAL of the index (as replies on `repeated`). Source: SPEC M2.
pub const DESCRIPTION: Description = Description {
    name: "dedup",
    family: Family::Operator,
    summary: "lets each message through once; a repeat gets the first one's answer",
    doc: "A message is known by (conversation, sender, clientMsgId). A repeat with the same content gets the first \
          one's ack and never makes a second message; the same id with other content is a CONFLICT. A repeat of a \
          message still in flight waits for its outcome. An id in the standard form carries a counter: above the \
          highest committed one of its device it is new without any look-up. Otherwise a window of recent ids \
          answers, then the index behind `lookups`.",
    key: Key::Conversation,
    state: State::Log,
    inputs: &[
        Port::of("messages", &[RecordType::Submission], "well-formed messages"),
        Port::of(
            "outcomes",
            &[RecordType::Rejection, RecordType::Committed],
            "what became of the fresh ones",
        )
        .feedback()
        .observes(),
        Port::of("answers", &[RecordType::Found], "what the index knows of the ids in `lookups`")
            .feedback(),
    ],
    outputs: &[
        Port::of("fresh", &[RecordType::Submission], "messages seen for the first time"),
        Port::of("repeated", &[RecordType::Reply], "answers to repeats"),
        Port::of("lookups", &[RecordType::Lookup], "messages whose id only the index may know"),
    ],
    options: &[
        Opt::new(
            "retain",
            OptType::Duration(1_000, 366 * 86_400_000),
            "7d",
            "how long an id is taken; then it is free again",
        ),
        Opt::new(
            "window",
            OptType::Integer(2, 100_000_000),
            "100000",
            "recent ids kept in memory, per worker: at least half of these",
        ),
        Opt::new(
            "marks",
            OptType::Integer(1, 100_000_000),
            "1000000",
            "device counters kept in memory, per process",
        ),
    ],
    provides: &[],
    limits: &[
        Limit {
            what: "ids in memory",
            bound: "`window`",
            policy: "the older half is forgotten; the index is asked instead",
        },
        Limit {
            what: "device counters",
            bound: "`marks`",
            policy: "the oldest is forgotten; the index is asked instead",
        },
        Limit { what: "messages in flight", bound: "credit, 65,536", policy: "BUSY" },
        Limit { what: "waiting repeats of a message", bound: "credit, 1,024", policy: "BUSY" },
        Limit {
            what: "messages behind a look-up of their sender",
            bound: "credit, 1,024",
            policy: "BUSY",
        },
    ],
    example: "[operators.fresh]\n\
              kind = \"dedup\"\n\
              inputs = { messages = [\"valid\"], outcomes = [\"allowed.denied\", \"store.committed\"], answers = [\"store.found\"] }\n\
              retain = \"30d\"\n",
    also: &["dedupe", "deduplicate"],
    ..Description::EMPTY
};

const MESSAGES: usize = 0;
const OUTCOMES: usize = 1;
const FRESH: usize = 0;
const REPEATED: usize = 1;
const LOOKUPS: usize = 2;

pub(crate) struct Dedup {
    memory: Memory,
    in_flight: InFlight,
    /// By (conversation, sender) whose first message is being looked up: those behind it.
    queues: FingerprintMap<VecDeque<Arc<Submission>>>,
}

/// Whether a message's fate is known, or the index must be asked.
#[derive(PartialEq)]
enum Fate {
    Decided,
    Parked,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let options = context.options;
    let retain_ms = options.duration("retain").as_millis() as i64;
    let (window, marks) = (options.integer("window") as usize, options.integer("marks") as usize);
    Ok(Box::new(Dedup::new(Memory::new(retain_ms, window, marks, context.partitions))))
}

impl Operator for Dedup {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        let now_ms = now.ms() as i64;
        for record in &*records {
            if let Record::Submission(submission) = record {
                self.memory.warm(&submission.keys);
            }
        }
        for record in records.drain(..) {
            match (port, record) {
                (MESSAGES, Record::Submission(submission)) => self.arrive(submission, now_ms, out),
                (OUTCOMES, Record::Committed(committed)) => self.settle(&committed, out),
                (OUTCOMES, Record::Rejection(rejection)) => {
                    if let Refused::Submission(submission) = &rejection.refused {
                        self.release(submission, now_ms, out);
                    }
                }
                (_, Record::Found(found)) => self.answer(&found, now_ms, out),
                (_, record) => crate::misrouted("dedup", &record),
            }
        }
    }

    fn apply(&mut self, committed: &Committed) {
        self.memory.remember(committed);
    }

    fn export(&self, partition: u32) -> Option<Snapshot> {
        Some(self.memory.export(partition))
    }

    fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        self.memory.import(partition, snapshot)
    }
}

impl Dedup {
    fn new(memory: Memory) -> Self {
        Self { memory, in_flight: InFlight::default(), queues: FingerprintMap::default() }
    }

    /// A message comes in: behind its sender's queue if there is one, else it is judged.
    fn arrive(&mut self, submission: Arc<Submission>, now_ms: i64, out: &mut Out) {
        let sender = submission.keys.member;
        if !self.queues.is_empty()
            && let Some(queue) = self.queues.get_mut(&sender)
        {
            match queue.len() < MAX_WAITING {
                true => queue.push_back(submission),
                false => reply(out, &submission, Body::Error(busy())),
            }
        } else if self.judge(submission, now_ms, out) == Fate::Parked {
            self.queues.insert(sender, VecDeque::new());
        }
    }

    /// Decides on a submission.
    fn judge(&mut self, submission: Arc<Submission>, now_ms: i64, out: &mut Out) -> Fate {
        match self.in_flight.join(submission) {
            Joined::Waits => {}
            Joined::Conflict(submission) => reply(out, &submission, Body::Error(conflict())),
            Joined::Full(submission) => reply(out, &submission, Body::Error(busy())),
            Joined::Alone(submission) => match self.memory.recall(&submission.keys, now_ms) {
                Recall::New => self.forward(submission, now_ms, out),
                Recall::Repeat(original) => repeat(out, &submission, &original),
                Recall::Unsure => {
                    out.send(LOOKUPS, Record::Lookup(submission));
                    return Fate::Parked;
                }
            },
        }
        Fate::Decided
    }

    fn forward(&mut self, submission: Arc<Submission>, now_ms: i64, out: &mut Out) {
        match self.in_flight.begin(&submission.keys, now_ms) {
            true => out.send(FRESH, Record::Submission(submission)),
            false => reply(out, &submission, Body::Error(busy())),
        }
    }

    /// A message is durable: those that repeated it meanwhile get its ack.
    fn settle(&mut self, committed: &Committed, out: &mut Out) {
        for waiting in self.in_flight.committed(committed.keys.message) {
            reply(out, &waiting, Body::Ack(committed.ack()));
        }
    }

    /// A message was refused: the first that repeated it is tried in its place.
    fn release(&mut self, refused: &Submission, now_ms: i64, out: &mut Out) {
        if let Some(next) = self.in_flight.refused(&refused.keys, now_ms) {
            out.send(FRESH, Record::Submission(next));
        }
    }

    /// The index has answered: the parked message is decided, then those behind it, in order.
    fn answer(&mut self, found: &Found, now_ms: i64, out: &mut Out) {
        let submission = &found.submission;
        let sender = submission.keys.member;
        let Some(mut queue) = self.queues.remove(&sender) else {
            return; // answered before: an index may repeat itself
        };
        let kept = |message: &Arc<Message>| {
            let original = Original::of(message, Content::of(message).hash());
            self.memory.is_kept(&original, now_ms).then_some(original)
        };
        match found.original.as_ref().map(|original| original.as_ref().and_then(kept)) {
            Err(error) => reply(out, submission, Body::Error(error.clone())),
            Ok(Some(original)) => repeat(out, submission, &original),
            // Whoever has met TIMEOUT meanwhile will send again; only one of the two may go on.
            Ok(None) if submission.ticket.is_answered() => {}
            Ok(None) => self.forward(Arc::clone(submission), now_ms, out),
        }
        while let Some(next) = queue.pop_front() {
            if !next.ticket.is_answered() && self.judge(next, now_ms, out) == Fate::Parked {
                self.queues.insert(sender, queue);
                return;
            }
        }
    }
}

fn repeat(out: &mut Out, submission: &Submission, original: &Original) {
    // Of what was erased nobody can tell any more whether this is the same.
    let body = if [submission.keys.content, Content::ERASED].contains(&original.content) {
        Body::Ack(original.ack())
    } else {
        Body::Error(conflict())
    };
    reply(out, submission, body);
}

fn reply(out: &mut Out, submission: &Submission, body: Body) {
    out.send(REPEATED, Record::Reply(Arc::new(Reply { ticket: submission.ticket.clone(), body })));
}

fn conflict() -> Error {
    Error::of(
        ErrorCode::Conflict,
        "this clientMsgId was used for another content; send the new content under an id of its own",
    )
}

fn busy() -> Error {
    Error::of(
        ErrorCode::Busy,
        "too many messages of this sender wait in this conversation; send again in a moment",
    )
    .retry_after(1_000)
}

#[cfg(test)]
mod tests;
