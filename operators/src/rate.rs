//! Watches how often records come in each group, and tells when a rate crosses a threshold.
//!
//! The rate is that of the last `over`, counted in tenths of it. A group leaves one row as its rate goes
//! above `above`, and one as it goes below `below`; between the two it keeps silent. State is bounded by
//! the groups that had a record within `over`.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::{
    ANY, Description, Family, Inference, Key, Limit, Mistake, Operator, OperatorContext, Opt,
    OptType, Out, Part, Port, Shape, State, Time,
};
use imflow_proto::record::{FieldType, Row, Scalar, Schema};
use imflow_proto::{Record, RecordType};
use rapidhash::RapidHashMap;

use crate::errors::{self, ERRORS, Errors};
use crate::groups::{BY, By, GroupKey};
use crate::tally::{Counted, LocalTally, Tally, told};
use crate::typed::{self, Typed, mistake};

const HOUR: u64 = 3_600_000;
/// The parts of `over` that come and go as a whole.
const PARTS: u64 = 10;
const MOST: f64 = 1e12;

/// any → `crossings: Row`, `errors: Row`
///
/// Errors: too many groups. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "rate",
    family: Family::Operator,
    summary: "tells when a group's records a second go above or below a threshold",
    doc: "A row leaves when the rate of a group, in records a second over the last `over`, rises above `above` \
          (`above = true` in the row), and when it falls below `below` after that (`above = false`). With `below` \
          less than `above` a rate that trembles between them makes no rows. A row holds the fields of `by`, `rate`, \
          `above` and `at`. Rises are told at once, falls within a tenth of `over`; where the node is split over \
          workers, both within a fifth. Retracted rows are not counted.\n\nA burst of one sender: `by = \
          [\"senderId\"]`. That a conversation fell silent is better told by a `window` with a `gap`.",
    key: Key::Grouped("by"),
    state: State::Volatile,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[Port::of("crossings", &[RecordType::Row], "a rate went over a threshold"), ERRORS],
    options: &[
        BY,
        Opt::new(
            "over",
            OptType::Duration(100, HOUR),
            "10s",
            "the time that the rate is taken over",
        )
        .shaping_state(),
        Opt::required(
            "above",
            OptType::Number(0.0, MOST),
            "records a second that a rate must exceed",
        ),
        Opt::new(
            "below",
            OptType::Number(-1.0, MOST),
            "-1",
            "records a second that it must fall below; -1: no more than `above`",
        ),
        Opt::new(
            "groups",
            OptType::Integer(1, 10_000_000),
            "100000",
            "the most groups with a record within `over`",
        ),
    ],
    limits: &[Limit {
        what: "groups with a record within `over`",
        bound: "groups",
        policy: "records of further groups are not counted; a row on `errors` says so",
    }],
    example: r#"[operators.bursts]
kind = "rate"
inputs = ["store.committed"]
by = ["senderId"]
over = "10s"
above = 5
below = 1
"#,
    also: &["throttle", "rate_limit"],
    ..Description::EMPTY
};

const CROSSINGS: usize = 0;
const FAULTS: usize = 1;

#[derive(Clone, Copy)]
struct Thresholds {
    above: f64,
    below: Option<f64>,
}

impl Thresholds {
    fn is_above(self, rate: f64, was_above: bool) -> bool {
        match self.below {
            Some(below) if was_above => rate >= below,
            _ => rate > self.above,
        }
    }
}

pub(crate) struct Rate {
    by: By,
    schema: Arc<Schema>,
    over_ms: u64,
    thresholds: Thresholds,
    limit: usize,
}

