//! Thins a stream: a share of its keys, each nth record, at most so many in a time.
//!
//! The three follow each other; each lets everything pass unless it is set. A record leaves once: on
//! `sampled` or on `dropped`. State: two numbers.

use imflow_kind::{
    ANY, Description, Family, Inference, Key, Limit, Mistake, Operator, OperatorContext, Opt,
    OptType, Out, Port, Shape, State, Time,
};
use imflow_proto::Record;

use crate::errors::{self, ERRORS, Errors};
use crate::expression::{Expression, Fault};
use crate::hash::hash_of;
use crate::typed::{self, Typed, mistake};

/// any → `sampled`, `dropped` of the same type, `errors: Row`
///
/// Errors: a key without a value. Source: SPEC T2, T4.
pub const DESCRIPTION: Description = Description {
    name: "sample",
    family: Family::Operator,
    summary: "thins a stream: a share of its keys, each nth record, at most so many in a time",
    doc: "`rate` keeps a share of the values of `by`: 0.1 with `by = \"senderId\"` keeps every record of one sender \
          in ten, always the same ones, on every node and in every replay. `every` keeps each nth record of what is \
          left. `at_most` keeps so many of those in each `per`. Each worker of the stage counts for itself. What is \
          not kept leaves on `dropped`, and so does a record for which `by` has no value; the fault leaves on \
          `errors`.",
    key: Key::Inherit,
    state: State::Volatile,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[
        Port::of("sampled", ANY, "the records that are kept"),
        Port::of("dropped", ANY, "the others"),
        ERRORS,
    ],
    options: &[
        Opt::new(
            "rate",
            OptType::Number(0.0, 1.0),
            "1",
            "the share of the values of `by` that is kept",
        ),
        Opt::new("by", OptType::Expression, "", "what `rate` draws by, e.g. `senderId`"),
        Opt::new("every", OptType::Integer(1, 1_000_000_000), "1", "keeps each nth record"),
        Opt::new(
            "at_most",
            OptType::Integer(0, 1_000_000_000),
            "0",
            "keeps so many in each `per`; 0: all",
        ),
        Opt::new(
            "per",
            OptType::Duration(1, 86_400_000),
            "1s",
            "the time that `at_most` counts in",
        ),
    ],
    limits: &[Limit {
        what: "records in a time",
        bound: "at_most",
        policy: "further ones are dropped",
    }],
    example: r#"[operators.some]
kind = "sample"
inputs = ["store.committed"]
rate = 0.01
by = "conversationId"
"#,
    ..Description::EMPTY
};

const SAMPLED: usize = 0;
const DROPPED: usize = 1;
const FAULTS: usize = 2;

pub(crate) struct Sample {
    /// Keys whose hash is below this are kept; without a draw all are.
    draw: Option<(Expression, u64)>,
    every: u64,
    at_most: u64,
    per_ms: u64,
}

impl Typed for Sample {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let shape = typed::input(node, 0)?;
        let (rate, by) = (node.options.number("rate"), node.options.text("by"));
        let draw = match (rate < 1.0, by) {
            (false, "") => None,
            (false, _) => {
                return Err(vec![mistake(
                    "by",
                    "`by` says what `rate` draws by: give a `rate` below 1",
                )]);
            }
            (true, "") => {
                let message = "a rate draws by the values of an expression: add `by`, e.g. `by = \"conversationId\"`";
                return Err(vec![mistake("rate", message)]);
            }
            (true, source) => {
                let key =
                    Expression::compile(shape, source).map_err(|e| vec![e.in_option("by")])?;
                // Rounds down, so that a rate of 0 keeps nothing.
                Some((key, (rate * 2f64.powi(64)) as u64))
            }
        };
        Ok(Self {
            draw,
            every: node.options.integer("every") as u64,
            at_most: node.options.integer("at_most") as u64,
            per_ms: node.options.duration("per").as_millis() as u64,
        })
    }

    fn outputs(&self, node: &Inference<'_>) -> Vec<Shape> {
        let mut shapes = node.all_like_input();
        shapes[FAULTS] = errors::shape();
        shapes
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        let errors = Errors::new(context.name);
        Box::new(Running { sample: self, errors, seen: 0, period: 0, kept: 0 })
    }
}

