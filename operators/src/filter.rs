//! Lets records pass that satisfy a predicate.
//!
//! The predicate is checked against the shape of the input before anything starts. A record for which
//! arithmetic has no result is dropped, like one for which the predicate is false. Keeps no state.

use imflow_kind::{
    ANY, Description, Family, Inference, Key, Mistake, Operator, OperatorContext, Opt, OptType,
    Out, Port, Shape, StartError, State, Time,
};
use imflow_proto::Record;

use crate::expression::Predicate;

/// any → `passed`, `dropped` of the same type
///
/// Errors: none. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "filter",
    family: Family::Operator,
    summary: "lets records pass that satisfy a predicate",
    doc: "Works on any record type. `where` is a CEL expression over its fields, such as \
          `type == \"TEXT\" && size(text) > 100`: comparison, `&& || !`, arithmetic, `in`, `size`, `contains`, \
          `startsWith`, `endsWith`. What does not pass leaves on `dropped`. On the message path, wire \
          `dropped` into `push`, which answers the sender with FORBIDDEN; a message that is dropped and not wired further \
          is answered by nobody, and its sender meets TIMEOUT. Put such a filter before `dedup`.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[
        Port::of("passed", ANY, "records that satisfy the predicate"),
        Port::of("dropped", ANY, "the others, and those for which it has no result"),
    ],
    options: &[Opt::required(
        "where",
        OptType::Predicate,
        "what lets a record pass, e.g. `recipients > 100`",
    )],
    provides: &[],
    example: "[operators.large]                     # what is dropped goes nowhere: wire `large.dropped` to see it\n\
              kind = \"filter\"\n\
              inputs = [\"store.committed\"]\n\
              where = \"size(text) > 1000 && senderId != 'bot'\"\n",
    ..Description::EMPTY
};

const PASSED: usize = 0;
const DROPPED: usize = 1;

pub(crate) struct Filter(Predicate);

pub(crate) fn infer(node: &Inference<'_>) -> Result<Vec<Shape>, Vec<Mistake>> {
    let Some(Some(shape)) = node.inputs.first() else { return Ok(node.all_like_input()) };
    match Predicate::compile(shape, node.options.text("where")) {
        Ok(_) => Ok(node.all_like_input()),
        Err(e) => Err(vec![Mistake {
            option: "where",
            within: None,
            offset: e.offset,
            message: e.message,
        }]),
    }
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let Some(Some(shape)) = context.inputs.first() else {
        return Err(StartError::new("a filter without an input cannot be built"));
    };
    let predicate = Predicate::compile(shape, context.options.text("where"));
    Ok(Box::new(Filter(predicate.map_err(|e| StartError::new(e.message))?)))
}

impl Operator for Filter {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let passes = self.0.holds(&record).unwrap_or(false);
            out.send(if passes { PASSED } else { DROPPED }, record);
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::drive;
    use imflow_proto::RecordType;

    use super::*;
    use crate::testing::committed;

    #[test]
    fn each_record_leaves_once_in_order_and_a_fault_drops_it() {
        let shape = Shape::Native(RecordType::Committed);
        let predicate = Predicate::compile(&shape, "6 / seq >= 2").expect("it is a predicate");
        let mut driver = drive(Filter(predicate), &DESCRIPTION);
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
    }
}
