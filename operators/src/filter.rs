//! Lets records pass that satisfy a predicate.
//!
//! Each record leaves once, in order. One for which the predicate has no value is not lost: on the message
//! path somebody waits for it, so it leaves on `dropped`, and the fault on `errors`. Keeps no state.

use imflow_kind::{
    ANY, Description, Family, Inference, Key, Mistake, Operator, OperatorContext, Opt, OptType,
    Out, Port, Shape, State, Time,
};
use imflow_proto::Record;

use crate::errors::{self, ERRORS, Errors};
use crate::expression::Predicate;
use crate::typed::{self, Typed};

/// any → `passed`, `dropped` of the same type, `errors: Row`
///
/// Errors: a predicate without a value. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "filter",
    family: Family::Operator,
    summary: "lets records pass that satisfy a predicate",
    doc: "Works on any record type. `where` is a CEL expression over its fields, such as \
          `type == \"TEXT\" && size(text) > 100`. What does not pass leaves on `dropped`, and so does a record for \
          which the expression has no value (a division by zero, an overflow, a text that is no number); the fault \
          itself leaves on `errors`. On the message path wire `dropped` into `push`, which answers the sender with \
          FORBIDDEN, or into a `reject`, which answers with a code and a text of your own; else nobody answers it, \
          and the sender meets TIMEOUT. Put such a filter before `dedup`.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[
        Port::of("passed", ANY, "records that satisfy the predicate"),
        Port::of("dropped", ANY, "the others, and those for which it has no value"),
        ERRORS,
    ],
    options: &[Opt::required(
        "where",
        OptType::Predicate,
        "what lets a record pass, e.g. `recipients > 100`",
    )
    .also(&["condition", "predicate", "expression", "if"])],
    example: r#"[operators.large]
kind = "filter"
inputs = ["fanout.stats"]
where = "recipients > 100"
"#,
    also: &["where"],
    ..Description::EMPTY
};

const PASSED: usize = 0;
const DROPPED: usize = 1;
const FAULTS: usize = 2;

pub(crate) struct Filter {
    predicate: Predicate,
}

impl Typed for Filter {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let shape = typed::input(node, 0)?;
        let predicate = Predicate::compile(shape, node.options.text("where"));
        Ok(Self { predicate: predicate.map_err(|e| vec![e.in_option("where")])? })
    }

    fn outputs(&self, node: &Inference<'_>) -> Vec<Shape> {
        let mut shapes = node.all_like_input();
        shapes[FAULTS] = errors::shape();
        shapes
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        Box::new(Running { filter: self, errors: Errors::new(context.name) })
    }
}

struct Running {
    filter: Filter,
    errors: Errors,
}

impl Operator for Running {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            match self.filter.predicate.holds(&record) {
                Ok(true) => out.send(PASSED, record),
                Ok(false) => out.send(DROPPED, record),
                Err(fault) => {
                    out.send(FAULTS, self.errors.of_record(now, "where", fault, &record));
                    out.send(DROPPED, record);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::Node;
    use imflow_kind::{Options, Value};
    use imflow_proto::RecordType;

    use super::*;
    use crate::testing::{committed, text_of};

    #[test]
    fn each_record_leaves_once_in_order_and_a_fault_drops_it_and_is_told() {
        let kind = typed::kind::<Filter>(&DESCRIPTION);
        let mut options = Options::default();
        options.set("where", Value::Text("6 / seq >= 2".into()));
        let inputs = [vec![Shape::Native(RecordType::Committed)]];
        let mut driver = Node::new(&kind, &options, &inputs).drive();
        driver.send(
            "records",
            [3, 9, 0, 1].map(|seq| Record::Committed(committed("c1", "alice", "x", "hi", seq))),
        );
        let seqs = |records: Vec<Record>| -> Vec<u64> {
            let seq = |record| match record {
                Record::Committed(committed) => committed.message.seq,
                other => panic!("{other:?}"),
            };
            records.into_iter().map(seq).collect()
        };
        assert_eq!(seqs(driver.take("passed")), [3, 1]);
        assert_eq!(seqs(driver.take("dropped")), [9, 0]);
        let errors = driver.take("errors");
        assert_eq!(errors.len(), 1);
        assert_eq!(text_of(&errors[0], "error"), "division by zero");
        assert_eq!(text_of(&errors[0], "conversationId"), "c1");
        assert!(text_of(&errors[0], "record").contains(r#""seq":0"#));
    }
}
