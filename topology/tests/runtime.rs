//! The runtime's promises, with kinds made for the test: order, feedback, deadlines, tracking, stopping.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use imflow_kind::testing::Answers;
use imflow_kind::{
    Applied, Clock, Description, Family, Injector, Intake, Key, Kind, Operator, Out, Port, Roles,
    Sink, Source, StartError, SystemClock, Time,
};
use imflow_proto::record::{
    OnlineChange, Refused, Rejection, Scopes, Session, SessionEvent, Submission,
};
use imflow_proto::{Record, RecordType, wire};
use imflow_topology::{Registry, Running, compile, start};

const MESSAGES: Port = Port::of("messages", &[RecordType::Submission], "");
const DRIVER: Description = Description {
    name: "driver",
    family: Family::Source,
    outputs: &[MESSAGES, Port::of("sessions", &[RecordType::SessionEvent], "")],
    ..Description::EMPTY
};
const BOUNCE: Description = Description {
    name: "bounce",
    key: Key::Conversation,
    inputs: &[MESSAGES, Port::of("outcomes", &[RecordType::Rejection], "").optional().feedback()],
    outputs: &[MESSAGES, Port::of("denied", &[RecordType::Rejection], "")],
    ..Description::EMPTY
};
const LATER: Description = Description {
    name: "later",
    key: Key::Conversation,
    inputs: &[MESSAGES],
    outputs: &[MESSAGES],
    ..Description::EMPTY
};
const USERS: Description = Description {
    name: "users",
    key: Key::User,
    inputs: &[Port::of("sessions", &[RecordType::SessionEvent], "")],
    outputs: &[Port::of("online", &[RecordType::Online], "")],
    ..Description::EMPTY
};
const WATCH: Description = Description {
    name: "watch",
    key: Key::Conversation,
    inputs: &[Port::of("online", &[RecordType::Online], "")],
    outputs: &[Port::of("seen", &[RecordType::Online], "")],
    ..Description::EMPTY
};
const COLLECT: Description = Description {
    name: "collect",
    family: Family::Sink,
    inputs: &[Port::of(
        "records",
        &[RecordType::Submission, RecordType::Rejection, RecordType::Online],
        "",
    )
    .pays()],
    ..Description::EMPTY
};

/// First denies every message, then lets it pass when the denial has come back.
struct Bounce;

