//! Decides who may speak and who may change what.
//!
//! Messages are checked against the map of effective grants ([`standing`]); commands are ruled on
//! ([`rules`]) one at a time in a conversation: the next one waits until the grants that the present one's
//! fact brings have come back, so that each fact follows from all earlier ones. A later grant never
//! re-emits an earlier message. What facts add up to is for `grants`, making them durable for the log.

mod rules;
mod standing;

use std::collections::VecDeque;
use std::sync::Arc;

use imflow_kind::{
    Description, Duty, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Out, Port,
    StartError, State, Time,
};
use imflow_proto::log::{Fact, fact};
use imflow_proto::record::{
    Ask, Change, Command, GrantChange, MAX_FACT_BYTES, Mark, Query, Refused, Rejection, Submission,
    UNTIL_LIFTED,
};
use imflow_proto::wire::{Error, ErrorCode, Role};
use imflow_proto::{Fingerprint, Record, RecordType};
use prost::Message as _;
use rapidhash::RapidHashMap;

use rules::{Bounds, Case, Ruling};
use standing::Standing;

/// `messages: Submission`, `commands: Command`, `grants: Grant`, `marks: Mark` → `allowed: Submission`,
/// `facts: Change`, `denied: Rejection`, `existing: Query`, `marks: Mark`
///
/// Errors: UNKNOWN_CONVERSATION, NOT_A_MEMBER, MUTED, BANNED, FORBIDDEN, CONFLICT, INVALID, TOO_LARGE, BUSY,
/// UNSUPPORTED, and those of `amend`.
/// Source: SPEC A1.
pub const DESCRIPTION: Description = Description {
    name: "permission",
    family: Family::Operator,
    summary: "decides who may speak, and which commands become facts",
    doc: "A message passes when its conversation exists and its sender is a member, not muted and not banned; the \
          control API's bots need no membership. What refers to an earlier message, or mentions all, must moreover \
          have come through a node of kind `amend`, and is refused for what that found wrong with it. A command (create, change members, mute, ban) becomes a fact when \
          the caller's role allows it; a command that changes nothing is answered at once, and one that creates what \
          exists is shown it, from a reader behind `existing`. Only the OWNER (or the \
          control API) gives the roles ADMIN and OWNER or changes the standing of those who have them; anybody may \
          leave; the members of a one-to-one conversation are fixed. Marks pass of members who are not banned.",
    key: Key::Conversation,
    state: State::Log,
    inputs: &[
        Port::of("messages", &[RecordType::Submission], "messages to be checked"),
        Port::of("commands", &[RecordType::Command], "wishes to change facts").optional(),
        Port::of("grants", &[RecordType::Grant], "effective grants, as they change"),
        Port::of("marks", &[RecordType::Mark], "what devices received and read").optional(),
    ],
    outputs: &[
        Port::of("allowed", &[RecordType::Submission], "messages that may be stored"),
        Port::of("facts", &[RecordType::Change], "facts that were decided, for the log"),
        Port::of("denied", &[RecordType::Rejection], "refused messages, commands and marks"),
        Port::of(
            "existing",
            &[RecordType::Query],
            "conversations that were to be created and exist, for a reader to show",
        ),
        Port::of("marks", &[RecordType::Mark], "marks of members"),
    ],
    options: &[
        Opt::new(
            "max_members",
            OptType::Integer(2, 1_000_000),
            "100000",
            "members of one conversation",
        ),
        Opt::new(
            "max_change",
            OptType::Integer(1, 100_000),
            "1000",
            "members that one command changes",
        ),
    ],
    provides: &[],
    duties: &[Duty::Authorises],
    limits: &[
        Limit {
            what: "grants",
            bound: "the facts",
            policy: "bounded by `max_members` and what the log holds",
        },
        Limit {
            what: "what one command changes",
            bound: "256 KiB in the log",
            policy: "TOO_LARGE",
        },
        Limit {
            what: "commands waiting in a conversation",
            bound: "credit, 1,024",
            policy: "BUSY",
        },
    ],
    example: "[operators.allowed]\n\
              kind = \"permission\"\n\
              inputs = { messages = [\"amended\"], commands = [\"clients.commands\", \"facts.commands\"], grants = [\"grants\"], marks = [\"clients.marks\"] }\n",
    ..Description::EMPTY
};

