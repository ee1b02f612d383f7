//! The simulation's promises, with kinds made for the test: deadlines in their order, sources with a
//! will of their own, stages that hear of each other within an instant, and an end to what has none.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use imflow_kind::construct::{Making, construct};
use imflow_kind::{
    Clock, Description, Family, Injector, Intake, IoContext, Key, Kind, Operator, Out, Port, Roles,
    Shape, Sink, Source, StartError, Time, VirtualClock,
};
use imflow_proto::record::{OnlineChange, Scalar};
use imflow_proto::{Record, RecordType};
use imflow_topology::{Injection, Plan, Probe, Registry, Simulation, compile};

const ONLINE: &[RecordType] = &[RecordType::Online];
const BEAT: Description = Description {
    name: "beat",
    family: Family::Source,
    outputs: &[Port::of("beats", ONLINE, "")],
    ..Description::EMPTY
};
const LATER: Description = Description {
    name: "later",
    key: Key::User,
    inputs: &[Port::of("records", ONLINE, "")],
    outputs: &[Port::of("records", ONLINE, "")],
    ..Description::EMPTY
};
/// In the conversation stage, so that records cross from one stage to the other.
const PASS: Description = Description {
    name: "pass",
    key: Key::Conversation,
    inputs: &[Port::of("records", ONLINE, ""), Port::of("again", ONLINE, "").optional().feedback()],
    outputs: &[Port::of("records", ONLINE, "")],
    ..Description::EMPTY
};

const HOUR: u64 = 3_600_000;

/// Emits a record each hour, of its own accord.
struct Beat {
    clock: Arc<dyn Clock>,
    due: u64,
    injector: Option<Arc<dyn Injector>>,
}

impl Beat {
    fn build(context: &IoContext) -> Result<Box<dyn Source>, StartError> {
        let (clock, due) = (Arc::clone(&context.clock), context.clock.now_ms() + HOUR);
        Ok(Box::new(Self { clock, due, injector: None }))
    }
}

impl Source for Beat {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        self.injector = Some(injector);
        Ok(())
    }

    fn step(&mut self) -> bool {
        let due = self.clock.now_ms() >= self.due;
        if due && let Some(injector) = &self.injector {
            self.due += HOUR;
            injector.send(0, 0, vec![online("beat")]);
        }
        due
    }

    fn next_due(&self) -> Option<u64> {
        Some(self.due)
    }
}

/// Holds every record for three seconds.
#[derive(Default)]
struct Later(Vec<(Time, Record)>);

impl Operator for Later {
    fn on_batch(&mut self, now: Time, _: usize, records: &mut Vec<Record>, _: &mut Out) {
        self.0.extend(records.drain(..).map(|record| (now.after_ms(3_000), record)));
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.first().map(|(due, _)| *due)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        let due = self.0.iter().take_while(|(due, _)| *due <= now).count();
        out.port(0).extend(self.0.drain(..due).map(|(_, record)| record));
    }
}

/// Takes records, and says that it is full when it is told to.
const SLOW: Description = Description {
    name: "slow",
    family: Family::Sink,
    key: Key::Conversation,
    inputs: &[Port::of("records", ONLINE, "")],
    ..Description::EMPTY
};

struct Slow(Arc<AtomicBool>);

impl Sink for Slow {
    fn intake(&mut self, _: usize) -> Box<dyn Intake> {
        Box::new(Self(Arc::clone(&self.0)))
    }

    fn start(&mut self, _: Arc<dyn Injector>) -> Result<(), StartError> {
        Ok(())
    }
}

impl Intake for Slow {
    fn on_batch(&mut self, _: Time, _: usize, records: &mut Vec<Record>) {
        records.clear();
    }

