//! Topics as JSON, for programs.

use imflow_kind::fields::fields_of;
use imflow_kind::{Description, Key, Metric, Port, State, record_meaning};
use imflow_proto::RecordType;
use imflow_topology::{Registry, option_schema, role_phrase};
use serde_json::{Value, json};

use super::Topic;
use super::record::{makers, takers};

pub fn topic(topic: &Topic, registry: &Registry) -> Value {
    match topic {
        Topic::Kind(description) => kind(description),
        Topic::Metrics(title, of) => json!({ "of": title, "metrics": metrics(of) }),
        Topic::Record(record) => record_type(*record, registry),
    }
}

fn kind(kind: &Description) -> Value {
    let options = kind.options.iter().map(|option| {
        json!({
            "name": option.name,
            "required": option.default.is_none(),
            "default": option.default,
            "doc": option.doc,
            "schema": option_schema(option),
        })
    });
    let limits = kind
        .limits
        .iter()
        .map(|limit| json!({ "what": limit.what, "bound": limit.bound, "policy": limit.policy }));
    json!({
        "kind": kind.name,
        "family": kind.family.word(),
        "summary": kind.summary,
        "doc": kind.doc.trim(),
        "key": match kind.key {
            Key::Conversation => "conversation",
            Key::User => "user",
            Key::Inherit => "inherit",
            Key::Grouped(_) => "grouped",
        },
        "groupedBy": match kind.key { Key::Grouped(option) => Some(option), _ => None },
        "state": match kind.state {
            State::None => "none",
            State::Log => "log",
            State::Volatile => "volatile",
        },
        "inputs": ports(kind.inputs),
        "outputs": ports(kind.outputs),
        "outputsFrom": kind.outputs_from,
        "options": Value::from_iter(options),
        "limits": Value::from_iter(limits),
        "metrics": metrics(kind.metrics),
        "provides": Value::from_iter(kind.provides.iter().map(|role| role_phrase(*role))),
        "example": kind.example.trim(),
    })
}

fn metrics(metrics: &[Metric]) -> Value {
    let metric = |metric: &Metric| {
        json!({
            "name": metric.shown(),
            "shape": metric.shape.word(),
            "labels": metric.labels,
            "doc": metric.doc,
            "tells": metric.tells,
        })
    };
    Value::from_iter(metrics.iter().map(metric))
}

/// The first port is the main one. No types: any, or those of the main input.
fn ports(ports: &[Port]) -> Value {
    let port = |port: &Port| {
        let types: Vec<_> = port.types.iter().map(|record| format!("{record:?}")).collect();
        json!({
            "name": port.name,
            "types": types,
            "required": port.required,
            "feedback": port.feedback,
            "faults": port.faults,
            "doc": port.doc,
        })
    };
    Value::from_iter(ports.iter().map(port))
}

fn record_type(record: RecordType, registry: &Registry) -> Value {
    let fields = fields_of(record)
        .iter()
        .map(|(name, slot)| json!({ "name": name, "type": slot.field_type().to_string() }));
    json!({
        "record": format!("{record:?}"),
        "meaning": record_meaning(record),
        "fields": Value::from_iter(fields),
        "madeBy": makers(record, registry),
        "takenBy": takers(record, registry),
    })
}
