//! Puts the current value of a table beside each record of a stream.
//!
//! A table row takes the place of the row before it with the same key; what takes something back removes
//! it. A record meets the table as it is when it comes; a later row sends nothing again. State is bounded
//! by the rows of the table.

use std::sync::Arc;

use imflow_kind::fields::Slot;
use imflow_kind::{
    ANY, Description, Family, Inference, Key, Limit, Mistake, Operator, OperatorContext, Opt,
    OptType, Out, Port, Shape, State, Time,
};
use imflow_proto::record::{Row, Scalar, Schema};
use imflow_proto::{Record, RecordType};
use rapidhash::RapidHashMap;

use crate::errors::{self, ERRORS, Errors};
use crate::expression::{Expression, Fault, no_field};
use crate::fields::{self, Fields, at_text};
use crate::groups::{By, GroupKey};
use crate::tally::takes_back;
use crate::typed::{self, Typed, mistake};

/// `stream: any`, `table: any` → `joined: Row`, `unmatched` of the type of `stream`, `errors: Row`
///
/// Errors: an expression without a value, a full table. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "join",
    family: Family::Operator,
    summary: "puts the current value of a table beside each record of a stream",
    doc: "`on` names the fields by which they meet: `\"conversationId\"` where both call it so, else \
          `\"senderId = userId\"`, the stream's name first. The last row of the table with the same values counts; \
          an offline event, a grant that ends and a retracted row remove it. What leaves on `joined` holds the \
          fields of the stream that `keep` names (default: all) and those that `add` makes from expressions over \
          the table's fields. A record without a row leaves on `unmatched` as it came.\n\nIn one epoch the table \
          comes before the stream. With `on` containing the `conversationId` of both, the node runs where the \
          conversation is; else in the global stage.",
    key: Key::Grouped("on"),
    state: State::Volatile,
    inputs: &[
        Port::of("stream", ANY, "records of any type"),
        Port::of("table", ANY, "records of any type, each the current value of its key"),
    ],
    outputs: &[
        Port::of("joined", &[RecordType::Row], "records that have a row in the table"),
        Port::of("unmatched", ANY, "the others, as they came"),
        ERRORS,
    ],
    options: &[
        Opt::required(
            "on",
            OptType::Texts,
            "fields by which they meet, e.g. `[\"senderId = userId\"]`",
        )
        .shaping_state(),
        Opt::new("keep", OptType::Texts, "", "fields of the stream that leave; default: all"),
        Opt::required(
            "add",
            OptType::Expressions,
            "fields from the table, e.g. `{ role = \"role\" }`",
        ),
        Opt::new("rows", OptType::Integer(1, 10_000_000), "100000", "the most rows of the table"),
    ],
    limits: &[Limit {
        what: "rows of the table",
        bound: "rows",
        policy: "rows with further keys are not taken; a row on `errors` says so",
    }],
    example: r#"[operators.with_role]
kind = "join"
inputs = { stream = ["store.committed"], table = ["grants"] }
on = ["conversationId", "senderId = userId"]
add = { role = "role" }
"#,
    also: &["enrich", "lookup"],
    ..Description::EMPTY
};

const STREAM: usize = 0;
const TABLE: usize = 1;

const JOINED: usize = 0;
const UNMATCHED: usize = 1;
const FAULTS: usize = 2;

pub(crate) struct Join {
    stream_key: By,
    table_key: By,
    keep: Vec<Slot>,
    add: Vec<(Arc<str>, Expression)>,
    schema: Arc<Schema>,
    limit: usize,
}

impl Typed for Join {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let (stream, table) = (typed::input(node, STREAM)?, typed::input(node, TABLE)?);
        let (stream_key, table_key) = keys(stream, table, node.options.texts("on"))?;
        let keep = match node.options.texts("keep") {
            [] => fields::all(stream),
            names => fields::find("keep", stream, names)?,
        };
        let add = fields::compile("add", table, node.options.entries("add"))?;
        if add.is_empty() {
            return Err(vec![mistake(
                "add",
                "nothing is added; to keep only what is in the table, add one of its fields",
            )]);
        }
        let twice = add.iter().filter(|(name, _)| keep.iter().any(|(kept, _)| kept == name));
        let twice: Vec<_> = twice
            .map(|(name, _)| {
                at_text(
                    "add",
                    name,
                    format!("the stream has a field `{name}` already; give it another name"),
                )
            })
            .collect();
        if !twice.is_empty() {
            return Err(twice);
        }
        Ok(Self {
            stream_key,
            table_key,
            schema: Arc::new(schema(&keep, &add)),
            keep: keep.into_iter().map(|(_, slot)| slot).collect(),
            add,
            limit: node.options.integer("rows") as usize,
        })
    }

    fn outputs(&self, node: &Inference<'_>) -> Vec<Shape> {
        let mut shapes = node.all_like_input();
        shapes[JOINED] = Shape::Row(Arc::clone(&self.schema));
        shapes[FAULTS] = errors::shape();
        shapes
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        let errors = Errors::new(context.name);
        Box::new(Running { join: self, errors, rows: RapidHashMap::default(), key: Vec::new() })
    }
}

