//! The schema of files of tests. `check` knows more: which ports there are, and the fields of what they carry.
//!
//! Steps and expectations have the keys of all kinds that a test can act at: which of them fits a node
//! depends on the topology, which no schema reads.

use imflow_kind::units::DURATIONS;
use imflow_kind::{Action, ActionValue, Description, Script};
use serde_json::{Map, Value, json};

use super::option::with_unit;
use crate::Registry;

/// The schema of test files for topologies of a registry's kinds.
pub fn scenario_schema(registry: &Registry) -> Value {
    let kinds = registry.kinds().iter().map(|kind| kind.description);
    let scripts: Vec<_> = kinds.filter_map(|kind| Some((kind, kind.script?))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dataflow.test.toml",
        "description": "Tests of a topology, in virtual time: `imflow test`.",
        "type": "object",
        "properties": {
            "topology": { "type": "string", "description": "The topology under test, relative to this file." },
            "set": changes(),
            "now": {
                "type": "string",
                "description": "When each test starts.",
                "default": "2026-01-01T00:00:00Z",
            },
            "test": { "type": "array", "minItems": 1, "items": test(&scripts), "description": "`[[test]]`." },
        },
        "required": ["topology", "test"],
        "additionalProperties": false,
    })
}

type Scripts<'a> = [(&'a Description, &'static Script)];

fn changes() -> Value {
    json!({
        "type": "array",
        "items": { "type": "string", "pattern": "=" },
        "description": "Changes of the topology, as behind --set: \"operators.online.debounce=5s\".",
    })
}

fn time(description: &str) -> Value {
    json!({ "type": "string", "pattern": with_unit(&DURATIONS), "description": description })
}

fn records(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "object" }, "description": description })
}

fn test(scripts: &Scripts<'_>) -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": "What the test shows; no two are named alike." },
            "set": changes(),
            "until": time("Lets the test run on to this time; it ends with the last one that it speaks of."),
            "steps": { "type": "array", "items": step(scripts), "description": "What goes in, in the order of time." },
            "expect": { "type": "array", "items": expectation(scripts), "description": "What must come out." },
        },
        "required": ["name", "steps", "expect"],
        "additionalProperties": false,
    })
}

fn step(scripts: &Scripts<'_>) -> Value {
    let mut properties = Map::new();
    properties.insert("at".to_owned(), time("Since the start; default: as the step before."));
    let into = "A node that tests act at, or an input port: \"NODE\" or \"NODE.PORT\".";
    properties.insert("into".to_owned(), json!({ "type": "string", "description": into }));
    let into_port =
        records("Records for an input port; fields that are left out have plain values.");
    properties.insert("records".to_owned(), into_port);
    for (kind, script) in scripts {
        add_actor(&mut properties, script);
        for action in script.actions {
            properties.insert(action.name.to_owned(), action_schema(kind, action));
            if action.body {
                let description = format!("What the call carries ({}).", kind.name);
                properties.insert("body".to_owned(), json!({ "description": description }));
            }
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["into"],
        "additionalProperties": false,
    })
}

fn action_schema(kind: &Description, action: &Action) -> Value {
    let description = format!("{} ({}).", action.doc, kind.name);
    match action.value {
        ActionValue::Text => json!({ "type": "string", "description": description }),
        ActionValue::Table => json!({ "type": "object", "description": description }),
        ActionValue::Flag => json!({ "const": true, "description": description }),
    }
}

fn add_actor(properties: &mut Map<String, Value>, script: &Script) {
    if let Some(actor) = script.actor {
        let description = format!("Who acts, and whose eyes see: {}.", actor.form);
        properties.insert("as".to_owned(), json!({ "type": "string", "description": description }));
    }
}

fn expectation(scripts: &Scripts<'_>) -> Value {
    let window = json!({
        "type": "array",
        "items": time("A time since the start."),
        "minItems": 2,
        "maxItems": 2,
        "description": "Only what comes from the first time to the second counts.",
    });
    let count = json!({
        "description": "So many come in all; `{ \">\" = 5 }` compares.",
        "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "object" }, { "const": "*" }],
    });
    let on = "An output port, \"NODE\" or \"NODE.PORT\", or a node that tests act at.";
    let mut properties = Map::new();
    properties.insert("on".to_owned(), json!({ "type": "string", "description": on }));
    properties.insert("at".to_owned(), time("Only what comes at this time counts."));
    properties.insert("within".to_owned(), window);
    properties.insert("nothing_until".to_owned(), time("Nothing comes before this time."));
    properties.insert("count".to_owned(), count);
    properties.insert("records".to_owned(), records("These come on the port, in this order."));
    properties.insert("retracted".to_owned(), records("These are taken back, in this order."));
    for (kind, script) in scripts {
        add_actor(&mut properties, script);
        let seen = format!("These are seen outside, in this order ({}).", kind.name);
        properties.insert(script.sees.to_owned(), records(&seen));
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["on"],
        "additionalProperties": false,
    })
}
