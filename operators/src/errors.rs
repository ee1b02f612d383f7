//! The rows of `errors` ports: what an expression could not make of a record, and what a bound refused.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};

use imflow_kind::fields::to_json;
use imflow_kind::{Port, Shape, Time};
use imflow_proto::record::{FieldType, Row, Scalar, Schema};
use imflow_proto::{Record, RecordType};

/// The output port of kinds that can fail on a record.
pub(crate) const ERRORS: Port = Port::of(
    "errors",
    &[RecordType::Row],
    "what failed: node, option, error, conversationId, record (as JSON), at",
)
.faults();

static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let text = ["node", "option", "error", "conversationId", "record"];
    let mut fields: Vec<_> = text.map(|name| (name.into(), FieldType::String)).into();
    fields.push(("at".into(), FieldType::Int));
    Arc::new(Schema { fields })
});

/// What the port carries.
pub(crate) fn shape() -> Shape {
    Shape::Row(Arc::clone(&SCHEMA))
}

/// Makes the rows of one node.
pub(crate) struct Errors {
    node: Arc<str>,
}

impl Errors {
    pub(crate) fn new(node: &str) -> Self {
        Self { node: node.into() }
    }

    /// What happened to a record under an option (`routes.spam`).
    pub(crate) fn of_record(
        &self,
        now: Time,
        option: &str,
        error: impl Display,
        record: &Record,
    ) -> Record {
        let fields = to_json(record);
        let conversation = fields.get("conversationId").and_then(|id| id.as_str()).unwrap_or("");
        let json = serde_json::Value::Object(fields.clone()).to_string();
        self.row(now, option, error, conversation, &json)
    }

    /// What happened to no record in particular.
    pub(crate) fn of_node(&self, now: Time, option: &str, error: impl Display) -> Record {
        self.row(now, option, error, "", "")
    }

    fn row(
        &self,
        now: Time,
        option: &str,
        error: impl Display,
        conversation: &str,
        record: &str,
    ) -> Record {
        let text = |text: &str| Scalar::String(text.into());
        let slots = [
            Scalar::String(Arc::clone(&self.node)),
            text(option),
            text(&error.to_string()),
            text(conversation),
            text(record),
            Scalar::Int(now.ms() as i64),
        ];
        Record::Row(Arc::new(Row {
            schema: Arc::clone(&SCHEMA),
            slots: slots.into(),
            retracted: false,
        }))
    }
}
