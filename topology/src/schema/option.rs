//! The schema of one option's value.

use imflow_kind::units::{DURATIONS, SIZES};
use imflow_kind::{Opt, OptType};
use serde_json::{Value, json};

use crate::values::expected;

/// What an option takes, as JSON Schema, with its default and its meaning.
pub fn option_schema(option: &Opt) -> Value {
    let mut schema = value_schema(option.kind);
    schema["description"] = format!("{}. Takes {}.", option.doc, expected(option.kind)).into();
    if let Some(default) = option.default.and_then(|default| default_value(option.kind, default)) {
        schema["default"] = default;
    }
    schema
}

fn value_schema(kind: OptType) -> Value {
    match kind {
        OptType::Text | OptType::Reference(_) | OptType::Listener => json!({ "type": "string" }),
        OptType::Route => {
            json!({ "type": "string", "pattern": format!("^/[^{{}}*]*$|{VARIABLE}") })
        }
        OptType::Predicate | OptType::Expression => json!({ "type": "string", "minLength": 1 }),
        OptType::Choice(words) => or_variable(&json!({ "enum": words })),
        OptType::Bool => or_variable(&json!({ "type": "boolean" })),
        OptType::Integer(low, high) => integer(low, high),
        OptType::Number(low, high) => {
            or_variable(&json!({ "type": "number", "minimum": low, "maximum": high }))
        }
        OptType::Duration(..) => json!({ "type": "string", "pattern": with_unit(&DURATIONS) }),
        OptType::Size(..) => json!({ "type": "string", "pattern": with_unit(&SIZES) }),
        OptType::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        OptType::Expressions => {
            json!({ "type": "object", "additionalProperties": { "type": "string", "minLength": 1 } })
        }
        OptType::Durations(..) => json!({
            "type": "object",
            "additionalProperties": { "type": "string", "pattern": with_unit(&DURATIONS) },
        }),
        OptType::Lists => json!({
            "type": "object",
            "additionalProperties": { "type": "array", "items": { "type": "string" } },
        }),
    }
}

/// An integer in a range, inclusive.
pub(super) fn integer(low: i64, high: i64) -> Value {
    or_variable(&json!({ "type": "integer", "minimum": low, "maximum": high }))
}

/// A text with a variable may become anything.
const VARIABLE: &str = "\\$\\{[^}]+\\}";

fn or_variable(value: &Value) -> Value {
    json!({ "anyOf": [value, { "type": "string", "pattern": VARIABLE }] })
}

/// A number and one of these units, or a variable.
pub(super) fn with_unit(units: &[(&str, u64)]) -> String {
    let units: Vec<_> = units.iter().map(|(unit, _)| *unit).collect();
    format!("^[0-9]+ *({})$|{VARIABLE}", units.join("|"))
}

fn default_value(kind: OptType, default: &str) -> Option<Value> {
    match kind {
        OptType::Bool => Some((default == "true").into()),
        OptType::Integer(..) => default.parse::<i64>().ok().map(Value::from),
        OptType::Number(..) => default.parse::<f64>().ok().map(Value::from),
        OptType::Texts => Some(json!([])),
        OptType::Expressions | OptType::Lists | OptType::Durations(..) => Some(json!({})),
        _ => Some(default.into()),
    }
}
