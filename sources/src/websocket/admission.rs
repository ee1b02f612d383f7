//! Lets the commands of one connection into the dataflow, in their order, as far as credit goes.
//!
//! ```text
//! frame -> envelopes -> [inbox] -- credit of the worker --> one batch for each (worker, port)
//! ```
//!
//! While the inbox holds anything the socket is not read: that is the back-pressure on a client. A
//! command that gets no credit for a second is answered BUSY, and so are those behind it until there
//! is credit again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imflow_kind::Injector;
use imflow_proto::frame::{self, Decoded, Malformed};
use imflow_proto::record::{Session, Typing};
use imflow_proto::ticket::Credit;
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Done, Envelope, Error, ErrorCode};
use imflow_proto::{Record, Requester, Ticket};
use prost::Message as _;
use tokio::time::Instant;

use super::bands::{REFUSES_P1, REFUSES_P3, hash_of};
use super::commands::{self, Intent, Step, port};
use super::frames;
use super::limits::Limits;
use super::meters::GateMeters;
use super::peer::Peer;
use super::pending::Pending;
use super::queue::Strain;
use super::refresh::refresh;
use super::throttle::Throttle;
use crate::auth::Secrets;

/// Answers of the gateway itself that may wait for the socket before the next command is looked at.
const MAX_BACKLOG: usize = 256 * 1024;
/// What a command costs beside its bytes.
const COMMAND_OVERHEAD: usize = 128;
/// A user who types on is told of again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// When to come back after BUSY.
const RETRY_AFTER_MS: u64 = 500;

/// The commands that were read and are not admitted yet.
#[derive(Default)]
pub(super) struct Admission {
    inbox: VecDeque<Waiting>,
    /// The token bucket of the device.
    bucket: u64,
    /// Since when the first command has had no credit.
    blocked_since: Option<Instant>,
    /// Where the user was last told to type, and when.
    told: Option<(u64, Instant)>,
}

struct Waiting {
    id: u64,
    bytes: usize,
    step: Step,
}

/// How far it went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    All,
    /// Too many commands are unanswered, or too much waits for the socket.
    Full,
    /// This worker has no credit; ask again when some has come back.
    Blocked(usize),
}

/// What the node does not take while its fan-out queue is this full: reads come with the lowest band, messages
/// and what they cause with the others. Source: SPEC G9.
fn is_refused(intent: &Intent, fill: usize) -> bool {
    match intent {
        Intent::Ask(_) => fill >= REFUSES_P3,
        Intent::Send(..) | Intent::Mark(..) | Intent::Subscribe(_) => fill >= REFUSES_P1,
        Intent::Command { .. } => false,
    }
}

fn overloaded() -> Error {
    let sentence = "this node has more to deliver than it can right now; nothing was stored; send again in a moment";
    Error::of(ErrorCode::Busy, sentence)
}

/// What admitting needs of the connection.
pub(super) struct Desk<'a> {
    pub(super) injector: &'a dyn Injector,
    pub(super) limits: &'a Limits,
    pub(super) peer: &'a Arc<Peer>,
    pub(super) pending: &'a mut Pending,
    pub(super) meters: &'a GateMeters,
    /// Where answers of the gateway itself go.
    pub(super) out: &'a mut Vec<u8>,
    pub(super) unanswered: usize,
    pub(super) strain: Strain,
}

impl Admission {
    pub(super) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Takes the commands of one frame.
    pub(super) fn take(&mut self, reader: &Reader<'_>, data: &Bytes) -> Result<(), Malformed> {
        let envelopes = frame::decode(reader.peer.format, data)?;
        let read = envelopes.into_iter().map(|envelope| reader.read(&mut self.bucket, envelope));
        self.inbox.extend(read);
        Ok(())
    }

