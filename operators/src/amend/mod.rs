//! Judges what refers to an earlier message: revokes, edits, reactions, replies, forwards.
//!
//! ```text
//! messages -> refers to one? --no--> judged
//!                 |yes
//!             references -> (store) -> referents -> verdict -> judged
//!                         meanwhile the sender's later messages queue behind it
//! ```
//!
//! A verdict is written on the message and speaks in `permission`, which knows the sender's role and first asks
//! whether the sender may speak at all: so who is no member learns nothing of what stands in a conversation.
//! Order within (conversation, sender) is kept. What stands where is for the store; it arrives over
//! declared feedback.

mod judge;

use std::collections::VecDeque;
use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Out, Port,
    StartError, State, Time,
};
use imflow_proto::record::{Referent, Submission, Verdict};
use imflow_proto::wire::{Error, ErrorCode};
use imflow_proto::{Fingerprint, FingerprintMap, Record, RecordType};

use judge::Judge;

/// `messages: Submission`, `referents: Referent` → `judged: Submission`, `references: Reference`
///
/// Errors (told by `permission`): UNKNOWN_MESSAGE, MESSAGE_REVOKED, TOO_LATE, FORBIDDEN, INVALID, TOO_LARGE, BUSY,
/// TIMEOUT, and those of the store. Source: SPEC M9.
pub const DESCRIPTION: Description = Description {
    name: "amend",
    family: Family::Operator,
    summary: "judges revokes, edits, reactions, replies and forwards by the message that they refer to",
    doc: "Asks the store for the message that is referred to, and writes on the message what it needs to pass \
          `permission`: that the target is there, is no action itself and was not revoked; that a revoke comes from \
          its sender within `revoke_within`, or from an ADMIN or OWNER; that an edit comes from its sender within \
          `edit_within`; that mentionAll comes from those who may. A forward gets the type, text and payload of its \
          source, as they read now, if its sender is a member there.\n\nMessages that refer to nothing pass at once, \
          but never before an earlier one of their sender. Without a node of this kind on the path, `permission` refuses \
          what refers to anything.",
    key: Key::Conversation,
    state: State::Volatile,
    inputs: &[
        Port::of("messages", &[RecordType::Submission], "messages seen for the first time"),
        Port::of("referents", &[RecordType::Referent], "what the store found at `references`")
            .feedback(),
    ],
    outputs: &[
        Port::of("judged", &[RecordType::Submission], "the same messages, for `permission`"),
        Port::of(
            "references",
            &[RecordType::Reference],
            "messages whose target only the store knows",
        ),
    ],
    options: &[
        Opt::new(
            "revoke_within",
            OptType::Duration(0, 366 * 86_400_000),
            "2m",
            "how long senders can revoke; an ADMIN or OWNER can at any time",
        ),
        Opt::new(
            "edit_within",
            OptType::Duration(0, 366 * 86_400_000),
            "15m",
            "how long senders can edit",
        ),
        Opt::new("max_edits", OptType::Integer(0, 10_000), "100", "edits of one message"),
        Opt::new(
            "max_reactions",
            OptType::Integer(0, 10_000),
            "2000",
            "reactions to one message, those that were removed again included",
        ),
        Opt::new(
            "mention_all",
            OptType::Choice(&["MEMBER", "ADMIN", "OWNER"]),
            "ADMIN",
            "the least role that may mention all",
        ),
        Opt::new(
            "timeout",
            OptType::Duration(10, 60_000),
            "5s",
            "how long the store may take; then the message is answered TIMEOUT",
        ),
    ],
    limits: &[
        Limit { what: "messages that wait for the store", bound: "credit, 65,536", policy: "BUSY" },
        Limit {
            what: "messages behind one of their sender",
            bound: "credit, 1,024",
            policy: "BUSY",
        },
        Limit { what: "a wait for the store", bound: "`timeout`", policy: "TIMEOUT" },
        Limit {
            what: "edits and reactions of a message",
            bound: "`max_edits`, `max_reactions`",
            policy: "TOO_LARGE; reactions can be removed up to twice as many",
        },
    ],
    example: "[operators.amended]\n\
              kind = \"amend\"\n\
              inputs = { messages = [\"fresh\"], referents = [\"store.referents\"] }\n\
              revoke_within = \"1h\"\n",
    ..Description::EMPTY
};

const MESSAGES: usize = 0;
const JUDGED: usize = 0;
const REFERENCES: usize = 1;

/// Messages that wait for the store.
const MAX_PARKED: usize = 65_536;
/// Messages behind one that waits.
const MAX_BEHIND: usize = 1_024;

pub(crate) struct Amend {
    judge: Judge,
    timeout_ms: u64,
    /// By (conversation, sender), the message that waits and those behind it.
    parked: FingerprintMap<Parked>,
    /// When whose wait ends, in this order, as all waits are equally long.
    ends: VecDeque<(Time, Fingerprint)>,
}

