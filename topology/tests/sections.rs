//! State machines before, between and behind collections: every epoch is whole and in order.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use imflow_kind::{
    Batches, Clock, Description, Family, Form, Injector, Intake, Key, Kind, Operator,
    OperatorContext, Out, Port, Roles, Sink, Source, StartError, Stream, SystemClock, Time,
};
use imflow_proto::record::FanoutStats;
use imflow_proto::wire::ConversationType;
use imflow_proto::{Record, RecordType};
use imflow_topology::{Registry, Running, compile, start};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Operator as _;

const RECORDS: Port = Port::of("records", &[RecordType::FanoutStats], "");
const DRIVER: Description = Description {
    name: "driver",
    family: Family::Source,
    outputs: &[RECORDS, Port::of("others", &[RecordType::FanoutStats], "")],
    ..Description::EMPTY
};
const PAIR: Description = Description {
    name: "pair",
    key: Key::Conversation,
    inputs: &[RECORDS, Port::of("side", &[RecordType::FanoutStats], "").optional()],
    outputs: &[RECORDS, Port::of("alone", &[RecordType::FanoutStats], "")],
    ..Description::EMPTY
};
const MIRROR: Description = Description {
    name: "mirror",
    key: Key::Conversation,
    inputs: &[RECORDS],
    outputs: &[RECORDS],
    ..Description::EMPTY
};
const COLLECT: Description =
    Description { name: "collect", family: Family::Sink, inputs: &[RECORDS], ..Description::EMPTY };

/// Lets a record pass if its side port has brought the same one in the same epoch, before it.
#[derive(Default)]
struct Pair {
    epoch: Time,
    brought: HashSet<u64>,
}

impl Operator for Pair {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        if self.epoch != now {
            self.brought.clear();
            self.epoch = now;
        }
        for record in records.drain(..) {
            let number = number_of(&record);
            match (port, self.brought.contains(&number)) {
                (1, _) => assert!(self.brought.insert(number), "{number} twice"),
                (_, true) => out.send(0, record),
                (_, false) => out.send(1, record),
            }
        }
    }
}

/// A collection that gives what it takes once its epoch is whole, some steps later.
fn mirror<'s>(
    _: &OperatorContext<'_>,
    _: Scope<'s, u64>,
    inputs: Vec<Stream<'s>>,
) -> Result<Vec<Stream<'s>>, StartError> {
    let mirrored = |stream: Stream<'s>| {
        stream.unary_frontier::<CapacityContainerBuilder<Batches>, _, _, _>(
            Pipeline,
            "mirror",
            |_, _| {
                let mut waiting = BTreeMap::new();
                move |(input, frontier), output| {
                    input.for_each(|capability, records| {
                        let time = *capability.least().unwrap();
                        let held = capability.retain_least(0).unwrap();
                        waiting.entry(time).or_insert((held, Batches::new())).1.append(records);
                    });
                    while let Some(first) = waiting.first_entry()
                        && !frontier.less_equal(first.key())
                    {
                        let (held, mut records) = first.remove();
                        output.session(&held).give_container(&mut records);
                    }
                }
            },
        )
    };
    Ok(inputs.into_iter().map(mirrored).collect())
}

struct Driver(Arc<OnceLock<Arc<dyn Injector>>>);

impl Source for Driver {
    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        self.0.set(injector).map_err(|_| StartError::new("started twice"))
    }
}

struct Collect(mpsc::Sender<u64>);

impl Sink for Collect {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(Collect(self.0.clone()))
    }

    fn start(&mut self, _: Arc<dyn Injector>) -> Result<(), StartError> {
        Ok(())
    }
}

impl Intake for Collect {
    fn on_batch(&mut self, _: Time, _: usize, records: &mut Vec<Record>) {
        for record in records.drain(..) {
            self.0.send(number_of(&record)).unwrap();
        }
    }
}

struct Rig {
    running: Running,
    injector: Arc<dyn Injector>,
    collected: mpsc::Receiver<u64>,
}