    /// Admits from the front.
    pub(super) fn admit(&mut self, desk: &mut Desk<'_>) -> Admitted {
        let mut batches = Batches::new(desk.peer.acting());
        let outcome = loop {
            let Some(first) = self.inbox.front() else { break Admitted::All };
            if desk.out.len() > MAX_BACKLOG {
                break Admitted::Full;
            }
            let Step::Enter(intent) = &first.step else {
                self.answer_first(desk, &mut batches);
                continue;
            };
            let worker = desk.injector.worker_of(intent.key(&desk.peer.session));
            let (port, bytes) = (intent.port(), first.bytes);
            let held = desk.strain.holds && matches!(intent, Intent::Send(..));
            if is_refused(intent, desk.strain.fill) {
                self.refuse_first(desk, overloaded());
                continue;
            }
            if desk.unanswered + batches.count >= desk.limits.in_flight {
                break Admitted::Full;
            }
            if held {
                if self.may_wait(desk.limits) {
                    break Admitted::Blocked(worker);
                }
                self.refuse_first(desk, overloaded());
                continue;
            }
            match desk.injector.credit(worker, port, bytes) {
                Ok(credit) => {
                    self.blocked_since = None;
                    self.enter_first(desk, worker, credit, &mut batches);
                }
                Err(error) if error.code() == ErrorCode::Busy && self.may_wait(desk.limits) => {
                    break Admitted::Blocked(worker);
                }
                Err(error) => self.refuse_first(desk, error),
            }
        };
        if self.inbox.is_empty() {
            self.inbox.shrink_to(64);
            self.blocked_since = None;
        }
        desk.unanswered += batches.count;
        batches.send(desk);
        outcome
    }

    fn may_wait(&mut self, limits: &Limits) -> bool {
        self.blocked_since.get_or_insert_with(Instant::now).elapsed() < limits.patience
    }

    fn enter_first(
        &mut self,
        desk: &mut Desk<'_>,
        worker: usize,
        credit: Box<dyn Credit>,
        batches: &mut Batches,
    ) {
        let Some(Waiting { id, step: Step::Enter(intent), .. }) = self.inbox.pop_front() else {
            return;
        };
        let requester = Arc::clone(desk.peer) as Arc<dyn Requester>;
        let ticket = Ticket::new(id, requester, Some(credit));
        desk.pending.push(desk.peer.clock.now(), ticket.clone());
        if let Intent::Mark(cursor, _) = &intent {
            desk.peer.outbox.pulled(hash_of(&cursor.conversation_id), cursor.seq);
        }
        let port = intent.port();
        let record = intent.into_record(ticket, Arc::clone(&batches.session));
        if let Record::Subscription(subscription) = &record {
            *desk.peer.follows.lock() = Some(Arc::clone(subscription));
        }
        batches.add(worker, port, record);
    }

    fn answer_first(&mut self, desk: &mut Desk<'_>, batches: &mut Batches) {
        let Some(Waiting { id, bytes, step }) = self.inbox.pop_front() else { return };
        let body = match step {
            Step::Answer(body) => body,
            Step::Tell(conversation_id) => {
                self.tell(desk, batches, conversation_id, bytes);
                Body::Done(Done {})
            }
            Step::Enter(_) => return,
        };
        if id == 0 && matches!(body, Body::Done(_)) {
            return;
        }
        frames::append(desk.peer.format, &Envelope { id, body: Some(body) }, desk.out);
    }

    /// Who types is told of at most once a second, and not at all where there is much to do.
    fn tell(
        &mut self,
        desk: &mut Desk<'_>,
        batches: &mut Batches,
        conversation_id: String,
        bytes: usize,
    ) {
        let (conversation, now) = (hash_of(&conversation_id), Instant::now());
        let again = self.told.is_some_and(|(of, at)| of == conversation && now - at < TELL_AGAIN);
        if again || desk.strain.fill >= REFUSES_P3 {
            return;
        }
        let worker = desk.injector.worker_of(&conversation_id);
        let Ok(credit) = desk.injector.credit(worker, port::TYPING, bytes) else { return };
        self.told = Some((conversation, now));
        let session = Arc::clone(&desk.peer.session);
        let typing = Typing { session, conversation_id, credit: Some(credit) };
        batches.put(worker, port::TYPING, Record::Typing(Arc::new(typing)));
    }

    fn refuse_first(&mut self, desk: &Desk<'_>, mut error: Error) {
        desk.meters.refuse_command(error.code().as_str_name());
        if error.code() == ErrorCode::Busy && error.retry_after_ms == 0 {
            error.retry_after_ms = RETRY_AFTER_MS;
        }
        if let Some(first) = self.inbox.front_mut() {
            first.step = Step::Answer(Body::Error(error));
        }
    }
}

/// What reading the envelopes of a frame needs.
pub(super) struct Reader<'a> {
    pub(super) peer: &'a Peer,
    pub(super) throttle: &'a Throttle,
    pub(super) meters: &'a GateMeters,
    /// What a new token of the session is verified with.
    pub(super) secrets: Option<&'a Secrets>,
    /// Of the token buckets.
    pub(super) now_us: u64,
}