impl Typed for Rate {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let by = By::compile("by", typed::input(node, 0)?, node.options.texts("by"))?;
        let own = [("rate", FieldType::Double), ("above", FieldType::Bool), ("at", FieldType::Int)];
        let own = own.map(|(name, kind)| (Arc::from(name), kind));
        if let Some((name, _)) = by.schema().find(|(name, _)| own.iter().any(|(o, _)| o == name)) {
            return Err(vec![mistake(
                "by",
                format!("every row has a field `{name}` already; rename it with a `map`"),
            )]);
        }
        let (above, below) = (node.options.number("above"), node.options.number("below"));
        if below > above {
            let message =
                format!("{below} is more than `above`, which is {above}: a rate could be both");
            return Err(vec![mistake("below", message)]);
        }
        Ok(Self {
            schema: Arc::new(Schema { fields: by.schema().chain(own).collect() }),
            by,
            over_ms: node.options.duration("over").as_millis() as u64,
            thresholds: Thresholds { above, below: (below >= 0.0).then_some(below) },
            limit: node.options.integer("groups") as usize,
        })
    }

    fn outputs(&self, _node: &Inference<'_>) -> Vec<Shape> {
        vec![Shape::Row(Arc::clone(&self.schema)), errors::shape()]
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        let Self { by, schema, over_ms, thresholds, limit } = self;
        let part_ms = over_ms / PARTS;
        let tally = Tally::new(by, part_ms, limit, 0);
        let rates = Rates {
            schema,
            over_ms,
            part_ms,
            thresholds,
            limit,
            errors: Errors::new(context.name),
            groups: RapidHashMap::default(),
            leaving: BTreeMap::new(),
        };
        match context.part {
            Part::Whole => Box::new(Whole { tally, rates }),
            Part::Local => Box::new(LocalTally(tally)),
            Part::Merge => Box::new(Merge(rates)),
        }
    }
}

struct Group {
    values: Arc<[Scalar]>,
    /// Records within `over`, and those of each part of it.
    total: i64,
    parts: [i64; PARTS as usize],
    is_above: bool,
}

/// The rates of all groups.
struct Rates {
    schema: Arc<Schema>,
    over_ms: u64,
    part_ms: u64,
    thresholds: Thresholds,
    limit: usize,
    errors: Errors,
    groups: RapidHashMap<GroupKey, Group>,
    /// By number of the part: the groups that had records in it.
    leaving: BTreeMap<u64, Vec<GroupKey>>,
}

impl Rates {
    fn add(&mut self, now: Time, counted: &Counted, out: &mut Out) {
        let part = now.ms() / self.part_ms;
        let mut refused = counted.uncounted;
        // The same order in every run.
        let mut groups: Vec<_> =
            counted.groups.iter().filter(|(_, (_, count))| *count > 0).collect();
        groups.sort_unstable_by_key(|(key, _)| *key);
        for (key, (values, count)) in groups {
            if self.groups.len() >= self.limit && !self.groups.contains_key(key) {
                refused += count.unsigned_abs();
                continue;
            }
            let group = self.groups.entry(Arc::clone(key)).or_insert_with(|| Group {
                values: Arc::clone(values),
                total: 0,
                parts: [0; PARTS as usize],
                is_above: false,
            });
            let slot = &mut group.parts[(part % PARTS) as usize];
            if *slot == 0 {
                self.leaving.entry(part).or_default().push(Arc::clone(key));
            }
            *slot += count;
            group.total += count;
            self.judge(now, key, out);
        }
        if refused > 0 {
            let message = format!(
                "there are {} groups, the most that are kept; {refused} records of others were not counted",
                self.limit
            );
            out.send(FAULTS, self.errors.of_node(now, "groups", message));
        }
    }

    /// When the oldest part leaves `over`.
    fn next_due(&self) -> Option<u64> {
        self.leaving.keys().next().map(|part| (part + PARTS) * self.part_ms)
    }

    /// Takes out the parts that are no more within `over`.
    fn expire(&mut self, now: Time, out: &mut Out) {
        while self.next_due().is_some_and(|due| due <= now.ms()) {
            let Some((part, keys)) = self.leaving.pop_first() else { return };
            for key in keys {
                let Some(group) = self.groups.get_mut(&key) else { continue };
                group.total -= std::mem::take(&mut group.parts[(part % PARTS) as usize]);
                self.judge(now, &key, out);
                if self.groups.get(&key).is_some_and(|group| group.total == 0) {
                    self.groups.remove(&key);
                }
            }
        }
    }

