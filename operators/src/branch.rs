//! Parts a stream by predicates: each record leaves on the first route that takes it.
//!
//! Each record leaves once. One for which a predicate has no value leaves on `else`, so that whoever waits
//! for it on the message path is still answered, and the fault on `errors`. Keeps no state.

use imflow_kind::{
    ANY, Description, Family, Inference, Key, Mistake, Operator, OperatorContext, Opt, OptType,
    Out, Port, Shape, State, Time,
};
use imflow_proto::Record;

use crate::errors::{self, ERRORS, Errors};
use crate::expression::Predicate;
use crate::typed::{self, Typed, mistake};

/// any → `else`, one output for each route, all of the same type; `errors: Row`
///
/// Errors: a predicate without a value. Source: SPEC T2.
pub const DESCRIPTION: Description = Description {
    name: "branch",
    family: Family::Operator,
    summary: "parts a stream by predicates; the first route that takes a record gets it",
    doc: "`routes` names outputs and says what each takes: `routes = { spam = \"...\" }` makes the output \
          `NAME.spam`. Routes are tried in the order of the file; what none takes leaves on `else`, the main output. A \
          record for which a predicate has no value leaves on `else` without trying further, and the fault on \
          `errors`.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[Port::of("else", ANY, "records that no route takes"), ERRORS],
    outputs_from: Some("routes"),
    options: &[Opt::required(
        "routes",
        OptType::Expressions,
        "outputs and what they take, e.g. `{ media = \"type != 'TEXT'\" }`",
    )
    .also(&["route", "cases", "conditions"])],
    example: r#"[operators.sorted]
kind = "branch"
inputs = ["valid"]
routes = { spam = "text.matches('(?i)free money')", long = "size(text) > 2000" }
"#,
    also: &["route", "switch", "router", "split"],
    ..Description::EMPTY
};

const ELSE: usize = 0;
const FAULTS: usize = 1;
/// The outputs of the description come first, then one for each route.
const FIRST_ROUTE: usize = 2;

pub(crate) struct Branch {
    routes: Vec<(String, Predicate)>,
}

impl Typed for Branch {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let shape = typed::input(node, 0)?;
        let (mut routes, mut mistakes) = (Vec::new(), Vec::new());
        for (name, source) in node.options.entries("routes") {
            match Predicate::compile(shape, source) {
                Ok(predicate) => routes.push((name.clone(), predicate)),
                Err(error) => mistakes.push(error.within("routes", name)),
            }
        }
        if routes.is_empty() && mistakes.is_empty() {
            mistakes.push(mistake("routes", "there is no route; name at least one"));
        }
        if mistakes.is_empty() { Ok(Self { routes }) } else { Err(mistakes) }
    }

    fn outputs(&self, node: &Inference<'_>) -> Vec<Shape> {
        let mut shapes = node.all_like_input();
        shapes[FAULTS] = errors::shape();
        shapes
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        Box::new(Running { routes: self.routes, errors: Errors::new(context.name) })
    }
}

struct Running {
    routes: Vec<(String, Predicate)>,
    errors: Errors,
}

impl Running {
    fn port_of(&self, now: Time, record: &Record, out: &mut Out) -> usize {
        for (route, (name, predicate)) in self.routes.iter().enumerate() {
            match predicate.holds(record) {
                Ok(true) => return FIRST_ROUTE + route,
                Ok(false) => {}
                Err(fault) => {
                    let option = format!("routes.{name}");
                    out.send(FAULTS, self.errors.of_record(now, &option, fault, record));
                    return ELSE;
                }
            }
        }
        ELSE
    }
}

impl Operator for Running {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let port = self.port_of(now, &record, out);
            out.send(port, record);
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::Node;
    use imflow_proto::RecordType;
    use imflow_proto::record::Scalar;

    use super::*;
    use crate::testing::{committed, entries, field, options, text_of};

    #[test]
    fn the_first_route_that_takes_a_record_gets_it_and_a_fault_leaves_on_else() {
        let kind = typed::kind::<Branch>(&DESCRIPTION);
        let routes = entries([
            ("few", "100 / seq > 20"),
            ("more", "seq < 50"),
            ("never", "true && seq < 9"),
        ]);
        let options = options([("routes", routes)]);
        let inputs = [vec![Shape::Native(RecordType::Committed)]];
        let mut driver = Node::new(&kind, &options, &inputs).drive();
        let message = |seq| Record::Committed(committed("c1", "alice", "x", "hi", seq));
        driver.send("records", [0, 1, 4, 5, 49, 50].map(message));
        let mut seqs = |port: &str| -> Vec<Scalar> {
            driver.take(port).iter().map(|record| field(record, "seq")).collect()
        };
        assert_eq!(seqs("few"), [1, 4].map(Scalar::Int));
        assert_eq!(seqs("more"), [5, 49].map(Scalar::Int));
        assert_eq!(seqs("never"), []);
        assert_eq!(seqs("else"), [0, 50].map(Scalar::Int));
        assert_eq!(text_of(&driver.take("errors")[0], "option"), "routes.few");
    }
}
