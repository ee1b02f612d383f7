//! Lets records pass that satisfy a predicate.
//!
//! The predicate was checked against the record type of the input before anything started; here it is
//! compiled when the first record of a type comes. A record for which arithmetic has no result is dropped,
//! like one for which the predicate is false. Keeps no state.

use imflow_kind::{
    ANY, Description, Family, Key, Operator, OperatorContext, Opt, OptType, Out, Port, StartError,
    State, Time,
};
use imflow_proto::{Record, RecordType};

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
          `startsWith`, `endsWith`. What does not pass leaves on `dropped`. On the message path nobody answers a \
          message that is dropped and not wired further: its sender meets TIMEOUT. Put such a filter before `dedup`.",
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
    limits: &[],
};

const PASSED: usize = 0;
const DROPPED: usize = 1;

pub(crate) struct Filter {
    source: String,
    compiled: Option<(RecordType, Predicate)>,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    Ok(Box::new(Filter::new(context.options.text("where"))))
}

impl Operator for Filter {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let passes = self.predicate(record.record_type()).holds(&record).unwrap_or(false);
            out.send(if passes { PASSED } else { DROPPED }, record);
        }
    }
}

impl Filter {
    fn new(source: &str) -> Self {
        Self { source: source.into(), compiled: None }
    }

    fn predicate(&mut self, record: RecordType) -> &Predicate {
        if self.compiled.as_ref().is_none_or(|(known, _)| *known != record) {
            let predicate = Predicate::compile(record, &self.source)
                .expect("`check` has compiled the same text");
            self.compiled = Some((record, predicate));
        }
        &self.compiled.as_ref().expect("compiled above").1
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::drive;

    use super::*;
    use crate::testing::committed;

    #[test]
    fn each_record_leaves_once_in_order_and_a_fault_drops_it() {
        let mut driver = drive(Filter::new("6 / seq >= 2"), &DESCRIPTION);
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
