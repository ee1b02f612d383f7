//! Any batching and any number of workers come to what a naive model comes to.

use std::collections::BTreeMap;
use std::time::Duration;

use imflow_kind::testing::{Driver, Node};
use imflow_kind::{Kind, Value};
use imflow_proto::record::Scalar;

use super::*;
use crate::testing::{Dice, committed, entries, field, options, text_of, texts};

const NATIVE: Shape = Shape::Native(RecordType::Committed);
const SELECT: [(&str, &str); 7] = [
    ("records", "count()"),
    ("even", "count(seq % 2 == 0)"),
    ("total", "sum(seq)"),
    ("least", "min(seq)"),
    ("mean", "double(sum(seq)) / double(count())"),
    ("users", "distinct(senderId)"),
    ("loudest", "top(senderId, 1)"),
];

fn kind() -> Kind {
    typed::kind::<Window>(&DESCRIPTION).splitting()
}

fn given(every: u64, slide: u64, gap: u64) -> Options {
    let ms = |ms| Value::Duration(Duration::from_millis(ms));
    options([
        ("every", ms(every)),
        ("slide", ms(slide)),
        ("gap", ms(gap)),
        ("by", texts(["conversationId"])),
        ("select", entries(SELECT)),
        ("groups", Value::Integer(100)),
        ("grace", ms(300)),
    ])
}

/// A message at a time, and the worker that sees it.
#[derive(Clone, Debug)]
struct Event {
    at: u64,
    worker: usize,
    conversation: usize,
    sender: usize,
    seq: u64,
}

impl Event {
    fn record(&self) -> Record {
        let (conversation, sender) =
            (format!("c{}", self.conversation), format!("u{}", self.sender));
        Record::Committed(committed(&conversation, &sender, "x", "", self.seq))
    }
}

fn events(dice: &mut Dice, workers: usize) -> Vec<Event> {
    let mut at = 1_000_000;
    let event = |_| {
        at += [0, 0, 1, 7, 60, 400, 2_500][dice.below(7)];
        let (worker, conversation, sender) = (dice.below(workers), dice.below(3), dice.below(4));
        Event { at, worker, conversation, sender, seq: dice.below(1_000) as u64 }
    };
    (0..120).map(event).collect()
}

/// What leaves, by (end, start, conversation): the fields of `SELECT` but the last.
type Results = BTreeMap<(i64, i64, String), Vec<String>>;

fn summary(of: &[&Event]) -> Vec<String> {
    let seqs: Vec<u64> = of.iter().map(|event| event.seq).collect();
    let sum: u64 = seqs.iter().sum();
    let users: std::collections::BTreeSet<_> = of.iter().map(|event| event.sender).collect();
    let times = |user: usize| of.iter().filter(|event| event.sender == user).count();
    let loudest = users.iter().rev().max_by_key(|user| times(**user)).expect("somebody speaks");
    vec![
        format!("{:?}", Scalar::Int(of.len() as i64)),
        format!("{:?}", Scalar::Int(seqs.iter().filter(|seq| *seq % 2 == 0).count() as i64)),
        format!("{:?}", Scalar::Int(sum as i64)),
        format!("{:?}", Scalar::Int(*seqs.iter().min().expect("somebody speaks") as i64)),
        format!("{:?}", Scalar::Double(sum as f64 / of.len() as f64)),
        format!("{:?}", Scalar::Int(users.len() as i64)),
        format!("{:?}", Scalar::Strings([format!("u{loudest}").into()].into())),
    ]
}

fn model(events: &[Event], cut: Cut) -> Results {
    let mut windows: BTreeMap<(u64, u64, usize), Vec<&Event>> = BTreeMap::new();
    match cut {
        Cut::Spans { every, slide } => {
            for event in events {
                let first = (event.at / slide + 1) * slide;
                for end in (first..first + every).step_by(slide as usize) {
                    windows.entry((end, end - every, event.conversation)).or_default().push(event);
                }
            }
        }
        Cut::Sessions { gap } => {
            for conversation in 0..3 {
                let of = |event: &&Event| event.conversation == conversation;
                let of: Vec<&Event> = events.iter().filter(of).collect();
                for session in of.chunk_by(|earlier, later| later.at < earlier.at + gap) {
                    let (first, last) = (session[0].at, session[session.len() - 1].at);
                    windows.insert((last + gap, first, conversation), session.to_vec());
                }
            }
        }
    }
    let row = |((end, start, conversation), events): ((u64, u64, usize), Vec<&Event>)| {
        ((end as i64, start as i64, format!("c{conversation}")), summary(&events))
    };
    windows.into_iter().map(row).collect()
}

