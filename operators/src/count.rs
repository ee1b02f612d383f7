//! Keeps a running count for each group and tells it when it has changed.
//!
//! A group's count leaves at most once in `every`. What takes something back (a user who goes offline, a
//! grant that ends, a row that is retracted) counts down, so a count over the present is how many there
//! are. State is bounded by the groups; idle ones are forgotten, which is told.

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

const DAY: u64 = 86_400_000;

/// any → `counts: Row`, `errors: Row`
///
/// Errors: too many groups. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "count",
    family: Family::Operator,
    summary: "a running count for each group, told when it changes",
    doc: "Each change of a group's count makes a row of the fields of `by` and `count`, at most one in `every`; it \
          takes the place of the group's row before. Records that take something back count down: offline events, \
          grants that end, retracted rows. A group without a record for `retain` is forgotten: its last row leaves \
          once more, marked as retracted, and its count begins at 0 again. Where the node is split over workers, a \
          change is told within twice `every`.",
    key: Key::Grouped("by"),
    state: State::Volatile,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[Port::of("counts", &[RecordType::Row], "the new count of a group"), ERRORS],
    options: &[
        BY,
        Opt::new(
            "every",
            OptType::Duration(10, DAY),
            "1s",
            "the least time between two rows of a group",
        ),
        Opt::new(
            "retain",
            OptType::Duration(1_000, 365 * DAY),
            "1d",
            "forgets a group that has been idle for so long",
        ),
        Opt::new("groups", OptType::Integer(1, 10_000_000), "100000", "the most groups"),
    ],
    limits: &[Limit {
        what: "groups",
        bound: "groups",
        policy: "records of further groups are not counted; a row on `errors` says so",
    }],
    example: r#"[operators.users_online]
kind = "count"
inputs = ["routes"]
"#,
    ..Description::EMPTY
};

const COUNTS: usize = 0;
const FAULTS: usize = 1;

pub(crate) struct Count {
    by: By,
    schema: Arc<Schema>,
    every_ms: u64,
    retain_ms: u64,
    limit: usize,
}

impl Typed for Count {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let by = By::compile("by", typed::input(node, 0)?, node.options.texts("by"))?;
        let mut fields: Vec<_> = by.schema().collect();
        if fields.iter().any(|(name, _)| &**name == "count") {
            return Err(vec![mistake(
                "by",
                "`count` is the name of the field that holds the count",
            )]);
        }
        fields.push(("count".into(), FieldType::Int));
        Ok(Self {
            by,
            schema: Arc::new(Schema { fields }),
            every_ms: node.options.duration("every").as_millis() as u64,
            retain_ms: node.options.duration("retain").as_millis() as u64,
            limit: node.options.integer("groups") as usize,
        })
    }

    fn outputs(&self, _node: &Inference<'_>) -> Vec<Shape> {
        vec![Shape::Row(Arc::clone(&self.schema)), errors::shape()]
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        let Self { by, schema, every_ms, retain_ms, limit } = self;
        let tally = Tally::new(by, every_ms, limit, -1);
        let totals = Totals {
            schema,
            every_ms,
            retain_ms,
            limit,
            errors: Errors::new(context.name),
            groups: RapidHashMap::default(),
            changed: Vec::new(),
            uncounted: 0,
            tell_at: None,
            sweep_at: None,
        };
        match context.part {
            Part::Whole => Box::new(Whole { tally, totals }),
            Part::Local => Box::new(LocalTally(tally)),
            Part::Merge => Box::new(Merge(totals)),
        }
    }
}

struct Total {
    values: Arc<[Scalar]>,
    count: i64,
    last_change_ms: u64,
    /// Whether it waits to be told.
    is_changed: bool,
}

/// The counts of all groups.
struct Totals {
    schema: Arc<Schema>,
    every_ms: u64,
    retain_ms: u64,
    limit: usize,
    errors: Errors,
    groups: RapidHashMap<GroupKey, Total>,
    changed: Vec<GroupKey>,
    uncounted: u64,
    tell_at: Option<u64>,
    /// When to look for idle groups.
    sweep_at: Option<u64>,
}

impl Totals {
    fn add(&mut self, now: Time, counted: &Counted) {
        self.uncounted += counted.uncounted;
        for (key, (values, change)) in &counted.groups {
            if self.groups.len() >= self.limit && !self.groups.contains_key(key) {
                self.uncounted += change.unsigned_abs();
                continue;
            }
            let total = self.groups.entry(Arc::clone(key)).or_insert_with(|| Total {
                values: Arc::clone(values),
                count: 0,
                last_change_ms: 0,
                is_changed: false,
            });
            total.count += change;
            total.last_change_ms = now.ms();
            if !std::mem::replace(&mut total.is_changed, true) {
                self.changed.push(Arc::clone(key));
            }
        }
    }

    fn tell(&mut self, now: Time, out: &mut Out) {
        // The same order in every run.
        self.changed.sort_unstable();
        for key in self.changed.drain(..) {
            let Some(total) = self.groups.get_mut(&key) else { continue };
            total.is_changed = false;
            out.send(COUNTS, row(&self.schema, total, false));
        }
        if self.uncounted > 0 {
            let message = format!(
                "there are {} groups, the most that are kept; {} records of others were not counted",
                self.limit, self.uncounted
            );
            out.send(FAULTS, self.errors.of_node(now, "groups", message));
            self.uncounted = 0;
        }
        if !self.groups.is_empty() {
            self.sweep_at.get_or_insert(now.ms() + self.retain_ms);
        }
    }