impl Operator for Bounce {
    fn on_batch(&mut self, _: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            match record {
                Record::Submission(submission) if port == 0 => {
                    let error = wire::Error::default();
                    let refused = Refused::Submission(submission);
                    out.send(1, Record::Rejection(Arc::new(Rejection { refused, error })));
                }
                Record::Rejection(rejection) => {
                    let Refused::Submission(submission) = &rejection.refused else { continue };
                    out.send(0, Record::Submission(Arc::clone(submission)));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

/// Holds every message for 30 ms.
#[derive(Default)]
struct Later(Vec<(Time, Record)>);

impl Operator for Later {
    fn on_batch(&mut self, now: Time, _: usize, records: &mut Vec<Record>, _: &mut Out) {
        self.0.extend(records.drain(..).map(|record| (now.after_ms(30), record)));
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.first().map(|(due, _)| *due)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        let due = self.0.iter().take_while(|(due, _)| *due <= now).count();
        out.port(0).extend(self.0.drain(..due).map(|(_, record)| record));
    }
}

struct Users;

impl Operator for Users {
    fn on_batch(&mut self, _: Time, _: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let Record::SessionEvent(event) = record else { continue };
            out.send(
                0,
                Record::Online(OnlineChange {
                    user_id: Arc::clone(&event.session.user_id),
                    online: event.online,
                    last_active_at: event.at,
                }),
            );
        }
    }
}

struct Watch;

impl Operator for Watch {
    fn on_batch(&mut self, _: Time, _: usize, records: &mut Vec<Record>, out: &mut Out) {
        out.port(0).append(records);
    }
}

struct Driver(Arc<OnceLock<Arc<dyn Injector>>>);

impl Source for Driver {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        self.0.set(injector).map_err(|_| StartError::new("started twice"))
    }
}

struct Collect(Arc<Mutex<mpsc::Sender<Record>>>);

impl Sink for Collect {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(Hand(self.0.lock().unwrap().clone()))
    }

    fn start(&mut self, _: Arc<dyn Injector>) -> Result<(), StartError> {
        Ok(())
    }
}

struct Hand(mpsc::Sender<Record>);

impl Intake for Hand {
    fn on_batch(&mut self, _: Time, _: usize, records: &mut Vec<Record>) {
        records.drain(..).for_each(|record| self.0.send(record).unwrap());
    }
}

struct Rig {
    running: Running,
    injector: Arc<dyn Injector>,
    collected: mpsc::Receiver<Record>,
}

fn rig(operators: &str, collect: &str) -> Rig {
    let text = format!(
        "service = {{ partitions = 8, workers = 2 }}\n[sources.driver]\nkind = \"driver\"\n{operators}\n\
         [sinks.collect]\nkind = \"collect\"\ninputs = [{collect}]\n"
    );
    let slot = Arc::new(OnceLock::new());
    let (sender, collected) = mpsc::channel();
    let sender = Arc::new(Mutex::new(sender));
    let driver = Arc::clone(&slot);
    let kinds = [
        Kind::source(&DRIVER, move |_| Ok(Box::new(Driver(Arc::clone(&driver)))))
            .simulated_as_it_is(),
        Kind::sink(&COLLECT, move |_| Ok(Box::new(Collect(Arc::clone(&sender)))))
            .simulated_as_it_is(),
        Kind::operator(&BOUNCE, |_| Ok(Box::new(Bounce))),
        Kind::operator(&LATER, |_| Ok(Box::new(Later::default()))),
        Kind::operator(&USERS, |_| Ok(Box::new(Users))),
        Kind::operator(&WATCH, |_| Ok(Box::new(Watch))),
    ];
    let plan =
        compile("test.toml", &text, &[], &Registry::new(kinds)).unwrap_or_else(|e| panic!("{e}"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let running = start(plan, &Roles::default(), &clock).unwrap();
    let injector = Arc::clone(slot.get().unwrap());
    Rig { running, injector, collected }
}

fn session() -> Arc<Session> {
    Arc::new(Session {
        number: 1,
        user_id: "alice".into(),
        device_id: "phone".into(),
        scopes: Scopes::default(),
    })
}

fn submission(conversation: &str, number: u64) -> Record {
    let ticket = Arc::new(Answers::default()).ticket(number);
    let send = wire::Send { conversation_id: conversation.to_owned(), ..Default::default() };
    Record::Submission(Arc::new(Submission::new(ticket, session(), send)))
}

impl Rig {
    fn send(&self, conversation: &str, number: u64) {
        self.injector.send(
            self.injector.worker_of(conversation),
            0,
            vec![submission(conversation, number)],
        );
    }

    fn next(&self) -> Record {
        self.collected.recv_timeout(Duration::from_secs(10)).unwrap()
    }
}

#[test]
fn a_conversation_keeps_its_order_over_workers_and_feedback() {
    let rig = rig(
        "[operators.bounce]\nkind = \"bounce\"\ninputs = { messages = [\"driver\"], outcomes = [\"bounce.denied\"] }",
        "\"bounce\"",
    );
    let conversations = ["a", "b", "c", "d", "e"];
    for number in 0..2_000 {
        rig.send(conversations[number as usize % 5], number);
    }
    let mut last = std::collections::HashMap::new();
    for _ in 0..2_000 {
        let Record::Submission(submission) = rig.next() else { panic!("only messages") };
        let number = submission.ticket.id();
        let before = last.insert(submission.send.conversation_id.clone(), number);
        assert!(before.is_none_or(|before| before < number), "{before:?} before {number}");
    }
    rig.running.stop();
    assert!(rig.collected.try_recv().is_err(), "each message exactly once");
}

#[test]
fn a_deadline_is_met_without_traffic() {
    let rig = rig("[operators.later]\nkind = \"later\"\ninputs = [\"driver\"]", "\"later\"");
    let begin = std::time::Instant::now();
    rig.send("a", 1);
    rig.next();
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(29) && waited < Duration::from_secs(1), "{waited:?}");
    rig.running.stop();
}

#[test]
fn tracking_ends_when_every_stage_has_seen_the_record() {
    let rig = rig(
        "[operators.users]\nkind = \"users\"\ninputs = [\"driver.sessions\"]\n\
         [operators.watch]\nkind = \"watch\"\ninputs = [\"users\"]",
        "\"watch\", \"driver\"",
    );
    struct Tell(Mutex<mpsc::Sender<()>>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.lock().unwrap().send(());
        }
    }
    for round in 0..200 {
        let (sender, applied) = mpsc::channel();
        let event = match round % 2 {
            0 => SessionEvent::began(session(), "node-1".into(), round),
            _ => SessionEvent::ended(session(), "node-1".into(), round - 1, round),
        };
        let tracked: Applied = Arc::new(Tell(Mutex::new(sender)));
        rig.injector.send_and_track(0, 1, vec![Record::SessionEvent(Arc::new(event))], tracked);
        applied.recv_timeout(Duration::from_secs(10)).unwrap();
        // Both conversation workers have seen it by now.
        assert_eq!(rig.collected.try_iter().count(), 2, "round {round}");
    }
    rig.running.stop();
}
