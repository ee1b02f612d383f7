//! Options that name a listener or a node.

use std::collections::{HashMap, HashSet};

use imflow_kind::{OptType, RoleName, Value};

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, did_you_mean, quoted};
use crate::resolve::{Listener, Node};
use crate::values::role_phrase;

/// What options may name.
struct Known<'a> {
    listeners: HashSet<&'a str>,
    /// The nodes that play each role.
    roles: HashMap<RoleName, HashSet<&'a str>>,
    /// Names of tables with mistakes of their own.
    broken: &'a HashSet<String>,
}

pub(super) fn check(
    nodes: &[Node],
    listeners: &[Listener],
    broken: &HashSet<String>,
    diagnostics: &mut Diagnostics,
) {
    let mut roles: HashMap<RoleName, HashSet<&str>> = HashMap::new();
    for node in nodes {
        for role in node.kind.description.provides {
            roles.entry(*role).or_default().insert(&node.name);
        }
    }
    let listeners = listeners.iter().map(|listener| listener.name.as_str()).collect();
    let known = Known { listeners, roles, broken };
    for node in nodes {
        check_node(node, &known, diagnostics);
    }
}

fn check_node(node: &Node, known: &Known<'_>, diagnostics: &mut Diagnostics) {
    for option in node.kind.description.options {
        let Some(Value::Text(name)) = node.options.get(option.name) else { continue };
        if known.broken.contains(name) {
            continue;
        }
        if name.is_empty() && option.default == Some("") {
            continue;
        }
        let span = node.place_of(option.name);
        match option.kind {
            OptType::Listener if !known.listeners.contains(name.as_str()) => {
                let help = did_you_mean(name, known.listeners.iter().copied())
                    .unwrap_or_else(|| format!("add `[listeners.{name}]` with an `address`"));
                let message =
                    format!("`{}` wants the listener `{name}`, which is not defined", node.name);
                diagnostics.error(Code::BadReference, span, message, "no such listener").help(help);
            }
            OptType::Reference(role) => {
                let able = known.roles.get(&role);
                if able.is_some_and(|able| able.contains(name.as_str())) {
                    continue;
                }
                let mut able: Vec<_> = able.into_iter().flatten().copied().collect();
                able.sort_unstable();
                let message = format!(
                    "option `{}` of `{}`: `{name}` is not {}",
                    option.name,
                    node.name,
                    role_phrase(role)
                );
                let help = did_you_mean(name, able.iter().copied())
                    .unwrap_or_else(|| format!("nodes that are: {}", quoted(able)));
                diagnostics
                    .error(Code::BadReference, span, message, "cannot serve here")
                    .help(help);
            }
            _ => {}
        }
    }
}