fn results(rows: &[Record]) -> Results {
    let int = |row: &Record, name: &str| match field(row, name) {
        Scalar::Int(value) => value,
        other => panic!("{other:?}"),
    };
    let mut results = Results::new();
    for row in rows {
        let key = (int(row, "windowEnd"), int(row, "windowStart"), text_of(row, "conversationId"));
        let values = SELECT.iter().map(|(name, _)| format!("{:?}", field(row, name))).collect();
        assert!(results.insert(key, values).is_none(), "a window left twice: {row:?}");
    }
    results
}

fn pass_to(driver: &mut Driver<Box<dyn Operator>>, ms: u64) {
    let now = driver.now().ms();
    driver.pass(ms.saturating_sub(now));
}

/// Random pieces of the events of one time go in together.
fn run_whole(dice: &mut Dice, events: &[Event], options: &Options) -> Vec<Record> {
    let (kind, inputs) = (kind(), [vec![NATIVE]]);
    let mut driver = Node::new(&kind, options, &inputs).drive();
    let mut rest = events;
    while let Some(first) = rest.first() {
        pass_to(&mut driver, first.at);
        let together = rest.iter().take_while(|event| event.at == first.at).count();
        let (batch, later) = rest.split_at(1 + dice.below(together));
        driver.send("records", batch.iter().map(Event::record));
        rest = later;
    }
    driver.pass(60_000);
    assert!(driver.take("errors").is_empty());
    driver.take("rows")
}

/// Workers tell the merging part after a while of their own, shorter than the grace.
fn run_split(dice: &mut Dice, events: &[Event], options: &Options, workers: usize) -> Vec<Record> {
    let (kind, inputs) = (kind(), [vec![NATIVE]]);
    let node = Node::new(&kind, options, &inputs);
    let mut locals: Vec<_> =
        (0..workers).map(|_| node.clone().part(Part::Local, workers).drive()).collect();
    let mut merge = node.part(Part::Merge, workers).drive();
    let mut under_way: Vec<(u64, usize, Vec<Record>)> = Vec::new();
    let end = events.last().map_or(0, |event| event.at) + 60_000;
    let mut rest = events;
    let mut now = events.first().map_or(0, |event| event.at);
    while now < end {
        let next = rest.first().map_or(end, |event| event.at).min(now + 50);
        for (worker, local) in locals.iter_mut().enumerate() {
            pass_to(local, next);
            let partials = local.take("partials");
            if !partials.is_empty() {
                // What one worker sends keeps its order.
                let after =
                    under_way.iter().filter(|(_, w, _)| *w == worker).map(|(at, ..)| *at).max();
                let at = (next + dice.below(200) as u64).max(after.unwrap_or(0));
                under_way.push((at, worker, partials));
            }
        }
        let together = rest.iter().take_while(|event| event.at <= next).count();
        for event in &rest[..together] {
            locals[event.worker].send("records", [event.record()]);
        }
        rest = &rest[together..];
        for (_, _, partials) in under_way.extract_if(.., |(at, ..)| *at <= next) {
            merge.send("partials", partials);
        }
        pass_to(&mut merge, next);
        now = next.max(now + 1);
    }
    assert!(merge.take("errors").is_empty());
    merge.take("rows")
}

const CUTS: [(u64, u64, u64); 4] = [(1_000, 0, 0), (1_000, 250, 0), (60, 20, 0), (0, 0, 500)];

#[test]
fn any_batching_comes_to_what_the_model_comes_to() {
    for seed in 0..80 {
        let mut dice = Dice(seed);
        let (every, slide, gap) = CUTS[dice.below(CUTS.len())];
        let options = given(every, slide, gap);
        let cut = Cut::of(&options).expect("a good cut");
        let events = events(&mut dice, 1);
        let found = results(&run_whole(&mut dice, &events, &options));
        assert_eq!(found, model(&events, cut), "seed {seed}, {cut:?}");
    }
}

#[test]
fn any_number_of_workers_comes_to_what_the_model_comes_to() {
    for seed in 0..80 {
        let mut dice = Dice(seed);
        let workers = 1 + dice.below(4);
        let (every, slide, gap) = CUTS[dice.below(CUTS.len())];
        let options = given(every, slide, gap);
        let cut = Cut::of(&options).expect("a good cut");
        let events = events(&mut dice, workers);
        let found = results(&run_split(&mut dice, &events, &options, workers));
        assert_eq!(found, model(&events, cut), "seed {seed}, {workers} workers, {cut:?}");
    }
}

#[test]
fn a_window_waits_for_no_worker_longer_than_the_grace() {
    let (kind, inputs, options) = (kind(), [vec![NATIVE]], given(1_000, 0, 0));
    let node = Node::new(&kind, &options, &inputs);
    let mut locals = [0, 1].map(|_| node.clone().part(Part::Local, 2).drive());
    let mut merge = node.part(Part::Merge, 2).drive();
    let event = Event { at: 0, worker: 0, conversation: 1, sender: 1, seq: 1 };
    let parts = locals.each_mut().map(|local| {
        local.send("records", [event.record()]).pass(1_000);
        local.take("partials")
    });
    let [first, second] = parts;
    merge.pass(1_000).send("partials", first).pass(299);
    assert!(merge.take("rows").is_empty(), "the other worker may still tell");
    assert_eq!(merge.pass(1).take("rows").len(), 1);
    merge.send("partials", second);
    assert!(merge.take("rows").is_empty());
    assert!(text_of(&merge.take("errors")[0], "error").contains("raise `grace`"));
}