impl Reader<'_> {
    /// Whatever a client sends counts towards its rate; what comes too soon goes no further.
    fn read(&self, bucket: &mut u64, envelope: Decoded) -> Waiting {
        let id = envelope.as_ref().map_or_else(|(id, _)| *id, |envelope| envelope.id);
        let answer = |body| Waiting { id, bytes: 0, step: Step::Answer(body) };
        let conversation = envelope.as_ref().ok().and_then(commands::conversation_of);
        let counted = self.throttle.command(self.peer, bucket, conversation, self.now_us);
        if let Err((whose, wait_ms)) = counted {
            self.meters.limit(whose);
            return answer(Body::Error(whose.error(wait_ms)));
        }
        match envelope {
            Err((_, error)) => answer(Body::Error(error)),
            Ok(Envelope { body: Some(Body::Refresh(token)), .. }) => {
                answer(refresh(self.secrets, self.peer, &token))
            }
            Ok(envelope) => {
                let bytes = envelope.encoded_len() + COMMAND_OVERHEAD;
                Waiting { id, bytes, step: commands::read(&self.peer.acting(), envelope) }
            }
        }
    }
}

/// Records that go to the same worker and port travel together.
struct Batches {
    session: Arc<Session>,
    batches: Vec<(usize, usize, Vec<Record>)>,
    count: usize,
}

impl Batches {
    fn new(session: Arc<Session>) -> Self {
        Self { session, batches: Vec::new(), count: 0 }
    }

    /// Adds what will be answered.
    fn add(&mut self, worker: usize, port: usize, record: Record) {
        self.count += 1;
        self.put(worker, port, record);
    }

    fn put(&mut self, worker: usize, port: usize, record: Record) {
        match self.batches.iter_mut().find(|(w, p, _)| (*w, *p) == (worker, port)) {
            Some((_, _, records)) => records.push(record),
            None => self.batches.push((worker, port, vec![record])),
        }
    }

    fn send(self, desk: &Desk<'_>) {
        if self.count > 0 {
            // Before they go: a reply must find itself expected.
            desk.peer.outbox.expect(self.count);
        }
        for (worker, port, records) in self.batches {
            desk.injector.send(worker, port, records);
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::Meters;
    use imflow_kind::testing::FakeInjector;

    use super::*;
    use crate::websocket::testing::{peer, send_line};

    struct Bench {
        injector: Arc<FakeInjector>,
        limits: Limits,
        meters: GateMeters,
        peer: Arc<Peer>,
        pending: Pending,
        out: Vec<u8>,
        admission: Admission,
        strain: Strain,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                injector: Arc::default(),
                limits: Limits::default(),
                meters: GateMeters::new(Meters::default()),
                peer: peer("alice", "phone", 1),
                pending: Pending::default(),
                out: Vec::new(),
                admission: Admission::default(),
                strain: Strain::default(),
            }
        }

        fn take(&mut self, text: &str) {
            let data = Bytes::copy_from_slice(text.as_bytes());
            let throttle = Throttle::new(&self.limits);
            let reader = Reader {
                peer: &self.peer,
                throttle: &throttle,
                meters: &self.meters,
                secrets: None,
                now_us: 1_000_000,
            };
            self.admission.take(&reader, &data).expect("well-formed");
        }

        fn admit(&mut self, unanswered: usize) -> Admitted {
            self.admission.admit(&mut Desk {
                injector: &*self.injector,
                limits: &self.limits,
                peer: &self.peer,
                pending: &mut self.pending,
                meters: &self.meters,
                out: &mut self.out,
                unanswered,
                strain: self.strain,
            })
        }

        fn answers(&self) -> String {
            String::from_utf8_lossy(&self.out).into_owned()
        }
    }

