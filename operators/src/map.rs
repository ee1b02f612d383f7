//! Makes a row of each record: fields that it keeps, and new ones from expressions.
//!
//! One row for each record, in order. A record for which an expression has no value makes none; it leaves
//! as an error. Keeps no state.

use std::sync::Arc;

use imflow_kind::fields::Slot;
use imflow_kind::{
    ANY, Description, Family, Inference, Key, Mistake, Operator, OperatorContext, Opt, OptType,
    Out, Port, Shape, State, Time,
};
use imflow_proto::record::{Row, Schema};
use imflow_proto::{Record, RecordType};

use crate::errors::{self, ERRORS, Errors};
use crate::expression::{Expression, Fault};
use crate::fields::{self, Fields};
use crate::typed::{self, Typed, mistake};

/// any → `rows: Row`, `errors: Row`
///
/// Errors: an expression without a value. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "map",
    family: Family::Operator,
    summary: "makes a row of each record: kept fields and new ones",
    doc: "The row holds the fields that `keep` names (`[\"*\"]`: all of them), without those that `drop` names, and \
          then those that `set` makes from expressions. A field that `set` makes takes the place of a kept one of \
          the same name. A record for which an expression has no value leaves as a row on `errors` and nowhere \
          else.\n\nA row answers nobody: on the message path `map` can only look on, beside the wire that goes on to \
          the log.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[Port::of("rows", &[RecordType::Row], "one row for each record"), ERRORS],
    options: &[
        Opt::new(
            "keep",
            OptType::Texts,
            "",
            "fields of the record that the row keeps, e.g. `[\"seq\"]`, or `[\"*\"]`",
        ),
        Opt::new(
            "drop",
            OptType::Texts,
            "",
            "fields that `keep = [\"*\"]` leaves out, e.g. `[\"text\"]`",
        ),
        Opt::new(
            "set",
            OptType::Expressions,
            "",
            "new fields, e.g. `{ long = \"size(text) > 1000\" }`",
        )
        .also(&["source", "mapping", "fields"]),
    ],
    example: r#"[operators.sizes]
kind = "map"
inputs = ["store.committed"]
keep = ["conversationId", "senderId"]
set = { length = "size(text)", media = "type != 'TEXT'" }
"#,
    also: &["remap", "transform", "mapping", "mutate", "project"],
    ..Description::EMPTY
};

const ROWS: usize = 0;
const FAULTS: usize = 1;

/// Where a slot of the row comes from.
enum Value {
    Kept(Slot),
    Made(Arc<str>, Expression),
}

pub(crate) struct Map {
    schema: Arc<Schema>,
    values: Vec<Value>,
}

impl Typed for Map {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let shape = typed::input(node, 0)?;
        let (keep, drop) = (node.options.texts("keep"), node.options.texts("drop"));
        let set = node.options.entries("set");
        if keep.is_empty() && set.is_empty() {
            let message = "the row would be empty: name fields in `keep`, or make some in `set`";
            return Err(vec![mistake("set", message)]);
        }
        let mut mistakes = Vec::new();
        let kept = kept(shape, keep, drop).unwrap_or_else(|found| {
            mistakes.extend(found);
            Fields::default()
        });
        let made = fields::compile("set", shape, set).unwrap_or_else(|found| {
            mistakes.extend(found);
            Vec::new()
        });
        if mistakes.is_empty() { Ok(Self::of(kept, made)) } else { Err(mistakes) }
    }

    fn outputs(&self, _node: &Inference<'_>) -> Vec<Shape> {
        vec![Shape::Row(Arc::clone(&self.schema)), errors::shape()]
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        Box::new(Running { map: self, errors: Errors::new(context.name) })
    }
}

impl Map {
    fn of(kept: Fields, made: Vec<(Arc<str>, Expression)>) -> Self {
        let (mut schema, mut values) = (Schema::default(), Vec::new());
        let overridden = |name: &str| made.iter().any(|(other, _)| **other == *name);
        for (name, slot) in kept.into_iter().filter(|(name, _)| !overridden(name)) {
            schema.fields.push((name, slot.field_type()));
            values.push(Value::Kept(slot));
        }
        for (name, expression) in made {
            schema.fields.push((Arc::clone(&name), expression.field_type()));
            values.push(Value::Made(name, expression));
        }
        Self { schema: Arc::new(schema), values }
    }