    fn judge(&mut self, now: Time, key: &GroupKey, out: &mut Out) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let rate = group.total as f64 * 1_000.0 / self.over_ms as f64;
        let is_above = self.thresholds.is_above(rate, group.is_above) && group.total > 0;
        if std::mem::replace(&mut group.is_above, is_above) == is_above {
            return;
        }
        let own = [Scalar::Double(rate), Scalar::Bool(is_above), Scalar::Int(now.ms() as i64)];
        let slots = group.values.iter().cloned().chain(own).collect();
        let row = Row { schema: Arc::clone(&self.schema), slots, retracted: false };
        out.send(CROSSINGS, Record::Row(Arc::new(row)));
    }
}

struct Whole {
    tally: Tally,
    rates: Rates,
}

impl Operator for Whole {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        self.rates.expire(now, out);
        self.tally.add(now, records);
        let counted = self.tally.take();
        self.rates.add(now, &counted, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.rates.next_due().map(Time::from_ms)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        self.rates.expire(now, out);
    }
}

struct Merge(Rates);

impl Operator for Merge {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        self.0.expire(now, out);
        records.drain(..).for_each(|record| self.0.add(now, told("rate", &record), out));
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.next_due().map(Time::from_ms)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        self.0.expire(now, out);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use imflow_kind::testing::{Driver, Node};
    use imflow_kind::{Options, Value};

    use super::*;
    use crate::testing::{Dice, committed, field, options, texts};

    fn given(groups: i64) -> Options {
        options([
            ("by", texts(["senderId"])),
            ("over", Value::Duration(Duration::from_secs(10))),
            ("above", Value::Number(1.0)),
            ("below", Value::Number(0.3)),
            ("groups", Value::Integer(groups)),
        ])
    }

    fn driver(groups: i64) -> Driver<Box<dyn Operator>> {
        let kind = typed::kind::<Rate>(&DESCRIPTION).splitting();
        let inputs = [vec![Shape::Native(RecordType::Committed)]];
        Node::new(&kind, &given(groups), &inputs).drive()
    }

    fn message(sender: &str) -> Record {
        Record::Committed(committed("c1", sender, "x", "hi", 1))
    }

    fn crossings(driver: &mut Driver<Box<dyn Operator>>) -> Vec<Scalar> {
        driver.take("crossings").iter().map(|row| field(row, "above")).collect()
    }

    #[test]
    fn a_burst_is_told_as_it_rises_and_as_it_falls_and_not_between() {
        let mut driver = driver(10);
        driver.send("records", (0..10).map(|_| message("alice")));
        assert_eq!(crossings(&mut driver), [], "one a second is not above it");
        driver.send("records", [message("alice"), message("bob")]);
        assert_eq!(crossings(&mut driver), [Scalar::Bool(true)]);
        driver.pass(5_000).send("records", (0..4).map(|_| message("alice")));
        assert_eq!(crossings(&mut driver), []);
        driver.pass(5_000);
        assert_eq!(crossings(&mut driver), [], "0.4 a second are not below 0.3");
        driver.pass(5_000);
        assert_eq!(crossings(&mut driver), [Scalar::Bool(false)]);
        assert_eq!(driver.operator.next_deadline(), None, "silent groups are forgotten");
    }

    #[test]
    fn rates_are_those_of_a_naive_model() {
        for seed in 0..40 {
            let mut dice = Dice(seed);
            let mut driver = driver(10);
            let (mut sent, mut was_above) = (Vec::<u64>::new(), false);
            for _ in 0..200 {
                let (count, ms) = (dice.below(4), [10, 300, 2_000][dice.below(3)]);
                driver.send("records", (0..count).map(|_| message("alice")));
                let now = driver.now().ms();
                sent.extend(std::iter::repeat_n(now, count));
                let mut expected = Vec::new();
                let mut judge = |at: u64, sent: &[u64]| {
                    let within = sent.iter().filter(|s| **s / 1_000 + 10 > at / 1_000).count();
                    let rate = within as f64 / 10.0;
                    let above = if was_above { rate >= 0.3 } else { rate > 1.0 };
                    if above != was_above {
                        expected.push(Scalar::Bool(above));
                    }
                    was_above = above;
                };
                judge(now, &sent);
                driver.pass(ms);
                (now / 1_000 + 1..=(now + ms) / 1_000).for_each(|s| judge(s * 1_000, &sent));
                assert_eq!(crossings(&mut driver), expected, "seed {seed}");
            }
        }
    }
}
