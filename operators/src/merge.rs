//! Brings several streams together.
//!
//! Streams of one shape stay what they are. Streams that differ meet as rows of the fields that they have
//! in common. Keeps no state; what comes in leaves at once, each stream in its own order.

use std::sync::Arc;

use imflow_kind::{
    ANY, Description, Family, Inference, Key, Mistake, Operator, OperatorContext, Opt, OptType,
    Out, Port, Shape, State, Time,
};
use imflow_proto::Record;
use imflow_proto::record::{Row, Schema};

use crate::fields::{self, Fields};
use crate::typed::{self, Typed, mistake};

/// any, several → `merged`: of the same type, or `Row` of common fields
///
/// Errors: none. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "merge",
    family: Family::Operator,
    summary: "brings several streams together",
    doc: "Streams that carry the same leave as they came. Streams that differ need `fields`: names of fields that \
          each of them has, of the same type in all; what leaves are rows of these. A row answers nobody, so on the \
          message path only streams of one type can be merged.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "records of any types").mixed()],
    outputs: &[Port::of("merged", ANY, "what came in, or rows of `fields`")],
    options: &[Opt::new(
        "fields",
        OptType::Texts,
        "",
        "fields that all inputs have, e.g. `[\"conversationId\"]`; empty: the inputs carry the same",
    )],
    example: r#"[operators.refused]
kind = "merge"
inputs = ["valid.rejected", "allowed.denied"]
"#,
    also: &["union", "concat", "fan_in"],
    ..Description::EMPTY
};

pub(crate) enum Merge {
    Same(Shape),
    Common(Arc<Schema>, Vec<(Shape, Fields)>),
}

impl Typed for Merge {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let first = typed::input(node, 0)?;
        let names = node.options.texts("fields");
        if names.is_empty() {
            return match node.inputs[0].as_slice() {
                [_, other, ..] => {
                    let message = format!(
                        "the inputs carry {first} and {other}: name the fields that leave, as in `fields = [{}]`",
                        common(first, other)
                    );
                    Err(vec![mistake("fields", message)])
                }
                _ => Ok(Self::Same(first.clone())),
            };
        }
        let found = fields::find("fields", first, names)?;
        let schema =
            found.iter().map(|(name, slot)| (Arc::clone(name), slot.field_type())).collect();
        let schema = Arc::new(Schema { fields: schema });
        let mut ways = vec![(first.clone(), found)];
        for other in &node.inputs[0][1..] {
            ways.push((other.clone(), same_types(&schema, other, names)?));
        }
        Ok(Self::Common(schema, ways))
    }

    fn outputs(&self, _node: &Inference<'_>) -> Vec<Shape> {
        match self {
            Self::Same(shape) => vec![shape.clone()],
            Self::Common(schema, _) => vec![Shape::Row(Arc::clone(schema))],
        }
    }

    fn operator(self, _context: &OperatorContext<'_>) -> Box<dyn Operator> {
        Box::new(self)
    }
}

/// The fields of `shape`, which must have the types of `schema`.
fn same_types(schema: &Schema, shape: &Shape, names: &[String]) -> Result<Fields, Vec<Mistake>> {
    let found = fields::find("fields", shape, names)?;
    let wanted = schema.fields.iter().zip(&found);
    let differing = wanted.filter(|((_, wanted), (_, slot))| *wanted != slot.field_type());
    let mistakes: Vec<_> = differing
        .map(|((name, wanted), (_, slot))| {
            let found = slot.field_type();
            let message =
                format!("`{name}` is a {wanted} in the first input and a {found} in {shape}");
            fields::at_text("fields", name, message)
        })
        .collect();
    if mistakes.is_empty() { Ok(found) } else { Err(mistakes) }
}

/// The fields that two shapes have in common, as a list of the file would have them.
fn common(first: &Shape, other: &Shape) -> String {
    let same = |(name, slot): &(&str, imflow_kind::fields::Slot)| {
        other.field(name).is_some_and(|found| found.field_type() == slot.field_type())
    };
    let names = first.fields().into_iter().filter(same).map(|(name, _)| format!("\"{name}\""));
    names.collect::<Vec<_>>().join(", ")
}

impl Operator for Merge {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        match self {
            Self::Same(_) => out.port(0).append(records),
            Self::Common(schema, ways) => {
                out.port(0).extend(records.drain(..).map(|record| row(schema, ways, &record)));
            }
        }
    }
}

fn row(schema: &Arc<Schema>, ways: &[(Shape, Fields)], record: &Record) -> Record {
    let carries = |shape: &Shape| match (shape, record) {
        (Shape::Row(schema), Record::Row(row)) => {
            Arc::ptr_eq(schema, &row.schema) || **schema == *row.schema
        }
        (shape, record) => shape.record_type() == record.record_type(),
    };
    let Some((_, fields)) = ways.iter().find(|(shape, _)| carries(shape)) else {
        crate::misrouted("merge", record);
    };
    let slots = fields.iter().map(|(_, slot)| slot.value(record)).collect();
    let retracted = matches!(record, Record::Row(row) if row.retracted);
    Record::Row(Arc::new(Row { schema: Arc::clone(schema), slots, retracted }))
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::Node;
    use imflow_proto::RecordType;

    use super::*;
    use crate::testing::{Sender, committed, options, text_of, texts};

    #[test]
    fn streams_that_differ_meet_in_the_fields_that_they_share() {
        let kind = typed::kind::<Merge>(&DESCRIPTION);
        let inputs =
            [vec![Shape::Native(RecordType::Committed), Shape::Native(RecordType::Submission)]];
        let none = options([("fields", texts([]))]);
        let mistakes = Node::new(&kind, &none, &inputs).shapes().expect_err("they differ");
        assert!(
            mistakes[0].message.contains("\"conversationId\", \"clientMsgId\""),
            "{mistakes:?}"
        );
        let unknown = options([("fields", texts(["seq"]))]);
        assert!(Node::new(&kind, &unknown, &inputs).shapes().is_err(), "a Submission has no seq");

        let shared = options([("fields", texts(["senderId", "text"]))]);
        let mut driver = Node::new(&kind, &shared, &inputs).drive();
        let message = Record::Committed(committed("c1", "alice", "x", "hi", 1));
        driver.send("records", [message, Sender::new("bob", "phone").send("c1", "y", "ho")]);
        let rows = driver.take("merged");
        let senders: Vec<_> = rows.iter().map(|row| text_of(row, "senderId")).collect();
        assert_eq!(senders, ["alice", "bob"]);
    }

    #[test]
    fn streams_that_carry_the_same_stay_what_they_are() {
        let kind = typed::kind::<Merge>(&DESCRIPTION);
        let inputs = [vec![Shape::Native(RecordType::Committed)]];
        let options = options([("fields", texts([]))]);
        let mut driver = Node::new(&kind, &options, &inputs).drive();
        // Each wire brings a batch of its own, also within one epoch.
        for (id, seq) in [("x", 1), ("y", 2), ("z", 3)] {
            driver.send("records", [Record::Committed(committed("c1", "alice", id, "hi", seq))]);
        }
        let merged = driver.take("merged");
        assert!(merged.iter().all(|record| matches!(record, Record::Committed(_))));
        let ids: Vec<_> = merged.iter().map(|record| text_of(record, "clientMsgId")).collect();
        assert_eq!(ids, ["x", "y", "z"]);
    }
}