#[test]
fn a_window_leaves_as_soon_as_all_workers_have_told() {
    let (kind, inputs, options) = (kind(), [vec![NATIVE]], given(1_000, 0, 0));
    let node = Node::new(&kind, &options, &inputs);
    let mut locals = [0, 1].map(|_| node.clone().part(Part::Local, 2).drive());
    let mut merge = node.part(Part::Merge, 2).drive();
    let event = Event { at: 0, worker: 0, conversation: 1, sender: 1, seq: 1 };
    merge.pass(1_000);
    for local in &mut locals {
        local.send("records", [event.record()]).pass(1_000);
        merge.send("partials", local.take("partials"));
    }
    assert_eq!(field(&merge.take("rows")[0], "records"), Scalar::Int(2));
}

#[test]
fn groups_beyond_the_limit_and_records_without_a_value_are_told() {
    let (kind, inputs) = (kind(), [vec![NATIVE]]);
    let mut options = given(1_000, 0, 0);
    options.set("groups", Value::Integer(2)).set("select", entries([("x", "sum(6 / seq)")]));
    let mut driver = Node::new(&kind, &options, &inputs).drive();
    let event =
        |conversation, seq| Event { at: 0, worker: 0, conversation, sender: 1, seq }.record();
    driver.send("records", [event(1, 2), event(1, 0), event(2, 1), event(3, 1)]).pass(1_000);
    let sums: Vec<_> = driver.take("rows").iter().map(|row| field(row, "x")).collect();
    assert_eq!(sums, [3, 6].map(Scalar::Int));
    let errors: Vec<_> = driver.take("errors").iter().map(|row| text_of(row, "error")).collect();
    assert_eq!(errors[0], "division by zero");
    assert!(errors[1].contains("more than 2 groups"), "{errors:?}");
}

#[test]
fn quantiles_are_within_their_error() {
    let (kind, inputs) = (kind(), [vec![NATIVE]]);
    let mut options = given(1_000, 0, 0);
    options.set("select", entries([("p50", "p50(seq)"), ("p99", "p99(seq)")]));
    let mut driver = Node::new(&kind, &options, &inputs).drive();
    let event = |seq| Event { at: 0, worker: 0, conversation: 1, sender: 1, seq }.record();
    driver.send("records", (1..=1_000).map(event)).pass(1_000);
    let row = driver.take("rows").remove(0);
    for (name, value) in [("p50", 500.0), ("p99", 990.0)] {
        let Scalar::Double(found) = field(&row, name) else { panic!("{row:?}") };
        assert!((found - value).abs() <= 0.011 * value, "{name} is {found}");
    }
}

#[test]
fn mistakes_are_told_where_they_stand() {
    let (kind, inputs) = (kind(), [vec![NATIVE]]);
    let told = |(option, value): (&'static str, Value)| {
        let mut options = given(1_000, 0, 0);
        options.set(option, value);
        let mistakes = Node::new(&kind, &options, &inputs).shapes().expect_err("a mistake");
        let Mistake { option, within, range, message, help } = mistakes[0].clone();
        let told = format!("{message}; {}", help.unwrap_or_default());
        (option, within.unwrap_or_default(), range.start, told)
    };
    let ms = |ms| Value::Duration(Duration::from_millis(ms));
    let select = |source| ("select", entries([("x", source)]));
    for (change, option, within, offset, part) in [
        (("every", ms(0)), "every", "", 0, "needs a length"),
        (("gap", ms(1)), "gap", "", 0, "a session has no length"),
        (("slide", ms(300)), "slide", "", 0, "must divide"),
        (("by", texts(["sendrId"])), "by", "sendrId", 0, "did you mean `senderId`?"),
        (select("1 + sum(text)"), "select", "x", 4, "takes a number and is given a string"),
        (select("seq + count()"), "select", "x", 0, "write an aggregate such as `max(seq)`"),
        (select("cout()"), "select", "x", 0, "did you mean `count`?"),
        (select("quantile(seq, 2.0)"), "select", "x", 14, "from 0.0 to 1.0"),
        (select("sum(sq)"), "select", "x", 4, "did you mean `seq`?"),
    ] {
        let found = told(change);
        assert!(found.3.contains(part), "{found:?}");
        assert_eq!((found.0, &*found.1, found.2), (option, within, offset), "{found:?}");
    }
}
