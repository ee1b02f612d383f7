//! What becomes of the state of nodes.

use serde::Serialize;

use super::{Action, Changes, Setting};
use crate::outline::{NodeOutline, StateKind};

/// What becomes of a node's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "fate", content = "because")]
pub enum Fate {
    /// It has none.
    None,
    /// It goes on with what it has.
    Kept,
    /// It is made anew from the log before anything flows.
    Rebuilt(String),
    /// It begins empty.
    Empty(String),
    /// What it held is gone.
    Lost(String),
}

pub(super) fn of_added(node: &NodeOutline) -> Fate {
    match node.state.of {
        StateKind::None => Fate::None,
        StateKind::Log => Fate::Rebuilt("the log holds what it needs".to_owned()),
        StateKind::Volatile => Fate::Empty("it knows only what it sees from now on".to_owned()),
    }
}

pub(super) fn of_removed(node: &NodeOutline) -> Fate {
    match node.state.of {
        StateKind::None => Fate::None,
        StateKind::Log => Fate::Lost("the log keeps what it was made from".to_owned()),
        StateKind::Volatile => Fate::Lost("nothing else holds it".to_owned()),
    }
}

pub(super) fn of_changed(
    old: &NodeOutline,
    new: &NodeOutline,
    settings: &[Setting],
    action: Action,
) -> Fate {
    let shaping = settings
        .iter()
        .find(|setting| setting.name == "stage" || new.state.shaped_by.contains(&setting.name));
    let because = match (action, shaping) {
        (Action::Replaced, _) => {
            format!("kind `{}` cannot read the state of `{}`", new.kind, old.kind)
        }
        (_, Some(setting)) => format!("another `{}` gives it another meaning", setting.name),
        (_, None) if new.state.of == StateKind::None => return Fate::None,
        (_, None) => return Fate::Kept,
    };
    match (old.state.of, new.state.of) {
        (StateKind::None, StateKind::None) => Fate::None,
        (_, StateKind::Log) => Fate::Rebuilt(because),
        (StateKind::None, StateKind::Volatile) => of_added(new),
        (_, StateKind::Volatile | StateKind::None) => Fate::Lost(because),
    }
}

/// Losses, and settings that the data directory pins.
pub(super) fn warn(changes: &mut Changes) {
    for node in &changes.nodes {
        match &node.state {
            Fate::Lost(because) if node.action != Action::Removed => {
                changes.warnings.push(format!("the state of `{}` is lost: {because}", node.name));
            }
            _ => {}
        }
    }
    for setting in &changes.service {
        let warning = match setting.name.as_str() {
            "partitions" => {
                "`service.partitions` is pinned in the data directory: the service refuses to start with another number on the same data"
            }
            "data" => {
                "`service.data` is another folder: the service starts with what is there, and with nothing if it is new"
            }
            "node" => {
                "`service.node` is part of every message id: two nodes of one name would give the same ids"
            }
            _ => continue,
        };
        changes.warnings.push(warning.to_owned());
    }
}
