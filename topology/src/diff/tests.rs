use std::collections::BTreeMap;

use super::*;
use crate::outline::{StateKind, StateOutline};

fn node(name: &str, state: StateKind, inputs: &[&str]) -> NodeOutline {
    let wires = inputs
        .iter()
        .map(|from| WireOutline { from: (*from).to_owned(), record: "Delivery".to_owned() });
    NodeOutline {
        name: name.to_owned(),
        family: "operator".to_owned(),
        kind: "counter".to_owned(),
        stage: "conversation".to_owned(),
        state: StateOutline { of: state, shaped_by: vec!["every".to_owned()] },
        options: BTreeMap::from([
            ("every".to_owned(), "\"1s\"".to_owned()),
            ("groups".to_owned(), "100".to_owned()),
        ]),
        inputs: BTreeMap::from([("records".to_owned(), wires.collect())]),
        ..NodeOutline::default()
    }
}

fn outline(nodes: Vec<NodeOutline>) -> Outline {
    let service = BTreeMap::from([("partitions".to_owned(), "64".to_owned())]);
    Outline { service, nodes, ..Outline::default() }
}

fn set(node: &mut NodeOutline, option: &str, value: &str) {
    node.options.insert(option.to_owned(), value.to_owned());
}

#[test]
fn the_same_topology_has_no_changes() {
    let one = outline(vec![node("a", StateKind::Volatile, &["b"])]);
    assert!(diff(&one, &one).is_empty());
}

#[test]
fn an_option_loses_state_only_if_it_shapes_it() {
    let old = outline(vec![node("a", StateKind::Volatile, &[])]);
    let mut new = old.clone();
    set(&mut new.nodes[0], "groups", "200");
    let changes = diff(&old, &new);
    assert_eq!(changes.nodes[0].state, Fate::Kept);
    assert!(changes.warnings.is_empty());

    set(&mut new.nodes[0], "every", "\"5s\"");
    let changes = diff(&old, &new);
    assert!(matches!(changes.nodes[0].state, Fate::Lost(_)));
    assert_eq!(changes.warnings.len(), 1, "{:?}", changes.warnings);

    let log = |mut outline: Outline| {
        outline.nodes[0].state.of = StateKind::Log;
        outline
    };
    let changes = diff(&log(old), &log(new));
    assert!(matches!(changes.nodes[0].state, Fate::Rebuilt(_)), "the log knows it all");
}

#[test]
fn a_renamed_node_keeps_its_state_and_its_wires_are_the_same() {
    let old = outline(vec![
        node("a", StateKind::Volatile, &["source"]),
        node("sink", StateKind::None, &["a.counts"]),
    ]);
    let mut renamed = node("b", StateKind::Volatile, &["source"]);
    renamed.was = Some("a".to_owned());
    let new = outline(vec![renamed, node("sink", StateKind::None, &["b.counts"])]);
    let changes = diff(&old, &new);
    assert_eq!(changes.nodes.len(), 1, "{:?}", changes.nodes);
    assert_eq!((changes.nodes[0].action, &changes.nodes[0].state), (Action::Renamed, &Fate::Kept));
    // The line stays in the file: the next plan finds nothing to do.
    assert!(diff(&new, &new).is_empty());
}

#[test]
fn without_was_a_renaming_is_a_removal_and_an_addition() {
    let old = outline(vec![node("a", StateKind::Volatile, &[])]);
    let new = outline(vec![node("b", StateKind::Volatile, &[])]);
    let actions: Vec<_> = diff(&old, &new).nodes.iter().map(|node| node.action).collect();
    assert_eq!(actions, [Action::Added, Action::Removed]);
}

#[test]
fn wires_are_compared_one_by_one() {
    let old = outline(vec![node("a", StateKind::None, &["x", "y"])]);
    let new = outline(vec![node("a", StateKind::None, &["y", "z"])]);
    let changes = diff(&old, &new);
    let wires: Vec<_> =
        changes.nodes[0].wires.iter().map(|wire| (wire.from.as_str(), wire.added)).collect();
    assert_eq!(wires, [("x", false), ("z", true)]);
}

#[test]
fn clients_are_told_what_they_no_longer_get() {
    let mut push = node("push", StateKind::None, &["fanout", "online"]);
    push.clients.pushes_to = Some("clients".to_owned());
    let old = outline(vec![push.clone()]);
    push.inputs = node("push", StateKind::None, &["online"]).inputs;
    let changes = diff(&old, &outline(vec![push]));
    assert_eq!(
        changes.clients,
        ["clients of `clients` no longer get pushed messages from `fanout`"]
    );
}

#[test]
fn what_the_data_directory_pins_is_warned_of() {
    let old = outline(Vec::new());
    let mut new = old.clone();
    new.service.insert("partitions".to_owned(), "128".to_owned());
    let changes = diff(&old, &new);
    assert!(!changes.is_empty());
    assert!(changes.warnings[0].contains("refuses to start"), "{:?}", changes.warnings);
}