    fn row(&self, record: &Record) -> Result<Row, (&str, Fault)> {
        let mut slots = Vec::with_capacity(self.values.len());
        for each in &self.values {
            match each {
                Value::Kept(slot) => slots.push(slot.value(record)),
                Value::Made(name, expression) => {
                    slots.push(expression.value(record).map_err(|fault| (&**name, fault))?);
                }
            }
        }
        let retracted = matches!(record, Record::Row(row) if row.retracted);
        Ok(Row { schema: Arc::clone(&self.schema), slots: slots.into(), retracted })
    }
}

/// The fields that the row keeps.
fn kept(shape: &Shape, keep: &[String], drop: &[String]) -> Result<Fields, Vec<Mistake>> {
    let mut kept = match keep {
        [all] if all == "*" => fields::all(shape),
        names => fields::find("keep", shape, names)?,
    };
    for (name, _) in fields::find("drop", shape, drop)? {
        let before = kept.len();
        kept.retain(|(other, _)| *other != name);
        if kept.len() == before {
            let message = format!("`{name}` is not kept, so it cannot be dropped");
            return Err(vec![fields::at_text("drop", &name, message)]);
        }
    }
    Ok(kept)
}

struct Running {
    map: Map,
    errors: Errors,
}

impl Operator for Running {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            match self.map.row(&record) {
                Ok(row) => out.send(ROWS, Record::Row(Arc::new(row))),
                Err((field, fault)) => {
                    let option = format!("set.{field}");
                    out.send(FAULTS, self.errors.of_record(now, &option, fault, &record));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::Node;
    use imflow_proto::record::Scalar;

    use super::*;
    use crate::testing::{committed, entries, field, options, text_of, texts};

    fn message(seq: u64) -> Record {
        Record::Committed(committed("c1", "alice", "x", "hi", seq))
    }

    #[test]
    fn a_row_holds_what_is_kept_then_what_is_made_and_a_fault_makes_an_error_only() {
        let kind = typed::kind::<Map>(&DESCRIPTION);
        let options = options([
            ("keep", texts(["seq", "text"])),
            ("drop", texts([])),
            (
                "set",
                entries([
                    ("text", "upper + text"),
                    ("part", "12 / seq"),
                    ("half", "double(seq) / 2.0"),
                ]),
            ),
        ]);
        let inputs = [vec![Shape::Native(RecordType::Committed)]];
        let mistakes =
            Node::new(&kind, &options, &inputs).shapes().expect_err("there is no `upper`");
        assert_eq!(mistakes.len(), 1);
        assert_eq!((mistakes[0].within.as_deref(), mistakes[0].range.start), (Some("text"), 0));

        let options = crate::testing::options([
            ("keep", texts(["seq", "text"])),
            ("drop", texts([])),
            (
                "set",
                entries([
                    ("text", "'> ' + text"),
                    ("part", "12 / seq"),
                    ("half", "double(seq) / 2.0"),
                ]),
            ),
        ]);
        let mut driver = Node::new(&kind, &options, &inputs).drive();
        driver.send("records", [message(5), message(0)]);
        let rows = driver.take("rows");
        assert_eq!(rows.len(), 1);
        let Record::Row(row) = &rows[0] else { panic!("{rows:?}") };
        let names: Vec<_> = row.schema.fields.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["seq", "text", "part", "half"]);
        assert_eq!(text_of(&rows[0], "text"), "> hi");
        assert_eq!(field(&rows[0], "part"), Scalar::Int(2));
        assert_eq!(field(&rows[0], "half"), Scalar::Double(2.5));
        let errors = driver.take("errors");
        assert_eq!(text_of(&errors[0], "option"), "set.part");
    }

    #[test]
    fn a_star_keeps_all_but_what_is_dropped() {
        let shape = Shape::Native(RecordType::Committed);
        let names = |keep: &[&str], drop: &[&str]| -> Vec<String> {
            let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
            let kept = kept(&shape, &owned(keep), &owned(drop)).expect("all are fields");
            kept.into_iter().map(|(name, _)| name.to_string()).collect()
        };
        assert!(!names(&["*"], &["text"]).contains(&"text".to_owned()));
        assert_eq!(names(&["*"], &["text"]).len() + 1, shape.fields().len());
        let mistakes = kept(&shape, &["*".into()], &["txt".into()]).expect_err("no such field");
        assert_eq!(mistakes[0].help.as_deref(), Some("did you mean `text`?"), "{mistakes:?}");
    }
}