const MESSAGES: usize = 0;
const ALLOWED: usize = 0;
const FACTS: usize = 1;
const DENIED: usize = 2;
const EXISTING: usize = 3;
const MARKS: usize = 4;
/// Commands of one conversation that wait for the one in flight.
const MAX_WAITING: usize = 1_024;

pub(crate) struct Permission {
    bounds: Bounds,
    standing: Standing,
    /// Conversations with a fact on its way to the log and back.
    in_flight: RapidHashMap<Box<str>, InFlight>,
}

struct InFlight {
    /// Grant changes still to come.
    awaited: usize,
    waiting: VecDeque<Arc<Command>>,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let bounds = Bounds {
        max_members: context.options.integer("max_members") as usize,
        max_change: context.options.integer("max_change") as usize,
    };
    Ok(Box::new(Permission::new(bounds)))
}

impl Operator for Permission {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        let now_ms = now.ms() as i64;
        if port == MESSAGES {
            out.port(ALLOWED).reserve(records.len());
            for record in &*records {
                if let Record::Submission(submission) = record {
                    self.standing.warm(submission.keys.member);
                }
            }
        }
        for record in records.drain(..) {
            match record {
                Record::Submission(submission) => match self.check(&submission, now_ms) {
                    Ok(()) => out.send(ALLOWED, Record::Submission(submission)),
                    Err(error) => deny(out, Refused::Submission(submission), error),
                },
                Record::Command(command) => self.arrive(command, now_ms, out),
                Record::Mark(mark) => match self.check_mark(&mark) {
                    Ok(()) => out.send(MARKS, Record::Mark(mark)),
                    Err(error) => deny(out, Refused::Mark(mark), error),
                },
                Record::Grant(change) => self.learn(&change, now_ms, out),
                record => crate::misrouted("permission", &record),
            }
        }
    }
}

