//! Turns whatever was refused or failed into rows that can be kept and sent in again.
//!
//! One row for each record: why, and the record itself as JSON. It answers nobody; whoever waits for a
//! refused message is answered by the wire to `push`. Keeps no state.

use std::sync::{Arc, LazyLock};

use imflow_kind::fields::to_json;
use imflow_kind::{
    ANY, Description, Family, Inference, Key, Mistake, Operator, OperatorContext, Opt, OptType,
    Out, Port, Shape, State, Time,
};
use imflow_proto::record::{FieldType, Row, Scalar, Schema};
use imflow_proto::{Record, RecordType};

use crate::typed::Typed;

/// any, several → `letters: Row`
///
/// Errors: none. Source: SPEC T2, T4.
pub const DESCRIPTION: Description = Description {
    name: "deadletter",
    family: Family::Operator,
    summary: "turns what was refused or failed into rows with the reason and the record",
    doc: "Takes rejections, errors of expressions and records of any other type, and makes one row of each: `node` \
          (this node), `recordType`, `reason`, `code`, `conversationId`, `record` (its fields as JSON) and `at`. The \
          reason is what the record itself tells (the `message` of a rejection, the `error` of an error row), else \
          the option `reason`. Send the rows to a file or a queue. A dead letter answers nobody: wire a rejection to \
          `push` too.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("records", ANY, "records of any types").mixed()],
    outputs: &[Port::of("letters", &[RecordType::Row], "one row for each record")],
    options: &[Opt::new(
        "reason",
        OptType::Text,
        "",
        "the reason of records that tell none, e.g. `spam`",
    )],
    example: r#"[operators.letters]
kind = "deadletter"
inputs = ["valid.rejected", "allowed.denied"]
"#,
    also: &["dlq", "dead_letter"],
    ..Description::EMPTY
};

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let text = ["node", "recordType", "reason", "code", "conversationId", "record"];
    let mut fields: Vec<_> = text.map(|name| (name.into(), FieldType::String)).into();
    fields.push(("at".into(), FieldType::Int));
    Arc::new(Schema { fields })
});

pub(crate) struct Deadletter {
    reason: String,
}

impl Typed for Deadletter {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        Ok(Self { reason: node.options.text("reason").to_owned() })
    }

    fn outputs(&self, _node: &Inference<'_>) -> Vec<Shape> {
        vec![Shape::Row(Arc::clone(&SCHEMA))]
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        Box::new(Running { node: context.name.into(), reason: self.reason })
    }
}

struct Running {
    node: Arc<str>,
    reason: String,
}

impl Running {
    fn letter(&self, now: Time, record: &Record) -> Record {
        let fields = to_json(record);
        let told = |names: &[&str]| {
            let texts = names.iter().filter_map(|name| fields.get(*name)?.as_str());
            texts.into_iter().find(|text| !text.is_empty())
        };
        let reason = told(&["error", "reason", "message"]).unwrap_or(&self.reason);
        let text = |text: &str| Scalar::String(text.into());
        let slots = [
            Scalar::String(Arc::clone(&self.node)),
            text(&format!("{:?}", record.record_type())),
            text(reason),
            text(told(&["code"]).unwrap_or("")),
            text(told(&["conversationId"]).unwrap_or("")),
            text(&serde_json::Value::Object(fields.clone()).to_string()),
            Scalar::Int(now.ms() as i64),
        ];
        Record::Row(Arc::new(Row {
            schema: Arc::clone(&SCHEMA),
            slots: slots.into(),
            retracted: false,
        }))
    }
}

impl Operator for Running {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        out.port(0).extend(records.drain(..).map(|record| self.letter(now, &record)));
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::Value;
    use imflow_kind::testing::Node;
    use imflow_proto::record::{Refused, Rejection};
    use imflow_proto::wire::{self, ErrorCode};

    use super::*;
    use crate::testing::{Sender, committed, field, options, text_of};

    #[test]
    fn a_letter_tells_why_and_holds_the_record() {
        let kind = crate::typed::kind::<Deadletter>(&DESCRIPTION);
        let options = options([("reason", Value::Text("spam".into()))]);
        let inputs =
            [vec![Shape::Native(RecordType::Rejection), Shape::Native(RecordType::Committed)]];
        let mut driver = Node::new(&kind, &options, &inputs).drive();
        let start = driver.now().ms() as i64;
        let refused = Arc::new(Sender::new("bob", "phone").submission("c2", "y", "ho"));
        let error = wire::Error {
            code: ErrorCode::NotAMember.into(),
            message: "bob is not a member".into(),
            ..wire::Error::default()
        };
        let rejection = Rejection { refused: Refused::Submission(refused), error };
        let message = Record::Committed(committed("c1", "alice", "x", "hi", 1));
        driver.send("records", [Record::Rejection(Arc::new(rejection)), message]);
        driver.pass(250);
        driver.send("records", [Record::Committed(committed("c1", "alice", "y", "ho", 2))]);
        let letters = driver.take("letters");
        assert_eq!(text_of(&letters[0], "reason"), "bob is not a member");
        assert_eq!(text_of(&letters[0], "code"), "NOT_A_MEMBER");
        assert_eq!(text_of(&letters[0], "conversationId"), "c2");
        assert_eq!(text_of(&letters[1], "reason"), "spam");
        assert!(text_of(&letters[1], "record").contains(r#""text":"hi""#));
        // When it came here, whatever times the record bears.
        let at = |letter| match field(letter, "at") {
            Scalar::Int(at) => at,
            other => panic!("no time: {other:?}"),
        };
        assert_eq!((at(&letters[0]), at(&letters[1])), (start, start));
        assert_eq!(at(&letters[2]), start + 250);
    }
}
