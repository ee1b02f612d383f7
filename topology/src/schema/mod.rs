//! A JSON Schema (draft 7) of the file, for editors. `check` knows more: names, record types, cycles.
//!
//! In each family the key `kind` chooses the rest by `if` and `then`, so that a validator says which key is wrong.
//! Editors do not look there for help on a key: `properties` holds the keys of all kinds for them.

mod option;
mod scenario;

use std::collections::BTreeMap;

use imflow_kind::{Description, Family, Port};
use serde_json::{Map, Value, json};

use crate::{LISTENER_OPTIONS, Registry};

pub use option::option_schema;
pub use scenario::scenario_schema;

/// The schema of files that use the kinds of a registry.
pub fn schema(registry: &Registry) -> Value {
    let family = |family: Family| {
        let kinds: Vec<_> = registry
            .kinds()
            .iter()
            .map(|kind| kind.description)
            .filter(|description| description.family == family)
            .collect();
        family_schema(family, &kinds)
    };
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dataflow.toml",
        "description": "The message path of imflow, as a dataflow.",
        "type": "object",
        "properties": {
            "include": include(),
            "profile": { "type": "string", "description": "The profile that is laid over the file." },
            "profiles": tables("What one environment has otherwise: `[profiles.NAME]`, written like the file."),
            "templates": tables("Pieces of the graph with parameters: `[templates.NAME]`."),
            "service": service(),
            "listeners": named(&listener(), "Addresses that sources share: `[listeners.NAME]`."),
            "sources": named(&family(Family::Source), "What comes in: `[sources.NAME]`."),
            "operators": named(&family(Family::Operator), "What happens to it: `[operators.NAME]`."),
            "sinks": named(&family(Family::Sink), "Where it goes: `[sinks.NAME]`."),
        },
        "additionalProperties": false,
    })
}

fn named(table: &Value, description: &str) -> Value {
    json!({
        "type": "object",
        "description": description,
        "propertyNames": { "pattern": "^[^./]+$" },
        "additionalProperties": table,
    })
}

fn service() -> Value {
    let default = crate::resolve::tables::default_service();
    let described = |mut schema: Value, description: &str| {
        schema["description"] = description.into();
        schema
    };
    let text = |default: String| json!({ "type": "string", "minLength": 1, "default": default });
    let mut partitions = option::integer(1, 4096);
    partitions["default"] = default.partitions.into();
    let workers = option::integer(1, 64);
    json!({
        "type": "object",
        "description": "This process.",
        "properties": {
            "data": described(text(default.data), "The folder of the log, its index, snapshots and secrets."),
            "node": described(text(default.node), "The name of this node."),
            "partitions": described(partitions, "Conversations are spread over so many partitions."),
            "workers": described(workers, "Threads of the conversation stage; by default half of the cores."),
        },
        "additionalProperties": false,
    })
}

fn listener() -> Value {
    let address = json!({
        "type": "string",
        "description": "IP:PORT, for example \"127.0.0.1:8080\".",
    });
    let options =
        LISTENER_OPTIONS.iter().map(|option| (option.name.to_owned(), option_schema(option)));
    let properties: Map<_, _> =
        [("address".to_owned(), address)].into_iter().chain(options).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": ["address"],
        "additionalProperties": false,
    })
}

fn family_schema(family: Family, kinds: &[&'static Description]) -> Value {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let summaries: Vec<_> = kinds.iter().map(|kind| kind.summary).collect();
    let mut properties = all_options(kinds);
    let word = family.word();
    properties.insert(
        "kind".to_owned(),
        json!({
            "enum": names,
            "description": format!("What kind of {word} this is. `imflow explain KIND` tells all of one."),
            "x-taplo": { "docs": { "enumValues": summaries } },
        }),
    );
    if family != Family::Source {
        let description = "The wires into this node: names of nodes, or NAME.PORT.";
        properties.insert("inputs".to_owned(), json!({ "description": description }));
    }
    properties.insert("was".to_owned(), earlier_name());
    properties.insert("unsafe".to_owned(), unsafe_path());
    let branches: Vec<_> = kinds.iter().map(|kind| branch(kind)).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": ["kind"],
        "allOf": branches,
    })
}

/// The options of all kinds. Those that share a name are alternatives.
fn all_options(kinds: &[&'static Description]) -> Map<String, Value> {
    let mut all: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for kind in kinds {
        for option in kind.options {
            let mut schema = option_schema(option);
            schema["description"] = format!("{} ({})", option.doc, kind.name).into();
            all.entry(option.name).or_default().push(schema);
        }
    }
    let one = |schemas: Vec<Value>| match <[Value; 1]>::try_from(schemas) {
        Ok([only]) => only,
        Err(several) => json!({ "anyOf": several }),
    };
    all.into_iter().map(|(name, schemas)| (name.to_owned(), one(schemas))).collect()
}

/// What holds for one kind.
fn branch(kind: &Description) -> Value {
    let options = kind.options.iter();
    let mut properties: Map<String, Value> =
        options.map(|option| (option.name.to_owned(), option_schema(option))).collect();
    properties.insert("kind".to_owned(), json!({ "description": kind.summary }));
    properties.insert("was".to_owned(), earlier_name());
    properties.insert("unsafe".to_owned(), unsafe_path());
    let required = kind.options.iter().filter(|option| option.default.is_none());
    let mut required: Vec<_> = required.map(|option| option.name).collect();
    if !kind.inputs.is_empty() {
        properties.insert("inputs".to_owned(), inputs(kind.inputs));
        if kind.inputs.iter().any(|port| port.required) {
            required.push("inputs");
        }
    }
    let keys: Vec<_> = properties.keys().cloned().collect();
    json!({
        "if": { "properties": { "kind": { "const": kind.name } }, "required": ["kind"] },
        "then": {
            "properties": properties,
            "required": required,
            // Not `additionalProperties`: this way the message says which keys there are.
            "propertyNames": { "enum": keys },
        },
    })
}

/// Tables that `check` reads in full, and the schema only by name.
fn tables(description: &str) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": { "type": "object" } })
}

fn include() -> Value {
    json!({
        "description": "Further files, relative to this one; `*` stands for any part of a file's name.",
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
        ],
    })
}

fn unsafe_path() -> Value {
    let description = "Whether messages from here may go around the permission check.";
    json!({ "type": "boolean", "description": description, "default": false })
}

fn earlier_name() -> Value {
    json!({ "type": "string", "description": "The name that it had before, so that its state is kept." })
}

/// A name or a list feeds the main port; a table feeds each port by its name.
fn inputs(ports: &[Port]) -> Value {
    let wires = |description: &str| {
        json!({
            "description": description,
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" } },
            ],
        })
    };
    let properties: Map<String, Value> =
        ports.iter().map(|port| (port.name.to_owned(), wires(port.doc))).collect();
    let required: Vec<_> =
        ports.iter().filter(|port| port.required).map(|port| port.name).collect();
    let table = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    // The short form leaves all other ports empty.
    if ports.iter().skip(1).any(|port| port.required) {
        return table;
    }
    let main = ports[0].doc;
    json!({ "anyOf": [wires(main)["anyOf"][0], wires(main)["anyOf"][1], table], "description": main })
}