impl Permission {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, standing: Standing::default(), in_flight: RapidHashMap::default() }
    }

    /// Whether a message may be stored.
    #[inline]
    fn check(&self, submission: &Submission, now_ms: i64) -> Result<(), Error> {
        let role = self.speaker(submission, now_ms)?;
        match &submission.reference {
            None => Ok(()),
            Some(reference) => rules::bears(reference, role),
        }
    }

    /// The role in which the sender of a message speaks; the control API's is above all.
    #[inline]
    fn speaker(&self, submission: &Submission, now_ms: i64) -> Result<Role, Error> {
        let (session, keys) = (&*submission.session, &submission.keys);
        if session.scopes.admin {
            return match self.standing.conversation(keys.conversation) {
                Some(_) => Ok(Role::Owner),
                None => Err(rules::unknown(&submission.send.conversation_id)),
            };
        }
        match self.standing.grant_of(keys.member) {
            Some(grant) if grant.banned => Err(banned()),
            Some(grant) if grant.role != Role::Unspecified => match grant.muted_until > now_ms {
                true => Err(muted(grant.muted_until, now_ms)),
                false if session.scopes.send => Ok(grant.role),
                false => Err(Error::of(
                    ErrorCode::Forbidden,
                    "the token lacks the scope `send`; connect with one that has it",
                )),
            },
            _ => Err(self.no_member(keys.conversation, &submission.send.conversation_id)),
        }
    }

    /// Whether a mark may move a cursor: the muted still read.
    fn check_mark(&self, mark: &Mark) -> Result<(), Error> {
        let conversation = Fingerprint::of(&mark.conversation_id);
        let member = conversation.then(Fingerprint::of(&mark.session.user_id));
        match self.standing.grant_of(member) {
            Some(grant) if grant.banned => Err(banned()),
            grant if standing::is_member(grant) => Ok(()),
            _ => Err(self.no_member(conversation, &mark.conversation_id)),
        }
    }

    fn no_member(&self, conversation: Fingerprint, id: &str) -> Error {
        match self.standing.conversation(conversation) {
            None => rules::unknown(id),
            Some(_) => Error::of(
                ErrorCode::NotAMember,
                "you are no member of this conversation; ask a member with the role ADMIN or OWNER to add you",
            ),
        }
    }

    /// A command comes in: behind the fact in flight if there is one, else it is ruled on.
    fn arrive(&mut self, command: Arc<Command>, now_ms: i64, out: &mut Out) {
        match self.in_flight.get_mut(&*command.conversation_id) {
            Some(busy) if busy.waiting.len() >= MAX_WAITING => {
                let sentence =
                    "too many changes of this conversation are under way; send again in a moment";
                deny(
                    out,
                    Refused::Command(command),
                    Error::of(ErrorCode::Busy, sentence).retry_after(1_000),
                );
            }
            Some(busy) => busy.waiting.push_back(command),
            None => {
                let conversation = command.conversation_id.clone();
                if let Some(awaited) = self.decide(command, now_ms, out) {
                    self.in_flight.insert(
                        conversation.into(),
                        InFlight { awaited, waiting: VecDeque::new() },
                    );
                }
            }
        }
    }

    /// Rules on a command; gives the number of grant changes to wait for, if it became a fact.
    fn decide(&self, command: Arc<Command>, now_ms: i64, out: &mut Out) -> Option<usize> {
        let case =
            Case { command: &command, standing: &self.standing, bounds: self.bounds, now_ms };
        match case.rule() {
            Err(error) => deny(out, Refused::Command(command), error),
            Ok(Ruling::Settled(answer)) => {
                command.ticket.answer(answer);
            }
            Ok(Ruling::Exists) => {
                let Command { ticket, session, conversation_id, .. } = &*command;
                let query = Query {
                    ticket: ticket.clone(),
                    session: Arc::clone(session),
                    ask: Ask::Conversation(conversation_id.clone()),
                };
                out.send(EXISTING, Record::Query(Arc::new(query)));
            }
            Ok(Ruling::Changes { change, answer, deltas }) => {
                match fact(&command, change, now_ms) {
                    Err(error) => deny(out, Refused::Command(command), error),
                    Ok(fact) => {
                        let ticket = command.ticket.clone();
                        let change = Change { ticket, fact: Arc::new(fact), answer };
                        out.send(FACTS, Record::Change(Arc::new(change)));
                        // What changes no grant brings none back to wait for.
                        return (deltas > 0).then_some(deltas);
                    }
                }
            }
        }
        None
    }

    /// A grant has changed: when it was the last one awaited, the conversation's next command is due.
    fn learn(&mut self, change: &GrantChange, now_ms: i64, out: &mut Out) {
        self.standing.apply(change);
        let Some(busy) = self.in_flight.get_mut(&*change.conversation_id) else { return };
        busy.awaited = busy.awaited.saturating_sub(1);
        if busy.awaited > 0 {
            return;
        }
        let mut waiting = std::mem::take(&mut busy.waiting);
        while let Some(command) = waiting.pop_front() {
            // Whoever has met TIMEOUT believes that nothing was done, so nothing is.
            if command.ticket.is_answered() {
                continue;
            }
            if let Some(awaited) = self.decide(command, now_ms, out) {
                self.in_flight
                    .insert((&*change.conversation_id).into(), InFlight { awaited, waiting });
                return;
            }
        }
        self.in_flight.remove(&*change.conversation_id);
    }
}

/// The fact that a command becomes, unless it is longer than a log takes.
fn fact(command: &Command, change: fact::Change, now_ms: i64) -> Result<Fact, Error> {
    let fact = Fact {
        conversation_id: command.conversation_id.clone(),
        at: now_ms,
        by: command.session.user_id.as_ref().into(),
        change: Some(change),
    };
    let bytes = fact.encoded_len();
    if bytes > MAX_FACT_BYTES {
        let sentence = format!(
            "the change takes {bytes} bytes and one may take {MAX_FACT_BYTES}; change fewer members at a time"
        );
        return Err(Error::of(ErrorCode::TooLarge, sentence));
    }
    Ok(fact)
}

fn banned() -> Error {
    Error::of(ErrorCode::Banned, "you are banned from this conversation; ask its owner")
}

fn muted(until: i64, now_ms: i64) -> Error {
    if until == UNTIL_LIFTED {
        let sentence = "you are muted in this conversation; ask one of its admins to lift that";
        return Error::of(ErrorCode::Muted, sentence);
    }
    let sentence = format!(
        "you are muted in this conversation until {until} (ms since 1970); send again after that"
    );
    Error::of(ErrorCode::Muted, sentence).retry_after((until - now_ms) as u64)
}

fn deny(out: &mut Out, refused: Refused, error: Error) {
    out.send(DENIED, Record::Rejection(Arc::new(Rejection { refused, error })));
}

#[cfg(test)]
mod tests;
