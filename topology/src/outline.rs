//! What a plan says of itself: names, options and wires, without places in a file and without secrets.
//!
//! A running service shows its outline, and `imflow plan` compares two of them, so that both sides of a
//! comparison are made the same way.

use std::collections::BTreeMap;

use imflow_kind::{Debt, Family, OptType, Port, RoleName, State, Value};
use serde::{Deserialize, Serialize};

use crate::document::{self, Item};
use crate::plan::Plan;
use crate::resolve::{LISTENER_OPTIONS, Listener, Node, NodeId};
use crate::values;

/// A topology in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outline {
    pub service: BTreeMap<String, String>,
    /// Addresses by name, as the file would have them, like all values.
    pub listeners: BTreeMap<String, String>,
    pub nodes: Vec<NodeOutline>,
}

/// A node in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeOutline {
    pub name: String,
    /// The name that it had, when the file says that it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// `source`, `operator` or `sink`.
    pub family: String,
    pub kind: String,
    pub stage: String,
    pub state: StateOutline,
    /// As they would be written in the file, defaults too. What came from the environment is shown as the
    /// file has it, `${NAME}`: it may be a secret.
    pub options: BTreeMap<String, String>,
    /// The wires of each input port.
    pub inputs: BTreeMap<String, Vec<WireOutline>>,
    pub clients: Clients,
}

/// What a node remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateOutline {
    pub of: StateKind,
    /// Options that give the state its meaning: with another value the old state is of no use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shaped_by: Vec<String>,
}

/// As [`State`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateKind {
    #[default]
    None,
    Log,
    Volatile,
}

/// One wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WireOutline {
    /// `NAME` or `NAME.PORT`.
    pub from: String,
    pub record: String,
}

/// What a node has to do with connected clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// It holds their connections.
    pub holds: bool,
    /// It pushes to the connections of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushes_to: Option<String>,
    /// It takes part in what they are answered.
    pub decides: bool,
}

/// The outline of a plan.
pub fn outline(plan: &Plan) -> Outline {
    let service = &plan.service;
    let settings = [
        ("data", format!("{:?}", service.data)),
        ("node", format!("{:?}", service.node)),
        ("partitions", service.partitions.to_string()),
        ("workers", service.workers.to_string()),
    ];
    let named = plan.nodes.iter().enumerate().filter(|(_, node)| !node.name.contains('.'));
    Outline {
        service: settings.map(|(key, value)| (key.to_owned(), value)).into(),
        listeners: plan.listeners.iter().map(listener).collect(),
        nodes: named.map(|(id, node)| node_outline(plan, id, node)).collect(),
    }
}

fn listener(listener: &Listener) -> (String, String) {
    let mut text = format!("\"{}\"", listener.address);
    for option in LISTENER_OPTIONS {
        let value = listener.options.get(option.name);
        if let Some(value) =
            value.filter(|value| values::default_of(option).as_ref() != Some(value))
        {
            text += &format!(", {} = {}", option.name, values::show(value));
        }
    }
    (listener.name.clone(), text)
}

fn node_outline(plan: &Plan, id: NodeId, node: &Node) -> NodeOutline {
    let description = node.kind.description;
    let options = description.options.iter();
    let pushes_to = options.clone().find_map(|option| match option.kind {
        OptType::Reference(RoleName::Outboxes) => Some(node.options.text(option.name).to_owned()),
        _ => None,
    });
    let shaped_by =
        options.filter(|option| option.shapes_state).map(|option| option.name.to_owned());
    let inputs = description.inputs.iter().zip(&node.inputs).map(|(port, wires)| {
        let mut wires: Vec<_> = wires
            .iter()
            .map(|wire| WireOutline {
                from: plan.nodes[wire.from.0].output_name(wire.from.1),
                record: plan.outputs[wire.from.0][wire.from.1]
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string),
            })
            .collect();
        wires.sort();
        (port.name.to_owned(), wires)
    });
    let owes = |port: &Port| port.types.iter().any(|record| record.owes_reply());
    let passes = |port: &Port| port.reply == Debt::Passed && owes(port);
    NodeOutline {
        name: node.name.clone(),
        was: node.was.clone(),
        family: description.family.word().to_owned(),
        kind: description.name.to_owned(),
        stage: plan.stages[id].name().to_owned(),
        state: StateOutline {
            of: match description.state {
                State::None => StateKind::None,
                State::Log => StateKind::Log,
                State::Volatile => StateKind::Volatile,
            },
            shaped_by: shaped_by.collect(),
        },
        options: node.options.iter().map(|(name, value)| shown(node, name, value)).collect(),
        inputs: inputs.filter(|(_, wires)| !wires.is_empty()).collect(),
        clients: Clients {
            holds: description.provides.contains(&RoleName::Outboxes),
            pushes_to,
            decides: description.family == Family::Operator
                && description.inputs.iter().any(passes)
                && description.outputs.iter().any(owes),
        },
    }
}

fn shown(node: &Node, name: &str, value: &Value) -> (String, String) {
    let from_outside = node.written.get(name).and_then(Item::with_variables);
    (
        name.to_owned(),
        from_outside.map_or_else(|| values::show(value), |tree| document::inline(&tree)),
    )
}
