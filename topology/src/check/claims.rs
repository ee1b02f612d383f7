//! Two that want the same port, path, file or topic.

use std::collections::HashMap;

use imflow_kind::{ClaimKey, Value};

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::resolve::{Listener, Node};

pub(super) fn check(listeners: &[Listener], nodes: &[Node], diagnostics: &mut Diagnostics) {
    check_listeners(listeners, diagnostics);
    check_nodes(nodes, diagnostics);
}

fn check_listeners(listeners: &[Listener], diagnostics: &mut Diagnostics) {
    let mut taken: HashMap<_, &Listener> = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.address.port() != 0) {
        match taken.get(&listener.address) {
            None => {
                taken.insert(listener.address, listener);
            }
            Some(first) => {
                let message = format!(
                    "listeners `{}` and `{}` want the same address",
                    first.name, listener.name
                );
                diagnostics
                    .error(Code::TakenTwice, &listener.span, message, "second use")
                    .also(&first.span, "first used here")
                    .help("give one of them another port");
            }
        }
    }
}

/// What one node holds.
struct Held<'a> {
    node: &'a Node,
    span: &'a Span,
    last: String,
    /// The kind owns the last part of the key, and what lies below it.
    is_fixed: bool,
}

fn check_nodes(nodes: &[Node], diagnostics: &mut Diagnostics) {
    // By the thing and all parts of the key but the last, so that paths can be told to overlap.
    let mut groups: HashMap<(&str, Vec<String>), Vec<Held<'_>>> = HashMap::new();
    let mut order = Vec::new();
    for node in nodes {
        for claim in node.kind.description.claims {
            let Some(mut key) =
                claim.key.iter().map(|part| part_of(node, part)).collect::<Option<Vec<_>>>()
            else {
                continue; // an option with a mistake of its own
            };
            let (last, is_fixed) = key.pop().unwrap_or_default();
            let key = (claim.thing, key.into_iter().map(|(text, _)| text).collect::<Vec<_>>());
            let option = claim.key.iter().rev().find_map(|part| match part {
                ClaimKey::Option(name) => Some(*name),
                ClaimKey::Fixed(_) => None,
            });
            let span = option.map_or(&node.span, |option| node.place_of(option));
            let group = groups.entry(key.clone()).or_default();
            if group.is_empty() {
                order.push(key);
            }
            group.push(Held { node, span, last, is_fixed });
        }
    }
    for key in order {
        check_group(key.0, &groups[&key], diagnostics);
    }
}

fn part_of(node: &Node, part: &ClaimKey) -> Option<(String, bool)> {
    match part {
        ClaimKey::Fixed(text) => Some(((*text).to_owned(), true)),
        ClaimKey::Option(name) => match node.options.get(name)? {
            Value::Text(text) => Some((text.clone(), false)),
            other => Some((format!("{other:?}"), false)),
        },
    }
}

fn check_group(thing: &str, group: &[Held<'_>], diagnostics: &mut Diagnostics) {
    let mut taken: HashMap<&str, &Held<'_>> = HashMap::new();
    for held in group {
        if let Some(first) = taken.get(held.last.as_str()) {
            conflict(thing, first, held, diagnostics);
        } else {
            taken.insert(&held.last, held);
        }
    }
    for owner in taken.values().filter(|held| held.is_fixed) {
        let below = format!("{}/", owner.last);
        for held in group.iter().filter(|held| held.last.starts_with(&below)) {
            conflict(thing, owner, held, diagnostics);
        }
    }
}

fn conflict(thing: &str, first: &Held<'_>, second: &Held<'_>, diagnostics: &mut Diagnostics) {
    let message = format!(
        "`{}` and `{}` both want {thing} `{}`",
        first.node.name, second.node.name, second.last
    );
    diagnostics
        .error(Code::TakenTwice, second.span, message, "second use")
        .also(first.span, "first used here")
        .help("give one of them another, or remove it");
}
