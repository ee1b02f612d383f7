//! The inputs of a node: `"NAME"` or `"NAME.PORT"` to the producer's output port.

use imflow_kind::{Port, nearest};

use super::{Declared, Names, Wire};
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span, did_you_mean, quoted};
use crate::document::{Item, Key, Tree};

pub(super) fn wire(
    declared: &Declared,
    all: &[Declared],
    names: &Names,
    diagnostics: &mut Diagnostics,
) -> (Vec<Vec<Wire>>, Vec<bool>) {
    let ports = declared.node.kind.description.inputs;
    let (mut wires, mut given) = (vec![Vec::new(); ports.len()], vec![false; ports.len()]);
    let Some(item) = &declared.inputs else { return (wires, given) };
    match &item.value {
        Tree::Table(entries) => {
            let mut unknown = Vec::new();
            for (key, item) in entries {
                match ports.iter().position(|port| port.name == key.name) {
                    Some(port) => {
                        wires[port] = wire_list(item, all, names, diagnostics);
                        given[port] = !matches!(&item.value, Tree::List(items) if items.is_empty());
                    }
                    None => unknown.push(key),
                }
            }
            for key in unknown {
                unknown_port(&declared.node.name, key, ports, &mut given, diagnostics);
            }
        }
        value => {
            wires[0] = wire_list(item, all, names, diagnostics);
            given[0] = !matches!(value, Tree::List(items) if items.is_empty());
        }
    }
    (wires, given)
}

/// Tells of a name that is no input port. The port that it was most likely meant for counts as given: it
/// is one mistake, not two.
fn unknown_port(
    node: &str,
    key: &Key,
    ports: &[Port],
    given: &mut [bool],
    diagnostics: &mut Diagnostics,
) {
    let names = || ports.iter().map(|port| port.name);
    let help = did_you_mean(&key.name, names())
        .unwrap_or_else(|| format!("its input ports are {}", quoted(names())));
    let message = format!("`{node}` has no input port `{}`", key.name);
    diagnostics.error(Code::UnknownPort, &key.span, message, "no such port").help(help);
    let open: Vec<_> = (0..ports.len()).filter(|at| ports[*at].required && !given[*at]).collect();
    let near = nearest(&key.name, open.iter().map(|at| ports[*at].name));
    let meant = open.iter().find(|at| near.first() == Some(&ports[**at].name)).or(open.first());
    if let Some(at) = meant {
        given[*at] = true;
    }
}

fn wire_list(
    item: &Item,
    all: &[Declared],
    names: &Names,
    diagnostics: &mut Diagnostics,
) -> Vec<Wire> {
    match &item.value {
        Tree::Text(text) => {
            wire_one(text, &item.span, all, names, diagnostics).into_iter().collect()
        }
        Tree::List(items) => items
            .iter()
            .filter_map(|item| match &item.value {
                Tree::Text(text) => wire_one(text, &item.span, all, names, diagnostics),
                other => {
                    let found =
                        format!("expected \"NAME\" or \"NAME.PORT\", found {}", other.type_name());
                    diagnostics.error(
                        Code::WrongType,
                        &item.span,
                        "an input is a text".to_owned(),
                        found,
                    );
                    None
                }
            })
            .collect(),
        other => {
            let found = format!("expected a list of inputs, found {}", other.type_name());
            diagnostics.error(
                Code::WrongType,
                &item.span,
                "`inputs` is not a list".to_owned(),
                found,
            );
            Vec::new()
        }
    }
}

fn wire_one(
    text: &str,
    span: &Span,
    all: &[Declared],
    names: &Names,
    diagnostics: &mut Diagnostics,
) -> Option<Wire> {
    let (name, port) = match text.split_once('.') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let Some(&id) = names.get(name) else {
        let known = names.keys().map(String::as_str);
        let help = match text {
            _ if diagnostics.is_crowded() => None,
            _ if text.contains('*') => Some(
                "there are no wildcards: name each output, as in `\"valid.rejected\"`".to_owned(),
            ),
            _ => did_you_mean(name, known),
        };
        diagnostics
            .error(
                Code::UnknownInput,
                span,
                format!("unknown input `{text}`: no node is named `{name}`"),
                "no such node",
            )
            .help_if(help);
        return None;
    };
    let id = id?; // of a table with a mistake of its own
    let outputs = &all[id].node.outputs;
    let index = match port {
        None => (!outputs.is_empty()).then_some(0),
        Some(port) => outputs.iter().position(|p| p.name == port),
    };
    if index.is_none() {
        let help =
            port.and_then(|port| did_you_mean(port, outputs.iter().map(|p| p.name.as_str())));
        let help = help.unwrap_or_else(|| {
            format!("its output ports are {}", quoted(outputs.iter().map(|p| p.name.as_str())))
        });
        diagnostics
            .error(
                Code::UnknownPort,
                span,
                format!(
                    "`{text}`: `{name}` has no {}",
                    port.map_or("output".to_owned(), |p| format!("output port `{p}`"))
                ),
                "no such port",
            )
            .also(&all[id].node.span, format!("`{name}` is defined here"))
            .help(help);
    }
    index.map(|port| Wire { from: (id, port), span: span.clone() })
}