    fn is_full(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

struct Pass;

impl Operator for Pass {
    fn on_batch(&mut self, _: Time, _: usize, records: &mut Vec<Record>, out: &mut Out) {
        out.port(0).append(records);
    }
}

fn online(user: &str) -> Record {
    Record::Online(OnlineChange { user_id: user.into(), online: true, last_active_at: 0 })
}

fn plan(again: &str, full: &Arc<AtomicBool>) -> Plan {
    let full = Arc::clone(full);
    let text = format!(
        "[sources.beat]\nkind = \"beat\"\n\
         [operators.later]\nkind = \"later\"\ninputs = [\"beat\"]\n\
         [operators.pass]\nkind = \"pass\"\ninputs = {{ records = [\"later\"], again = [{again}] }}\n\
         [sinks.slow]\nkind = \"slow\"\ninputs = [\"pass\"]\n"
    );
    let kinds = [
        Kind::source(&BEAT, Beat::build).simulated_as_it_is(),
        Kind::operator(&LATER, |_| Ok(Box::new(Later::default()))),
        Kind::operator(&PASS, |_| Ok(Box::new(Pass))),
        Kind::sink(&SLOW, move |_| Ok(Box::new(Slow(Arc::clone(&full))))).simulated_as_it_is(),
    ];
    compile("test.toml", &text, &["service.workers=2".to_owned()], &Registry::new(kinds))
        .unwrap_or_else(|e| panic!("{e}"))
}

/// A running plan, with a probe on `pass` and an injection into `later`.
fn rig(again: &str) -> (Simulation, Probe, Injection) {
    rig_with(again, &Arc::default())
}

fn rig_with(again: &str, full: &Arc<AtomicBool>) -> (Simulation, Probe, Injection) {
    let mut plan = plan(again, full);
    let node = |plan: &Plan, name: &str| plan.nodes.iter().position(|n| n.name == name).unwrap();
    let (later, pass) = (node(&plan, "later"), node(&plan, "pass"));
    let probe = plan.add_probe((pass, 0)).unwrap();
    let injection = plan.add_injection((later, 0)).unwrap();
    let clock = Arc::new(VirtualClock::at(0));
    (Simulation::start(plan, &Roles::default(), clock).unwrap(), probe, injection)
}

fn seen(probe: &Probe) -> Vec<(u64, String)> {
    let one = |(time, record): (Time, Record)| match record {
        Record::Online(change) => (time.ms(), change.user_id.to_string()),
        other => panic!("{other:?}"),
    };
    probe.take().into_iter().map(one).collect()
}

#[test]
fn deadlines_and_sources_come_in_the_order_of_their_times() {
    let (mut simulation, probe, injection) = rig("");
    simulation.advance_to(HOUR - 1_000).unwrap();
    injection.send(&online("alice"));
    simulation.settle().unwrap();
    assert_eq!(simulation.next_deadline(), Some(HOUR), "the beat is before alice's three seconds");
    simulation.advance_to(2 * HOUR).unwrap();
    // Each of the two workers hears of what happens in the user stage.
    let expected = [(HOUR + 2_000, "alice"), (HOUR + 3_000, "beat")];
    let expected = expected.map(|(at, user)| (at, user.to_owned()));
    let twice: Vec<_> = expected.iter().flat_map(|one| [one.clone(), one.clone()]).collect();
    assert_eq!(seen(&probe), twice);
}

#[test]
fn a_year_of_idle_time_takes_no_time() {
    let (mut simulation, probe, _) = rig("");
    let begin = Instant::now();
    simulation.advance_to(365 * 24 * HOUR).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(seen(&probe).len(), 2 * (365 * 24 - 1), "but for the last one, still held");
}

#[test]
fn records_that_feed_themselves_are_noticed() {
    let (mut simulation, _, injection) = rig("\"pass\"");
    injection.send(&online("alice"));
    let restless = simulation.advance_to(3_000).expect_err("it never comes to rest");
    assert_eq!(restless.at_ms, 3_000);
    assert!(restless.to_string().contains("feed themselves"), "{restless}");
}

#[test]
fn a_full_sink_holds_its_stage_and_nobody_loses_anything() {
    let full = Arc::new(AtomicBool::new(true));
    let (mut simulation, probe, injection) = rig_with("", &full);
    for user in ["alice", "bob"] {
        injection.send(&online(user));
        simulation.advance_to(simulation.now_ms() + 10_000).unwrap();
    }
    assert_eq!(seen(&probe), [], "the stage takes nothing new");
    full.store(false, Ordering::Release);
    simulation.settle().unwrap();
    let users: Vec<_> = seen(&probe).into_iter().map(|(_, user)| user).collect();
    assert_eq!(users, ["alice", "bob", "alice", "bob"], "once for each of the two workers");
}

#[test]
fn an_injection_takes_records_of_its_port() {
    let (mut simulation, probe, injection) = rig("");
    assert_eq!(injection.shape, Shape::Native(RecordType::Online));
    let given = [("userId".to_owned(), Scalar::String("carol".into()))];
    let making = Making { now_ms: simulation.now_ms(), number: 1 };
    injection.send(&construct(&injection.shape, &given, making).unwrap());
    simulation.advance_to(3_000).unwrap();
    assert_eq!(seen(&probe)[0], (3_000, "carol".to_owned()));
}
