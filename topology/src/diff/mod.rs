//! What a change of the topology does: nodes, options, wires, state, and what clients notice.
//!
//! Works on [`Outline`]s alone, so that a file can be compared with a file or with what runs elsewhere.

mod clients;
mod state;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::outline::{NodeOutline, Outline, WireOutline};

pub use state::Fate;

/// The difference of two topologies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Of `[service]`.
    pub service: Vec<Setting>,
    /// Of `[listeners]`.
    pub listeners: Vec<Setting>,
    /// In the order of the new file, then what it lacks.
    pub nodes: Vec<NodeChange>,
    /// What connected clients would notice, as sentences.
    pub clients: Vec<String>,
    /// What to look at before this is applied, as sentences.
    pub warnings: Vec<String>,
}

impl Changes {
    /// Whether both are the same.
    pub fn is_empty(&self) -> bool {
        self.service.is_empty() && self.listeners.is_empty() && self.nodes.is_empty()
    }
}

/// A value that differs; `None`: it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub name: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// A wire that is there on one side only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rewired {
    pub port: String,
    pub from: String,
    pub record: String,
    pub added: bool,
}

/// What becomes of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeChange {
    pub name: String,
    pub family: String,
    pub kind: String,
    pub action: Action,
    /// The earlier name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// Kind, stage and options.
    pub settings: Vec<Setting>,
    pub wires: Vec<Rewired>,
    pub state: Fate,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    Added,
    Removed,
    Changed,
    /// It stays as it is under another name.
    Renamed,
    /// Another kind under the same name.
    Replaced,
}

/// Compares two topologies.
pub fn diff(old: &Outline, new: &Outline) -> Changes {
    let mut changes = Changes {
        service: settings(&old.service, &new.service),
        listeners: settings(&old.listeners, &new.listeners),
        ..Changes::default()
    };
    let renames = renames(old, new, &mut changes.warnings);
    let before = |node: &NodeOutline| {
        let name = renames.get(&node.name).unwrap_or(&node.name);
        old.nodes.iter().find(|other| other.name == *name)
    };
    for node in &new.nodes {
        changes.nodes.extend(match before(node) {
            None => Some(whole(node, Action::Added)),
            Some(earlier) => changed(earlier, node, &renames),
        });
    }
    let taken: Vec<_> = new.nodes.iter().filter_map(before).map(|node| &node.name).collect();
    let removed = old.nodes.iter().filter(|node| !taken.contains(&&node.name));
    changes.nodes.extend(removed.map(|node| whole(node, Action::Removed)));
    state::warn(&mut changes);
    changes.clients = clients::notice(old, new, &changes);
    changes
}

/// New names to old ones, where the file says `was` and the old node was there.
fn renames(old: &Outline, new: &Outline, warnings: &mut Vec<String>) -> BTreeMap<String, String> {
    let has = |outline: &Outline, name: &str| outline.nodes.iter().any(|node| node.name == name);
    let mut renames = BTreeMap::new();
    for node in &new.nodes {
        let Some(was) = &node.was else { continue };
        // The line may stay in the file after the renaming has been done.
        if has(old, &node.name) {
            continue;
        }
        if has(new, was) || !has(old, was) {
            warnings.push(format!(
                "`{}` says that it was `{was}`, which {}: it begins without state",
                node.name,
                if has(new, was) { "is still there" } else { "was not there before" }
            ));
            continue;
        }
        renames.insert(node.name.clone(), was.clone());
    }
    renames
}

fn settings(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Setting> {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let setting = |name: &String| Setting {
        name: name.clone(),
        old: old.get(name).cloned(),
        new: new.get(name).cloned(),
    };
    names.into_iter().map(setting).filter(|setting| setting.old != setting.new).collect()
}

/// A node that is there on one side only.
fn whole(node: &NodeOutline, action: Action) -> NodeChange {
    let added = action == Action::Added;
    let side = |value: &String| {
        let value = Some(value.clone());
        if added { (None, value) } else { (value, None) }
    };
    let settings = node.options.iter().map(|(name, value)| {
        let (old, new) = side(value);
        Setting { name: name.clone(), old, new }
    });
    let wires = node
        .inputs
        .iter()
        .flat_map(|(port, wires)| wires.iter().map(move |wire| rewired(port, wire, added)));
    NodeChange {
        name: node.name.clone(),
        family: node.family.clone(),
        kind: node.kind.clone(),
        action,
        was: None,
        settings: settings.collect(),
        wires: wires.collect(),
        state: if added { state::of_added(node) } else { state::of_removed(node) },
    }
}

fn rewired(port: &str, wire: &WireOutline, added: bool) -> Rewired {
    let (from, record) = (wire.from.clone(), wire.record.clone());
    Rewired { port: port.to_owned(), from, record, added }
}

/// A node that is there on both sides, if it differs.
fn changed(
    old: &NodeOutline,
    new: &NodeOutline,
    renames: &BTreeMap<String, String>,
) -> Option<NodeChange> {
    let mut differing = settings(&old.options, &new.options);
    for (name, old, new) in [("kind", &old.kind, &new.kind), ("stage", &old.stage, &new.stage)] {
        if old != new {
            let (old, new) = (Some(old.clone()), Some(new.clone()));
            differing.insert(0, Setting { name: name.to_owned(), old, new });
        }
    }
    let wires = wires(old, new, renames);
    let action = match (old.kind != new.kind || old.family != new.family, old.name != new.name) {
        (true, _) => Action::Replaced,
        (false, true) if differing.is_empty() && wires.is_empty() => Action::Renamed,
        (false, false) if differing.is_empty() && wires.is_empty() => return None,
        (false, _) => Action::Changed,
    };
    let state = state::of_changed(old, new, &differing, action);
    Some(NodeChange {
        name: new.name.clone(),
        family: new.family.clone(),
        kind: new.kind.clone(),
        action,
        was: (old.name != new.name).then(|| old.name.clone()),
        settings: differing,
        wires,
        state,
    })
}

/// The wires that are there on one side only; a wire from a renamed node is the same wire.
fn wires(old: &NodeOutline, new: &NodeOutline, renames: &BTreeMap<String, String>) -> Vec<Rewired> {
    let earlier_name = |wire: &WireOutline| {
        let (node, port) =
            wire.from.split_once('.').map_or((wire.from.as_str(), ""), |parts| parts);
        let node = renames.get(node).map_or(node, String::as_str);
        let from = if port.is_empty() { node.to_owned() } else { format!("{node}.{port}") };
        WireOutline { from, record: wire.record.clone() }
    };
    let none = Vec::new();
    let mut ports: Vec<_> = old.inputs.keys().chain(new.inputs.keys()).collect();
    ports.sort();
    ports.dedup();
    let mut differing = Vec::new();
    for port in ports {
        let before = old.inputs.get(port).unwrap_or(&none);
        let after = new.inputs.get(port).unwrap_or(&none);
        let kept: Vec<_> = after.iter().map(earlier_name).collect();
        let gone = before.iter().filter(|wire| !kept.contains(wire));
        differing.extend(gone.map(|wire| rewired(port, wire, false)));
        let come = after.iter().filter(|wire| !before.contains(&earlier_name(wire)));
        differing.extend(come.map(|wire| rewired(port, wire, true)));
    }
    differing
}

#[cfg(test)]
mod tests;