fn rig(nodes: &str, collect: &str) -> Rig {
    let text = format!(
        "service = {{ partitions = 8, workers = 1 }}\n[sources.driver]\nkind = \"driver\"\n{nodes}\n\
         [sinks.collect]\nkind = \"collect\"\ninputs = [{collect}]\n"
    );
    let slot = Arc::new(OnceLock::new());
    let (sender, collected) = mpsc::channel();
    let sender = Mutex::new(sender);
    let driver = Arc::clone(&slot);
    let kinds = [
        Kind::source(&DRIVER, move |_| Ok(Box::new(Driver(Arc::clone(&driver)))))
            .simulated_as_it_is(),
        Kind::sink(&COLLECT, move |_| Ok(Box::new(Collect(sender.lock().unwrap().clone()))))
            .simulated_as_it_is(),
        Kind::operator(&PAIR, |_| Ok(Box::new(Pair::default()))),
        Kind::new(&MIRROR, Form::Collection(mirror)),
    ];
    let plan =
        compile("test.toml", &text, &[], &Registry::new(kinds)).unwrap_or_else(|e| panic!("{e}"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let running = start(plan, &Roles::default(), &clock).unwrap();
    let injector = Arc::clone(slot.get().unwrap());
    Rig { running, injector, collected }
}

impl Rig {
    /// Sends records in batches on an output port of the driver.
    fn send(&self, port: usize, numbers: std::ops::Range<u64>) {
        for number in numbers.clone().step_by(3) {
            let batch = (number..(number + 3).min(numbers.end)).map(record).collect();
            self.injector.send(0, port, batch);
        }
    }

    /// So many that were collected, in their order.
    fn take(&self, count: usize) -> Vec<u64> {
        let next = || self.collected.recv_timeout(Duration::from_secs(10));
        (0..count).map(|_| next().expect("another record")).collect()
    }

    fn stop(self) {
        self.running.stop();
        assert_eq!(self.collected.try_iter().count(), 0, "each exactly once");
    }
}

fn record(number: u64) -> Record {
    let conversation_type = ConversationType::Group;
    let stats = FanoutStats {
        conversation_type,
        direct: true,
        recipients: number as u32,
        bytes: 0,
        cost_ms: 0,
    };
    Record::FanoutStats(stats)
}

fn number_of(record: &Record) -> u64 {
    let Record::FanoutStats(stats) = record else { panic!("unexpected {record:?}") };
    u64::from(stats.recipients)
}

#[test]
fn an_epoch_meets_itself_behind_every_collection() {
    // a and its mirror meet in b; what passed b and its mirror meet in c.
    let rig = rig(
        "[operators.a]\nkind = \"pair\"\ninputs = [\"driver\"]\n\
         [operators.m1]\nkind = \"mirror\"\ninputs = [\"a.alone\"]\n\
         [operators.b]\nkind = \"pair\"\ninputs = { records = [\"a.alone\"], side = [\"m1\"] }\n\
         [operators.m2]\nkind = \"mirror\"\ninputs = [\"b\"]\n\
         [operators.c]\nkind = \"pair\"\ninputs = { records = [\"b\"], side = [\"m2\"] }",
        "\"c\"",
    );
    rig.send(0, 0..1_000);
    assert_eq!(rig.take(1_000), (0..1_000).collect::<Vec<_>>());
    rig.stop();
}

#[test]
fn epochs_that_touch_no_collection_do_not_wait_for_one() {
    let rig = rig(
        "[operators.m]\nkind = \"mirror\"\ninputs = [\"driver\"]\n\
         [operators.met]\nkind = \"pair\"\ninputs = { records = [\"driver\"], side = [\"m\"] }\n\
         [operators.others]\nkind = \"pair\"\ninputs = [\"driver.others\"]",
        "\"met\", \"others.alone\"",
    );
    // Before anything, between and after what the collection takes.
    for round in 0..50 {
        let from = round * 100;
        rig.send(1, from..from + 10);
        assert_eq!(rig.take(10), (from..from + 10).collect::<Vec<_>>());
        rig.send(0, from + 10..from + 20);
        assert_eq!(rig.take(10), (from + 10..from + 20).collect::<Vec<_>>());
        rig.send(0, from + 20..from + 30);
        rig.send(1, from + 30..from + 40);
        let mut both = rig.take(20);
        both.sort_unstable();
        assert_eq!(both, (from + 20..from + 40).collect::<Vec<_>>());
    }
    rig.stop();
}
