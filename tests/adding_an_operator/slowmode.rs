//! Lets each sender write to a conversation only once in a while.
//!
//! The first message passes and opens a pause; what the same sender writes to the same conversation
//! within it is refused, with the time to wait. State is bounded by `senders`: beyond it messages pass,
//! since slowing down is a courtesy and not a right.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Kind, Limit, Operator, OperatorContext, Opt, OptType, Out, Port,
    StartError, State, Time,
};
use imflow_proto::record::{Refused, Rejection, Submission};
use imflow_proto::wire::{Error, ErrorCode};
use imflow_proto::{Record, RecordType};

/// `messages: Submission` → `passed: Submission`, `refused: Rejection`
///
/// Errors: BUSY with `retryAfterMs`.
pub const DESCRIPTION: Description = Description {
    name: "slowmode",
    family: Family::Operator,
    summary: "lets each sender write to a conversation only once in a while",
    doc: "The first message passes; further ones of the same sender in the same conversation are refused with BUSY until \
          `every` has passed.",
    key: Key::Conversation,
    state: State::Volatile,
    inputs: &[Port::of("messages", &[RecordType::Submission], "what senders wrote")],
    outputs: &[
        Port::of("passed", &[RecordType::Submission], "first messages"),
        Port::of("refused", &[RecordType::Rejection], "those that came too soon"),
    ],
    options: &[
        Opt::new("every", OptType::Duration(1, 86_400_000), "3s", "the pause between two messages"),
        Opt::new("senders", OptType::Integer(1, 10_000_000), "100000", "pauses remembered at once"),
    ],
    limits: &[Limit {
        what: "pauses remembered",
        bound: "`senders`",
        policy: "messages of further senders pass",
    }],
    example: "[operators.slow]\nkind = \"slowmode\"\ninputs = [\"fresh\"]\nevery = \"5s\"\n",
    ..Description::EMPTY
};

const PASSED: usize = 0;
const REFUSED: usize = 1;

/// The kind `slowmode`.
pub fn kind() -> Kind {
    Kind::operator(&DESCRIPTION, build)
}

fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    Ok(Box::new(Slowmode {
        every_ms: context.options.duration("every").as_millis() as u64,
        senders: context.options.integer("senders") as usize,
        pauses: HashMap::new(),
        ends: BTreeMap::new(),
    }))
}

/// A conversation and a user.
type Sender = (String, Arc<str>);

struct Slowmode {
    every_ms: u64,
    senders: usize,
    /// When each sender may write again.
    pauses: HashMap<Sender, Time>,
    ends: BTreeMap<Time, Vec<Sender>>,
}

impl Operator for Slowmode {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let Record::Submission(submission) = record else {
                unreachable!("`check` lets only submissions come here")
            };
            match self.wait_ms(now, &submission) {
                None => out.send(PASSED, Record::Submission(submission)),
                Some(wait) => {
                    let sentence = format!("slow mode: write again in {wait} ms");
                    let error = Error::of(ErrorCode::Busy, sentence).retry_after(wait);
                    let refused = Refused::Submission(submission);
                    out.send(REFUSED, Record::Rejection(Arc::new(Rejection { refused, error })));
                }
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.ends.keys().next().copied()
    }

    fn on_time(&mut self, now: Time, _out: &mut Out) {
        while let Some(due) = self.ends.first_entry().filter(|due| *due.key() <= now) {
            for sender in due.remove() {
                self.pauses.remove(&sender);
            }
        }
    }
}

impl Slowmode {
    /// How long the sender has still to wait; `None`: a pause begins with this message.
    fn wait_ms(&mut self, now: Time, submission: &Submission) -> Option<u64> {
        let user = Arc::clone(&submission.session.user_id);
        let sender = (submission.send.conversation_id.clone(), user);
        match self.pauses.get(&sender) {
            Some(end) if *end > now => Some(end.ms() - now.ms()),
            _ => {
                if self.pauses.len() < self.senders {
                    let end = now.after_ms(self.every_ms);
                    self.pauses.insert(sender.clone(), end);
                    self.ends.entry(end).or_default().push(sender);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::{Answers, Driver, Node};
    use imflow_kind::{Options, Value};
    use imflow_proto::record::{Scopes, Session};
    use imflow_proto::wire;

    use super::*;

    fn slowmode(senders: i64) -> Driver<Box<dyn Operator>> {
        let mut options = Options::default();
        options.set("every", Value::Duration(std::time::Duration::from_secs(3)));
        options.set("senders", Value::Integer(senders));
        Node::new(&kind(), &options, &[]).drive()
    }

    fn write(driver: &mut Driver<Box<dyn Operator>>, user: &str, conversation: &str) -> bool {
        let scopes = Scopes { send: true, ..Scopes::default() };
        let (user_id, device_id) = (user.into(), "phone".into());
        let session = Arc::new(Session { number: 1, user_id, device_id, scopes });
        let send = wire::Send { conversation_id: conversation.into(), ..Default::default() };
        let ticket = Arc::new(Answers::default()).ticket(1);
        driver.send(
            "messages",
            [Record::Submission(Arc::new(Submission::new(ticket, session, send)))],
        );
        let refused = driver.take("refused").len();
        assert_eq!(driver.take("passed").len() + refused, 1, "each message leaves once");
        refused == 0
    }

    #[test]
    fn a_sender_waits_and_others_do_not() {
        let mut driver = slowmode(10);
        assert!(write(&mut driver, "alice", "c1"));
        assert!(!write(&mut driver, "alice", "c1"));
        assert!(write(&mut driver, "alice", "c2") && write(&mut driver, "bob", "c1"));
        driver.pass(2_999);
        assert!(!write(&mut driver, "alice", "c1"));
        driver.pass(1);
        assert!(write(&mut driver, "alice", "c1"));
    }

    #[test]
    fn pauses_end_without_traffic_and_are_bounded() {
        let mut driver = slowmode(1);
        assert!(write(&mut driver, "alice", "c1"));
        assert!(write(&mut driver, "bob", "c1") && write(&mut driver, "bob", "c1"));
        driver.pass(3_000);
        assert_eq!(driver.operator.next_deadline(), None, "nothing is left to forget");
        assert!(write(&mut driver, "bob", "c1") && !write(&mut driver, "bob", "c1"));
    }
}