struct Parked {
    asked: Arc<Submission>,
    end: Time,
    behind: VecDeque<Arc<Submission>>,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let timeout_ms = context.options.duration("timeout").as_millis() as u64;
    Ok(Box::new(Amend::new(Judge::of(context.options), timeout_ms)))
}

impl Operator for Amend {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        if port == MESSAGES && self.parked.is_empty() && records.iter().all(leans_on_nothing) {
            return out.port(JUDGED).append(records);
        }
        for record in records.drain(..) {
            match record {
                Record::Submission(submission) => self.arrive(submission, now, out),
                Record::Referent(referent) => self.answer(&referent, now, out),
                record => crate::misrouted("amend", &record),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.ends.front().map(|(end, _)| *end)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        while let Some((_, sender)) = self.ends.front().copied().filter(|(end, _)| *end <= now) {
            self.ends.pop_front();
            if self.parked.get(&sender).is_some_and(|parked| parked.end <= now)
                && let Some(parked) = self.parked.remove(&sender)
            {
                judged(out, parked.asked, Verdict::Fault(timeout()));
                self.go_on(sender, parked.behind, now, out);
            }
        }
    }
}

fn leans_on_nothing(record: &Record) -> bool {
    matches!(record, Record::Submission(submission) if submission.reference.is_none())
}

impl Amend {
    fn new(judge: Judge, timeout_ms: u64) -> Self {
        let (parked, ends) = (FingerprintMap::default(), VecDeque::new());
        Self { judge, timeout_ms, parked, ends }
    }

    /// A message comes in: behind its sender's queue if there is one.
    fn arrive(&mut self, submission: Arc<Submission>, now: Time, out: &mut Out) {
        let sender = submission.keys.member;
        match self.parked.get_mut(&sender) {
            Some(parked) if parked.behind.len() < MAX_BEHIND => {
                parked.behind.push_back(submission);
            }
            Some(_) => judged(out, submission, Verdict::Fault(busy())),
            None => self.begin(submission, now, out),
        }
    }

    /// Nothing is before this message: it passes, or waits for the store.
    fn begin(&mut self, submission: Arc<Submission>, now: Time, out: &mut Out) {
        if submission.reference.is_none() {
            return out.send(JUDGED, Record::Submission(submission));
        }
        if submission.refers_to().is_none() {
            let verdict = self.judge.alone(&submission);
            return judged(out, submission, verdict);
        }
        if self.parked.len() >= MAX_PARKED {
            return judged(out, submission, Verdict::Fault(busy()));
        }
        out.send(REFERENCES, Record::Reference(Arc::clone(&submission)));
        let (sender, end) = (submission.keys.member, now.after_ms(self.timeout_ms));
        self.ends.push_back((end, sender));
        self.parked.insert(sender, Parked { asked: submission, end, behind: VecDeque::new() });
    }

    /// The store has answered: the message that waited goes on, then those behind it, in order.
    fn answer(&mut self, referent: &Referent, now: Time, out: &mut Out) {
        let sender = referent.submission.keys.member;
        let is_awaited = |parked: &&mut Parked| Arc::ptr_eq(&parked.asked, &referent.submission);
        if self.parked.get_mut(&sender).filter(is_awaited).is_none() {
            return; // it came too late
        }
        let Some(Parked { asked, behind, .. }) = self.parked.remove(&sender) else { return };
        let mut submission = Arc::unwrap_or_clone(asked);
        let verdict = self.judge.rule(&mut submission, &referent.target, now.ms() as i64);
        judged(out, Arc::new(submission), verdict);
        self.go_on(sender, behind, now, out);
    }

    fn go_on(
        &mut self,
        sender: Fingerprint,
        mut behind: VecDeque<Arc<Submission>>,
        now: Time,
        out: &mut Out,
    ) {
        while let Some(next) = behind.pop_front() {
            self.begin(next, now, out);
            if let Some(parked) = self.parked.get_mut(&sender) {
                parked.behind = behind;
                break;
            }
        }
        // Waits that ended early leave their ends behind; these go when nothing waits any more.
        if self.parked.is_empty() {
            self.ends.clear();
        }
    }
}

/// Sends a message on, with the verdict.
fn judged(out: &mut Out, mut submission: Arc<Submission>, verdict: Verdict) {
    Arc::make_mut(&mut submission).decide(verdict);
    out.send(JUDGED, Record::Submission(submission));
}

fn busy() -> Error {
    Error::of(
        ErrorCode::Busy,
        "too many messages wait for the store, which looks up what they refer to; send again in a moment",
    )
    .retry_after(1_000)
}

fn timeout() -> Error {
    Error::of(
        ErrorCode::Timeout,
        "the store did not find in time what this refers to; nothing was stored; send it again later",
    )
}

#[cfg(test)]
mod tests;