    fn forget_idle(&mut self, now: Time, out: &mut Out) {
        let idle =
            |total: &Total| total.last_change_ms + self.retain_ms <= now.ms() && !total.is_changed;
        let mut forgotten: Vec<_> = self.groups.extract_if(|_, total| idle(total)).collect();
        forgotten.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (_, total) in forgotten {
            out.send(COUNTS, row(&self.schema, &total, true));
        }
        let oldest = self.groups.values().map(|total| total.last_change_ms).min();
        // Looking at all of them costs time; not more often than in tenths of the time to keep.
        let pause = now.ms() + self.retain_ms / 10;
        self.sweep_at = oldest.map(|oldest| (oldest + self.retain_ms).max(pause));
    }
}

fn row(schema: &Arc<Schema>, total: &Total, retracted: bool) -> Record {
    let count = std::iter::once(Scalar::Int(total.count));
    let slots = total.values.iter().cloned().chain(count).collect();
    Record::Row(Arc::new(Row { schema: Arc::clone(schema), slots, retracted }))
}

struct Whole {
    tally: Tally,
    totals: Totals,
}

impl Operator for Whole {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, _out: &mut Out) {
        self.tally.add(now, records);
    }

    fn next_deadline(&self) -> Option<Time> {
        let times = [self.tally.next_due(), self.totals.sweep_at];
        times.into_iter().flatten().min().map(Time::from_ms)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        if let Some(counted) = self.tally.tell(now) {
            self.totals.add(now, &counted);
            self.totals.tell(now, out);
        }
        if self.totals.sweep_at.is_some_and(|at| at <= now.ms()) {
            self.totals.forget_idle(now, out);
        }
    }
}

struct Merge(Totals);

impl Operator for Merge {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, _out: &mut Out) {
        records.drain(..).for_each(|record| self.0.add(now, told("count", &record)));
        let every = self.0.every_ms;
        self.0.tell_at.get_or_insert((now.ms() / every + 1) * every);
    }

    fn next_deadline(&self) -> Option<Time> {
        [self.0.tell_at, self.0.sweep_at].into_iter().flatten().min().map(Time::from_ms)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        if self.0.tell_at.take_if(|at| *at <= now.ms()).is_some() {
            self.0.tell(now, out);
        }
        if self.0.sweep_at.is_some_and(|at| at <= now.ms()) {
            self.0.forget_idle(now, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use imflow_kind::testing::Node;
    use imflow_kind::{Options, Value};
    use imflow_proto::record::OnlineChange;

    use super::*;
    use crate::testing::{Dice, field, options, text_of, texts};

    fn given(by: &'static str, groups: i64) -> Options {
        options([
            ("by", texts([by])),
            ("every", Value::Duration(Duration::from_secs(1))),
            ("retain", Value::Duration(Duration::from_secs(60))),
            ("groups", Value::Integer(groups)),
        ])
    }

    fn online(user: usize, online: bool) -> Record {
        Record::Online(OnlineChange {
            user_id: format!("u{user}").into(),
            online,
            last_active_at: 0,
        })
    }

    fn count(row: &Record) -> i64 {
        match field(row, "count") {
            Scalar::Int(count) => count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_told_once_in_a_while_and_an_idle_group_is_taken_back() {
        let kind = typed::kind::<Count>(&DESCRIPTION).splitting();
        let (options, inputs) = (given("userId", 2), [vec![Shape::Native(RecordType::Online)]]);
        let mut driver = Node::new(&kind, &options, &inputs).drive();
        driver
            .send("records", [online(1, true), online(1, true), online(1, false), online(2, true)]);
        driver.send("records", [online(3, true)]).pass(1_000);
        let counts: Vec<_> = driver.take("counts").iter().map(count).collect();
        assert_eq!(counts, [1, 1]);
        assert!(text_of(&driver.take("errors")[0], "error").contains("1 records of others"));
        driver.pass(66_001);
        let taken_back = driver.take("counts");
        assert_eq!(taken_back.len(), 2);
        assert!(taken_back.iter().all(crate::tally::takes_back));
        driver.send("records", [online(1, true)]).pass(1_000);
        assert_eq!(driver.take("counts").iter().map(count).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn any_number_of_workers_comes_to_the_same_counts() {
        for seed in 0..40 {
            let mut dice = Dice(seed);
            let workers = 1 + dice.below(4);
            let kind = typed::kind::<Count>(&DESCRIPTION).splitting();
            let (options, inputs) =
                (given("userId", 100), [vec![Shape::Native(RecordType::Online)]]);
            let node = Node::new(&kind, &options, &inputs);
            let mut locals: Vec<_> =
                (0..workers).map(|_| node.clone().part(Part::Local, workers).drive()).collect();
            let mut merge = node.part(Part::Merge, workers).drive();
            let (mut model, mut found) = (BTreeMap::new(), BTreeMap::new());
            for _ in 0..60 {
                let (user, is_online) = (dice.below(3), dice.below(3) > 0);
                *model.entry(format!("u{user}")).or_insert(0) += if is_online { 1 } else { -1 };
                locals[dice.below(workers)].send("records", [online(user, is_online)]);
                let ms = [0, 3, 700][dice.below(3)];
                for local in &mut locals {
                    merge.send("partials", local.pass(ms).take("partials"));
                }
                merge.pass(ms);
                found.extend(
                    merge.take("counts").iter().map(|row| (text_of(row, "userId"), count(row))),
                );
            }
            for local in &mut locals {
                merge.send("partials", local.pass(1_000).take("partials"));
            }
            merge.pass(1_000);
            found.extend(
                merge.take("counts").iter().map(|row| (text_of(row, "userId"), count(row))),
            );
            assert_eq!(found, model, "seed {seed}, {workers} workers");
        }
    }
}