struct Running {
    sample: Sample,
    errors: Errors,
    /// Records that came through the draw.
    seen: u64,
    /// The number of the present period, and what was kept in it.
    period: u64,
    kept: u64,
}

impl Running {
    fn keeps(&mut self, now: Time, record: &Record) -> Result<bool, Fault> {
        if let Some((key, below)) = &self.sample.draw
            && hash_of(&key.value(record)?) >= *below
        {
            return Ok(false);
        }
        self.seen += 1;
        if !self.seen.is_multiple_of(self.sample.every) {
            return Ok(false);
        }
        if self.sample.at_most == 0 {
            return Ok(true);
        }
        let period = now.ms() / self.sample.per_ms;
        if period != self.period {
            (self.period, self.kept) = (period, 0);
        }
        self.kept += 1;
        Ok(self.kept <= self.sample.at_most)
    }
}

impl Operator for Running {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            match self.keeps(now, &record) {
                Ok(true) => out.send(SAMPLED, record),
                Ok(false) => out.send(DROPPED, record),
                Err(fault) => {
                    out.send(FAULTS, self.errors.of_record(now, "by", fault, &record));
                    out.send(DROPPED, record);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use imflow_kind::testing::{Driver, Node};
    use imflow_kind::{Options, Value};
    use imflow_proto::RecordType;

    use super::*;
    use crate::testing::{committed, text_of};

    fn driver(change: impl Fn(&mut Options)) -> Driver<Box<dyn Operator>> {
        let mut options = crate::testing::options([
            ("rate", Value::Number(1.0)),
            ("by", Value::Text(String::new())),
            ("every", Value::Integer(1)),
            ("at_most", Value::Integer(0)),
            ("per", Value::Duration(Duration::from_secs(1))),
        ]);
        change(&mut options);
        let kind = typed::kind::<Sample>(&DESCRIPTION);
        Node::new(&kind, &options, &[vec![Shape::Native(RecordType::Committed)]]).drive()
    }

    fn messages(count: u64) -> impl Iterator<Item = Record> {
        let sender = |n: u64| format!("user-{}", n % 1_000);
        (0..count).map(move |n| Record::Committed(committed("c1", &sender(n), "x", "hi", n)))
    }

    #[test]
    fn a_rate_keeps_all_records_of_the_same_share_of_keys() {
        let run = || {
            let mut driver = driver(|options| {
                options.set("rate", Value::Number(0.1)).set("by", Value::Text("senderId".into()));
            });
            driver.send("records", messages(5_000));
            let kept: Vec<_> =
                driver.take("sampled").iter().map(|r| text_of(r, "senderId")).collect();
            assert_eq!(kept.len() + driver.take("dropped").len(), 5_000);
            kept
        };
        let kept = run();
        assert_eq!(kept, run());
        let users: std::collections::BTreeSet<_> = kept.iter().collect();
        assert_eq!(users.len() * 5, kept.len(), "all records of a user, or none");
        assert!((60..140).contains(&users.len()), "{} of 1000 users", users.len());
    }

    #[test]
    fn every_and_at_most_thin_what_is_left() {
        let mut driver = driver(|options| {
            options.set("every", Value::Integer(3)).set("at_most", Value::Integer(2));
        });
        driver.send("records", messages(9));
        let kept: Vec<_> = driver.take("sampled").iter().map(|r| text_of(r, "senderId")).collect();
        assert_eq!(kept, ["user-2", "user-5"], "the third and the sixth");
        driver.pass(1_000).send("records", messages(3));
        assert_eq!(driver.take("sampled").len(), 1);
        assert_eq!(driver.take("dropped").len(), 9);
    }

    #[test]
    fn a_record_without_a_key_is_dropped_and_told() {
        let mut driver = driver(|options| {
            options.set("rate", Value::Number(0.999)).set("by", Value::Text("6 / seq".into()));
        });
        driver.send("records", messages(2));
        assert_eq!(driver.take("sampled").len() + driver.take("dropped").len(), 2);
        let errors = driver.take("errors");
        assert_eq!((errors.len(), text_of(&errors[0], "error")), (1, "division by zero".into()));
    }
}