/// The keys of both sides, whose fields must have the same types.
fn keys(stream: &Shape, table: &Shape, on: &[String]) -> Result<(By, By), Vec<Mistake>> {
    if on.is_empty() {
        return Err(vec![mistake("on", "nothing is named by which stream and table meet")]);
    }
    let (mut lefts, mut rights, mut mistakes) = (Vec::new(), Vec::new(), Vec::new());
    for text in on {
        let (left, right) = text.split_once('=').unwrap_or((text, text));
        let (left, right) = (left.trim(), right.trim());
        let problem = match (stream.field(left), table.field(right)) {
            (None, _) => {
                let (message, help) = no_field(stream, left);
                Some((message, Some(help)))
            }
            (_, None) => {
                let (message, help) = no_field(table, right);
                Some((format!("in the table, {message}"), Some(help)))
            }
            (Some(a), Some(b)) if a.field_type() != b.field_type() => {
                let (a, b) = (a.field_type(), b.field_type());
                let message = format!(
                    "`{left}` is of type {a} in the stream and `{right}` of type {b} in the table"
                );
                Some((message, None))
            }
            _ => None,
        };
        mistakes.extend(
            problem.map(|(message, help)| Mistake { help, ..at_text("on", text, message) }),
        );
        lefts.push(left.to_owned());
        rights.push(right.to_owned());
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok((By::compile("on", stream, &lefts)?, By::compile("on", table, &rights)?))
}

fn schema(keep: &Fields, add: &[(Arc<str>, Expression)]) -> Schema {
    let kept = keep.iter().map(|(name, slot)| (Arc::clone(name), slot.field_type()));
    let added = add.iter().map(|(name, field)| (Arc::clone(name), field.field_type()));
    Schema { fields: kept.chain(added).collect() }
}

struct Running {
    join: Join,
    errors: Errors,
    /// What is added, by key.
    rows: RapidHashMap<GroupKey, Box<[Scalar]>>,
    key: Vec<u8>,
}

impl Running {
    fn set(&mut self, now: Time, record: &Record, out: &mut Out) {
        self.join.table_key.write_key(record, &mut self.key);
        if takes_back(record) {
            self.rows.remove(&*self.key);
            return;
        }
        if self.rows.len() >= self.join.limit && !self.rows.contains_key(&*self.key) {
            let message = format!("the table has {} rows, the most that are kept", self.join.limit);
            out.send(FAULTS, self.errors.of_record(now, "rows", message, record));
            return;
        }
        match self.added(record) {
            Ok(row) => {
                self.rows.insert(self.key.as_slice().into(), row);
            }
            Err((option, fault)) => {
                // What the row said before holds no more.
                self.rows.remove(&*self.key);
                out.send(FAULTS, self.errors.of_record(now, &option, fault, record));
            }
        }
    }

    fn added(&self, record: &Record) -> Result<Box<[Scalar]>, (String, Fault)> {
        let value = |(name, field): &(Arc<str>, Expression)| {
            field.value(record).map_err(|fault| (format!("add.{name}"), fault))
        };
        self.join.add.iter().map(value).collect()
    }

    fn meet(&mut self, record: Record, out: &mut Out) {
        self.join.stream_key.write_key(&record, &mut self.key);
        let Some(added) = self.rows.get(&*self.key) else {
            out.send(UNMATCHED, record);
            return;
        };
        let kept = self.join.keep.iter().map(|slot| slot.value(&record));
        let slots = kept.chain(added.iter().cloned()).collect();
        let retracted = matches!(&record, Record::Row(row) if row.retracted);
        let row = Row { schema: Arc::clone(&self.join.schema), slots, retracted };
        out.send(JOINED, Record::Row(Arc::new(row)));
    }
}

impl Operator for Running {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            if port == TABLE { self.set(now, &record, out) } else { self.meet(record, out) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use imflow_kind::testing::{Driver, Node};
    use imflow_kind::{Options, Value};
    use imflow_proto::record::Grant;
    use imflow_proto::wire::Role;

    use super::*;
    use crate::testing::{Dice, committed, entries, field, grant, options, text_of, texts};

    fn given(rows: i64) -> Options {
        options([
            ("on", texts(["conversationId", "senderId = userId"])),
            ("keep", texts(["seq", "senderId"])),
            ("add", entries([("role", "role.lowerAscii()"), ("part", "100 / (mutedUntil - 7)")])),
            ("rows", Value::Integer(rows)),
        ])
    }

    fn inputs() -> [Vec<Shape>; 2] {
        [RecordType::Committed, RecordType::Grant].map(|record| vec![Shape::Native(record)])
    }

    fn driver(rows: i64) -> Driver<Box<dyn Operator>> {
        Node::new(&typed::kind::<Join>(&DESCRIPTION), &given(rows), &inputs()).drive()
    }

    fn standing(muted_until: i64) -> Option<Grant> {
        Some(Grant { role: Role::Admin, muted_until, banned: false })
    }

    fn message(user: usize, seq: u64) -> Record {
        Record::Committed(committed("c1", &format!("u{user}"), "x", "hi", seq))
    }

    #[test]
    fn a_record_meets_the_row_of_the_moment() {
        for seed in 0..40 {
            let mut dice = Dice(seed);
            let (mut driver, mut model) = (driver(100), HashMap::new());
            for seq in 0..200 {
                let user = dice.below(4);
                match dice.below(4) {
                    0 => {
                        driver.send("table", [grant("c1", &format!("u{user}"), None)]);
                        model.remove(&user);
                    }
                    1 => {
                        let muted = dice.below(9) as i64;
                        driver.send("table", [grant("c1", &format!("u{user}"), standing(muted))]);
                        match muted {
                            7 => model.remove(&user),
                            muted => model.insert(user, 100 / (muted - 7)),
                        };
                    }
                    _ => {
                        driver.send("stream", [message(user, seq)]);
                        let joined = driver.take("joined");
                        let part = joined.first().map(|row| field(row, "part"));
                        assert_eq!(
                            part,
                            model.get(&user).map(|part| Scalar::Int(*part)),
                            "seed {seed}"
                        );
                        assert_eq!(driver.take("unmatched").len(), 1 - joined.len(), "seed {seed}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_full_table_and_a_row_without_a_value_are_told() {
        let mut driver = driver(1);
        driver.send("table", [grant("c1", "u1", standing(0)), grant("c1", "u2", standing(0))]);
        driver.send("table", [grant("c1", "u1", standing(7))]);
        let errors: Vec<_> =
            driver.take("errors").iter().map(|row| text_of(row, "error")).collect();
        assert!(errors[0].contains("the table has 1 rows"), "{errors:?}");
        assert_eq!(errors[1], "division by zero");
        driver.send("stream", [message(1, 1)]);
        assert_eq!(driver.take("unmatched").len(), 1);
    }

    #[test]
    fn what_leaves_and_mistakes_are_known_beforehand() {
        let kind = typed::kind::<Join>(&DESCRIPTION);
        let (inputs, good) = (inputs(), given(1));
        let shapes = Node::new(&kind, &good, &inputs).shapes().expect("no mistake");
        assert_eq!(
            shapes[0].to_string(),
            "Row(seq: int, senderId: string, role: string, part: int)"
        );
        for (option, value, part) in [
            ("on", texts(["senderId = usrId"]), "did you mean `userId`?"),
            ("on", texts(["seq = userId"]), "`seq` is of type int in the stream"),
            ("add", entries([("seq", "mutedUntil")]), "has a field `seq` already"),
            ("add", entries([("x", "seq")]), "Grant has no field `seq`"),
        ] {
            let mut bad = given(1);
            bad.set(option, value);
            let mistakes = Node::new(&kind, &bad, &inputs).shapes().expect_err(part);
            let mistake = &mistakes[0];
            let told = format!("{}; {}", mistake.message, mistake.help.as_deref().unwrap_or(""));
            assert!(told.contains(part), "{mistakes:?}");
            assert!(mistakes[0].within.is_some());
        }
    }
}
