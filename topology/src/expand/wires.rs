//! Inputs across the border of a template.

use std::collections::HashMap;

use super::Alias;
use super::template::Template;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, did_you_mean, quoted};
use crate::document::{Document, Item, Key, Tree};

/// What a use wires to each input of its template.
pub(super) fn given(
    template: &Template,
    entries: &[(Key, Item)],
    key: &Key,
    diagnostics: &mut Diagnostics,
) -> HashMap<String, Vec<Item>> {
    let mut given: HashMap<String, Vec<Item>> = HashMap::new();
    let inputs = entries.iter().find(|(key, _)| key.name == "inputs").map(|(_, item)| item);
    match inputs.map(|item| &item.value) {
        None => {}
        Some(Tree::Table(ports)) => {
            for (port, item) in ports {
                if template.inputs.contains(&port.name) {
                    given.insert(port.name.clone(), items(item));
                } else {
                    no_input(template, port, diagnostics);
                }
            }
        }
        Some(_) => match (template.inputs.first(), inputs) {
            (Some(main), Some(item)) => {
                given.insert(main.clone(), items(item));
            }
            (_, item) => {
                let span = item.map_or(&key.span, |item| &item.span);
                let message = format!("template `{}` takes no inputs", template.key.name);
                diagnostics.error(Code::BadTemplate, span, message, "wired here");
            }
        },
    }
    for name in &template.inputs {
        if !given.contains_key(name) {
            let message = format!(
                "`{}` (template `{}`) has nothing wired to its input `{name}`",
                key.name, template.key.name
            );
            diagnostics
                .error(Code::BadTemplate, &key.span, message, format!("`{name}` is not wired here"))
                .also(template.span(), "the template");
        }
    }
    given
}

fn items(item: &Item) -> Vec<Item> {
    match &item.value {
        Tree::List(items) => items.clone(),
        _ => vec![item.clone()],
    }
}

fn no_input(template: &Template, port: &Key, diagnostics: &mut Diagnostics) {
    let known = template.inputs.iter().map(String::as_str);
    let help = did_you_mean(&port.name, known.clone())
        .unwrap_or_else(|| format!("its inputs are {}", quoted(known)));
    let message = format!("template `{}` has no input `{}`", template.key.name, port.name);
    diagnostics.error(Code::BadTemplate, &port.span, message, "no such input").help(help);
}

/// Makes the inputs of an inner node global: those of the template become what the use wires to them,
/// names of inner nodes get the name of the use before them.
pub(super) fn localise(
    node: &mut Item,
    key: &Key,
    template: &Template,
    given: &HashMap<String, Vec<Item>>,
    diagnostics: &mut Diagnostics,
) {
    each_list(node, &mut |list| {
        let mut wires = Vec::new();
        for mut item in std::mem::take(list) {
            let Tree::Text(text) = &mut item.value else {
                wires.push(item);
                continue;
            };
            let (name, port) =
                text.split_once('.').map_or((text.as_str(), None), |(n, p)| (n, Some(p)));
            match (name, port) {
                ("inputs", Some(input)) => match given.get(input) {
                    Some(outer) => wires.extend(outer.iter().cloned()),
                    None if template.inputs.iter().any(|known| known == input) => {}
                    None => {
                        let port = Key { span: item.span.clone(), name: input.to_owned() };
                        no_input(template, &port, diagnostics);
                    }
                },
                _ => {
                    let is_inner = template.nodes().any(|(_, key, _)| key.name == name);
                    if is_inner {
                        *text = format!("{}/{text}", key.name);
                    }
                    wires.push(item);
                }
            }
        }
        *list = wires;
    });
}

/// Replaces references to uses of templates by what their outputs stand for.
pub(super) fn rewrite(
    document: &mut Document,
    aliases: &HashMap<String, Alias<'_>>,
    diagnostics: &mut Diagnostics,
) {
    for (_, family) in document.iter_mut() {
        let Tree::Table(nodes) = &mut family.value else { continue };
        for (_, node) in nodes {
            each_list(node, &mut |list| {
                list.retain_mut(|item| resolve(item, aliases, diagnostics));
            });
        }
    }
}

/// Whether the wire stays: one to an output that the template lacks was reported.
fn resolve(
    item: &mut Item,
    aliases: &HashMap<String, Alias<'_>>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let Tree::Text(text) = &mut item.value else { return true };
    // An output may stand for that of a template inside; these are never nested without end.
    while let Some(alias) = aliases.get(text.split('.').next().unwrap_or_default()) {
        let port = text.split_once('.').map(|(_, port)| port);
        let Some(target) = alias.template.output(port) else {
            let known = alias.template.outputs.iter().map(|(key, _)| key.name.as_str());
            let name = &alias.template.key.name;
            let help = port
                .and_then(|port| did_you_mean(port, known.clone()))
                .unwrap_or_else(|| format!("its outputs are {}", quoted(known)));
            let what = port.map_or("outputs".to_owned(), |port| format!("output `{port}`"));
            let message = format!("`{text}`: template `{name}` has no {what}");
            diagnostics
                .error(Code::UnknownPort, &item.span, message, "no such port")
                .also(alias.template.span(), "the template")
                .help(help);
            return false;
        };
        *text = format!("{}/{target}", alias.prefix);
    }
    true
}

/// Calls `change` with each list of wires of a node; a single wire becomes a list of one.
fn each_list(node: &mut Item, change: &mut dyn FnMut(&mut Vec<Item>)) {
    let Tree::Table(entries) = &mut node.value else { return };
    let Some((_, inputs)) = entries.iter_mut().find(|(key, _)| key.name == "inputs") else {
        return;
    };
    match &mut inputs.value {
        Tree::Table(ports) => ports.iter_mut().for_each(|(_, item)| list(item, change)),
        _ => list(inputs, change),
    }
}

fn list(item: &mut Item, change: &mut dyn FnMut(&mut Vec<Item>)) {
    if let Tree::Text(_) = item.value {
        let single = item.clone();
        item.value = Tree::List(vec![single]);
    }
    if let Tree::List(items) = &mut item.value {
        change(items);
    }
}
