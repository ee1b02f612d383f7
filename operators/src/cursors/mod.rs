//! How far each device and user has come in each conversation: cursors that only go forward.
//!
//! ```text
//! marks -> [ledger: what is known, what waits, what is on its way] -> moves -> (log) -> moved
//!      `-> [watch: sessions that confirm] --- nobody confirmed in time --> nudges
//! ```
//! A cursor counts once the log has it: what is known is a fold of the log, and a mark is compared with it,
//! so a cursor never goes back beyond what anybody was told. Whether a caller may mark was decided before
//! (`permission`), and how far a mark can mean (`sequence`).

mod ledger;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Out, Port, Snapshot,
    StartError, State, Time,
};
use imflow_proto::record::{Mark, MarkKind, Moved};
use imflow_proto::{Fingerprint, Record, RecordType};

use ledger::Ledger;
use watch::Watch;

/// `marks: Mark`, `moved: Moved`, `messages: Committed` → `moves: Moves`, `nudges: Nudge`
///
/// Errors: none. Source: SPEC M8.
pub const DESCRIPTION: Description = Description {
    name: "cursors",
    family: Family::Operator,
    summary: "keeps how far devices have received and users have read, and reminds devices that do not confirm",
    doc: "A `read` is logged at once and answered when it is durable; those of a conversation that come meanwhile go \
          together in its next record. A `delivered` is answered at once and logged within `merge`, with all others of \
          its conversation; what a crash forgets of these is delivered again by `resume`.\n\n\
          From its first `delivered` in a conversation on, a session is expected to confirm what follows there. When it \
          has not within `confirm_within`, it is sent a `notify` with the last seq, up to `notifies` times, each after \
          twice the time; so it learns of a lost last push. A session that never confirms is never reminded.",
    key: Key::Conversation,
    state: State::Log,
    inputs: &[
        Port::of("marks", &[RecordType::Mark], "marks of members, held to what is durable").pays(),
        Port::of("moved", &[RecordType::Moved], "the moves that the log has made durable")
            .feedback(),
        Port::of(
            "messages",
            &[RecordType::Committed],
            "durable messages, which are to be confirmed",
        )
        .optional()
        .feedback()
        .observes(),
    ],
    outputs: &[
        Port::of("moves", &[RecordType::Moves], "moves for the log"),
        Port::of("nudges", &[RecordType::Nudge], "reminders for sessions"),
    ],
    options: &[
        Opt::new(
            "merge",
            OptType::Duration(0, 60_000),
            "1s",
            "how long a `delivered` may wait for others before it is logged",
        ),
        Opt::new(
            "confirm_within",
            OptType::Duration(100, 3_600_000),
            "5s",
            "how long a session has to confirm a message before it is reminded",
        ),
        Opt::new("notifies", OptType::Integer(0, 20), "5", "how often a session is reminded"),
        Opt::new(
            "watched",
            OptType::Integer(0, 10_000_000),
            "100000",
            "sessions that are reminded, counted by conversation, for each worker",
        ),
    ],
    limits: &[
        Limit {
            what: "cursors",
            bound: "members that ever marked, 16 devices each",
            policy: "the device that is furthest behind is forgotten",
        },
        Limit {
            what: "marks waiting to be logged",
            bound: "`merge`, 65,536 for each worker",
            policy: "logged at once",
        },
        Limit {
            what: "records of a conversation on their way to the log",
            bound: "1, of 1,000 members",
            policy: "further marks wait for the next one",
        },
        Limit {
            what: "sessions that are reminded",
            bound: "`watched`, 1,000 a conversation",
            policy: "further ones are not reminded",
        },
        Limit {
            what: "reminders of a session in a conversation",
            bound: "`notifies`",
            policy: "none until it confirms again, or reconnects",
        },
    ],
    example: "[operators.cursors]\n\
              kind = \"cursors\"\n\
              inputs = { marks = [\"ordered.marks\"], moved = [\"store.moved\"], messages = [\"store.committed\"] }\n\
              merge = \"1s\"\n",
    ..Description::EMPTY
};

const MOVES: usize = 0;
const NUDGES: usize = 1;

pub(crate) struct Cursors {
    ledger: Ledger,
    watch: Watch,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let options = context.options;
    let watch = Watch::new(
        options.duration("confirm_within").as_millis() as u64,
        options.integer("notifies") as u32,
        options.integer("watched") as usize,
    );
    let merge_ms = options.duration("merge").as_millis() as u64;
    Ok(Box::new(Cursors { ledger: Ledger::new(merge_ms, context.partitions), watch }))
}

impl Operator for Cursors {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            match record {
                Record::Committed(committed) => self.watch.message(&committed, now),
                Record::Mark(mark) => self.mark(&mark, now, out),
                Record::Moved(moved) => self.ledger.logged(&moved.moves, out.port(MOVES)),
                record => crate::misrouted("cursors", &record),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        [self.ledger.next_deadline(), self.watch.next_deadline()].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        self.ledger.on_time(now, out.port(MOVES));
        self.watch.on_time(now, out.port(NUDGES));
    }

    fn apply_moved(&mut self, moved: &Moved) {
        self.ledger.learn(&moved.moves);
    }

    fn export(&self, partition: u32) -> Option<Snapshot> {
        Some(self.ledger.export(partition))
    }

    fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        self.ledger.import(partition, snapshot)
    }
}

impl Cursors {
    fn mark(&mut self, mark: &Arc<Mark>, now: Time, out: &mut Out) {
        if mark.kind == MarkKind::Delivered {
            self.watch.confirmed(Fingerprint::of(&mark.conversation_id), mark, now);
        }
        self.ledger.mark(mark, now, out.port(MOVES));
    }
}