    #[test]
    fn commands_of_one_read_travel_in_one_batch() {
        let mut bench = Bench::new();
        bench.take(&(1..=5).map(send_line).collect::<Vec<_>>().join("\n"));
        assert_eq!(bench.admit(0), Admitted::All);
        let sent = bench.injector.take();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].1, sent[0].2.len()), (port::MESSAGES, 5));
    }

    #[test]
    fn without_credit_a_command_waits_and_is_then_busy() {
        let mut bench = Bench::new();
        bench.injector.set_credit(1);
        bench.take(&(1..=3).map(send_line).collect::<Vec<_>>().join("\n"));
        assert_eq!(bench.admit(0), Admitted::Blocked(0));
        assert!(!bench.admission.is_empty() && bench.out.is_empty());
        bench.limits.patience = std::time::Duration::ZERO;
        assert_eq!(bench.admit(1), Admitted::All);
        let answers = bench.answers();
        assert!(answers.contains(r#"{"id":2,"error":{"code":"BUSY""#), "{answers}");
        assert!(
            answers.contains(r#"{"id":3,"error":{"code":"BUSY""#)
                && answers.contains("retryAfterMs"),
            "{answers}"
        );
    }

    #[test]
    fn what_comes_too_soon_is_answered_and_goes_no_further() {
        let mut bench = Bench::new();
        bench.limits.rate_per_device = 1;
        bench.limits.rate_burst_ms = 2_000;
        bench.take(&(1..=3).map(send_line).collect::<Vec<_>>().join("\n"));
        assert_eq!(bench.admit(0), Admitted::All);
        assert_eq!(bench.injector.take()[0].2.len(), 2);
        let answers = bench.answers();
        assert!(
            answers.contains(r#"{"id":3,"error":{"code":"RATE_LIMITED""#)
                && answers.contains(r#""retryable":true,"retryAfterMs":1000"#),
            "{answers}"
        );
    }

    #[test]
    fn too_many_unanswered_commands_wait_without_an_error() {
        let mut bench = Bench::new();
        bench.limits.in_flight = 2;
        bench.take(&(1..=3).map(send_line).collect::<Vec<_>>().join("\n"));
        assert_eq!(bench.admit(0), Admitted::Full);
        assert_eq!(bench.admit(2), Admitted::Full);
        assert_eq!(bench.admit(1), Admitted::All);
        assert!(bench.out.is_empty());
    }

    fn ask_line(id: u64) -> String {
        format!(r#"{{"id":{id},"history":{{"conversationId":"c1"}}}}"#)
    }

    #[test]
    fn a_node_that_is_behind_refuses_reads_first_and_messages_last() {
        for (fill, refused) in [(69, 0), (70, 1), (94, 1), (95, 2)] {
            let mut bench = Bench::new();
            bench.strain.fill = fill;
            bench.take(&[ask_line(1), send_line(2)].join("\n"));
            assert_eq!(bench.admit(0), Admitted::All);
            let answers = bench.answers();
            assert_eq!(answers.matches("BUSY").count(), refused, "{fill}: {answers}");
            assert_eq!(answers.matches("retryAfterMs").count(), refused);
        }
    }

    #[test]
    fn who_types_on_is_told_of_once_a_second_and_never_waits() {
        let typing = |id| format!(r#"{{"id":{id},"typing":{{"conversationId":"c1"}}}}"#);
        let mut bench = Bench::new();
        bench.take(&[typing(0), typing(5), typing(6)].join("\n"));
        assert_eq!(bench.admit(0), Admitted::All);
        let answers = bench.answers();
        assert!(answers.contains(r#"{"id":5,"done":{}}"#), "{answers}");
        assert_eq!(answers.matches("done").count(), 2, "no reply without an id");
        let sent = bench.injector.take();
        assert_eq!((sent.len(), sent[0].1, sent[0].2.len()), (1, port::TYPING, 1));
        bench.injector.set_credit(0);
        bench.take(&typing(7).replace("c1", "c2"));
        assert_eq!(bench.admit(0), Admitted::All, "without credit it is left out");
        assert!(bench.injector.take().is_empty());
    }

    #[test]
    fn senders_wait_while_pushes_pile_up_and_are_then_busy() {
        let mut bench = Bench::new();
        bench.strain.holds = true;
        bench.take(&[send_line(1), ask_line(2)].join("\n"));
        assert_eq!(bench.admit(0), Admitted::Blocked(0));
        assert!(bench.out.is_empty() && bench.injector.take().is_empty());
        bench.limits.patience = Duration::ZERO;
        assert_eq!(bench.admit(0), Admitted::All);
        assert!(bench.answers().contains(r#"{"id":1,"error":{"code":"BUSY""#));
        assert_eq!(bench.injector.take().len(), 1, "reads go on");
    }
}
