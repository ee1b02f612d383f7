//! Names to nodes: tables, kinds, options and inputs. A `Resolved` graph holds no bad name.

pub(crate) mod tables;
mod wires;

use std::collections::HashMap;

use imflow_kind::{Family, Kind, Options, Part, Value};
use imflow_proto::RecordType;

use crate::Registry;
use crate::diagnostic::{Diagnostics, Span, did_you_mean, quoted};
use crate::parse::{Document, Item, Key, Tree};
use crate::values;

/// Index of a node in the graph.
pub type NodeId = usize;

/// `[service]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The folder of the log, its index, snapshots and secrets.
    pub data: String,
    /// This node's name.
    pub node: String,
    pub partitions: u32,
    /// Workers of the conversation stage.
    pub workers: usize,
}

/// `[listeners.NAME]`.
#[derive(Clone, Debug)]
pub struct Listener {
    pub name: String,
    pub address: std::net::SocketAddr,
    pub span: Span,
}

/// One wire into an input port.
#[derive(Clone, Debug)]
pub struct Wire {
    /// The producer and the index of its output port.
    pub from: (NodeId, usize),
    pub span: Span,
}

/// An output port of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    /// As in [`imflow_kind::Port`].
    pub types: &'static [RecordType],
}

/// One node of the file.
#[derive(Clone)]
pub struct Node {
    pub name: String,
    /// Its name in an earlier version of the file, under which its state may be found.
    pub was: Option<String>,
    /// Of the table's name.
    pub span: Span,
    pub kind: Kind,
    pub part: Part,
    pub options: Options,
    /// The options that stand in the file, with their places.
    pub written: HashMap<&'static str, Item>,
    /// The ports of the description, then those that the file names.
    pub outputs: Vec<Output>,
    /// The wires of each input port, in the order of the description.
    pub inputs: Vec<Vec<Wire>>,
    /// Which input ports the file gives, be it with mistakes.
    pub given: Vec<bool>,
}

impl Node {
    /// Where an option stands; the node's name for one that does not stand in the file.
    pub(crate) fn place_of(&self, option: &str) -> &Span {
        self.written.get(option).map_or(&self.span, |item| &item.span)
    }

    /// How an output is written in `inputs`: the main port by the node's name alone.
    pub fn output_name(&self, port: usize) -> String {
        match port {
            0 => self.name.clone(),
            _ => format!("{}.{}", self.name, self.outputs[port].name),
        }
    }
}

/// A graph without a bad name.
pub(crate) struct Resolved {
    pub service: Service,
    pub listeners: Vec<Listener>,
    pub nodes: Vec<Node>,
}

const FAMILIES: [(&str, Family); 3] =
    [("sources", Family::Source), ("operators", Family::Operator), ("sinks", Family::Sink)];

pub(crate) fn resolve(
    document: &Document,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) -> Resolved {
    let mut service = tables::default_service();
    let mut listeners = Vec::new();
    let mut declared = Vec::new();
    for (key, item) in document {
        match (key.name.as_str(), table(key, item, diagnostics)) {
            (_, None) => {}
            ("service", Some(entries)) => tables::read_service(entries, &mut service, diagnostics),
            ("listeners", Some(entries)) => {
                tables::read_listeners(entries, &mut listeners, diagnostics)
            }
            (name, Some(entries)) => match FAMILIES.iter().find(|(family, _)| *family == name) {
                Some((_, family)) => {
                    declare(*family, entries, registry, &mut declared, diagnostics)
                }
                None => {
                    let known = ["service", "listeners", "sources", "operators", "sinks"];
                    let help = did_you_mean(name, known)
                        .unwrap_or_else(|| format!("the tables are {}", quoted(known)));
                    diagnostics
                        .error(
                            "E002",
                            &key.span,
                            format!("unknown table `{name}`"),
                            "not a table of this file",
                        )
                        .help(help);
                }
            },
        }
    }
    let names = index_names(&declared, diagnostics);
    let wires: Vec<_> =
        declared.iter().map(|d| wires::wire(d, &declared, &names, diagnostics)).collect();
    let nodes = declared.into_iter().zip(wires);
    let nodes =
        nodes.map(|(declared, (inputs, given))| Node { inputs, given, ..declared.node }).collect();
    Resolved { service, listeners, nodes }
}

fn table<'a>(key: &Key, item: &'a Item, diagnostics: &mut Diagnostics) -> Option<&'a Document> {
    match &item.value {
        Tree::Table(entries) => Some(entries),
        other => {
            let message = format!("`{}` is not a table", key.name);
            diagnostics.error(
                "E007",
                &item.span,
                message,
                format!("expected a table, found {}", other.type_name()),
            );
            None
        }
    }
}

pub(crate) fn unknown_key(
    key: &Key,
    name: &str,
    known: &[&str],
    of: &str,
    diagnostics: &mut Diagnostics,
) {
    let help = did_you_mean(name, known.iter().copied());
    let help = help.unwrap_or_else(|| format!("it takes {}", quoted(known.iter().copied())));
    diagnostics
        .error("E003", &key.span, format!("unknown key `{name}` in {of}"), "not a key of it")
        .help(help);
}

pub(crate) fn missing(
    span: &Span,
    of: &str,
    key: &str,
    example: &str,
    diagnostics: &mut Diagnostics,
) {
    diagnostics
        .error("E008", span, format!("{of} has no `{key}`"), format!("`{key}` is missing here"))
        .help(format!("add `{key} = {example}`"));
}

/// A node whose inputs are still names.
struct Declared {
    node: Node,
    inputs: Option<Item>,
}

fn declare(
    family: Family,
    entries: &Document,
    registry: &Registry,
    declared: &mut Vec<Declared>,
    diagnostics: &mut Diagnostics,
) {
    for (key, item) in entries {
        let Some(entries) = table(key, item, diagnostics) else { continue };
        let Some(kind) = find_kind(family, key, entries, registry, diagnostics) else { continue };
        let description = kind.description;
        let mut node = Node {
            name: key.name.clone(),
            was: None,
            span: key.span.clone(),
            kind: kind.clone(),
            part: Part::Whole,
            options: Options::default(),
            written: HashMap::new(),
            outputs: Vec::new(),
            inputs: Vec::new(),
            given: Vec::new(),
        };
        let mut inputs = None;
        for (option, item) in entries {
            match option.name.as_str() {
                "kind" => {}
                "was" => match &item.value {
                    Tree::Text(text) => node.was = Some(text.clone()),
                    other => {
                        let found =
                            format!("expected the earlier name, found {}", other.type_name());
                        diagnostics.error(
                            "E007",
                            &item.span,
                            "`was` is not a text".to_owned(),
                            found,
                        );
                    }
                },
                "inputs" if !description.inputs.is_empty() => inputs = Some(item.clone()),
                name => read_option(&mut node, name, option, item, diagnostics),
            }
        }
        fill_defaults(&mut node, diagnostics);
        name_outputs(&mut node, diagnostics);
        declared.push(Declared { node, inputs });
    }
}

fn find_kind<'r>(
    family: Family,
    key: &Key,
    entries: &Document,
    registry: &'r Registry,
    diagnostics: &mut Diagnostics,
) -> Option<&'r Kind> {
    let of = format!("{} `{}`", family.word(), key.name);
    let known: Vec<_> = registry
        .kinds()
        .iter()
        .filter(|k| k.description.family == family)
        .map(|k| k.description.name)
        .collect();
    let Some((_, item)) = entries.iter().find(|(option, _)| option.name == "kind") else {
        missing(
            &key.span,
            &of,
            "kind",
            &format!("\"{}\"", known.first().unwrap_or(&"KIND")),
            diagnostics,
        );
        return None;
    };
    let Tree::Text(name) = &item.value else {
        diagnostics.error(
            "E007",
            &item.span,
            format!("`kind` of {of} is not a text"),
            item.value.type_name(),
        );
        return None;
    };
    let kind = registry.find(family, name);
    if kind.is_none() {
        let elsewhere = registry.kinds().iter().find(|k| k.description.name == name);
        let help = match elsewhere {
            Some(k) => format!(
                "`{name}` is a kind of {}: put it under `[{}s.{}]`",
                k.description.family.word(),
                k.description.family.word(),
                key.name
            ),
            None => did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
                format!("kinds of {} in this build: {}", family.word(), quoted(known))
            }),
        };
        diagnostics
            .error(
                "E004",
                &item.span,
                format!("unknown kind `{name}` of {}", family.word()),
                "no such kind",
            )
            .help(help);
    }
    kind
}

fn read_option(node: &mut Node, name: &str, key: &Key, item: &Item, diagnostics: &mut Diagnostics) {
    let description = node.kind.description;
    let Some(option) = description.options.iter().find(|o| o.name == name) else {
        let mut known: Vec<_> = description.options.iter().map(|o| o.name).collect();
        known.extend(["kind", "was"]);
        if !description.inputs.is_empty() {
            known.push("inputs");
        }
        unknown_key(key, name, &known, &format!("kind `{}`", description.name), diagnostics);
        return;
    };
    node.written.insert(option.name, item.clone());
    match values::read(option.kind, item) {
        Ok(value) => {
            node.options.set(option.name, value);
        }
        Err(problem) => {
            let code = if matches!(item.value, Tree::Text(_) | Tree::Integer(_)) {
                "E009"
            } else {
                "E007"
            };
            diagnostics
                .error(
                    code,
                    &item.span,
                    format!("option `{name}` of `{}`: {problem}", node.name),
                    "this value",
                )
                .help(format!("`{name}` takes {}: {}", values::expected(option.kind), option.doc));
        }
    }
}

fn fill_defaults(node: &mut Node, diagnostics: &mut Diagnostics) {
    for option in node.kind.description.options {
        if node.options.get(option.name).is_some() || node.written.contains_key(option.name) {
            continue;
        }
        match values::default_of(option) {
            Some(value) => {
                node.options.set(option.name, value);
            }
            None => {
                let of = format!("`{}` (kind `{}`)", node.name, node.kind.description.name);
                missing(&node.span, &of, option.name, "...", diagnostics);
            }
        }
    }
}

/// The outputs of the description, then those that the keys of an option name.
fn name_outputs(node: &mut Node, diagnostics: &mut Diagnostics) {
    let description = node.kind.description;
    let fixed = description.outputs.iter();
    node.outputs = fixed.map(|p| Output { name: p.name.to_owned(), types: p.types }).collect();
    let Some(option) = description.outputs_from else { return };
    let Some(Value::Entries(entries)) = node.options.get(option) else { return };
    for (name, _) in entries {
        if description.outputs.iter().any(|port| port.name == name) || name.contains('.') {
            let place = written_entry(node, option, name);
            let message = format!("`{}` cannot have a further output `{name}`", node.name);
            diagnostics.error("E010", &place, message, "this name").help(
                "a dot separates node and port, and the kind has an output of that name already",
            );
            continue;
        }
        node.outputs.push(Output { name: name.clone(), types: imflow_kind::ANY });
    }
}

/// Where a key of an option's table stands.
fn written_entry(node: &Node, option: &str, name: &str) -> Span {
    let table = node.written.get(option).map(|item| &item.value);
    let Some(Tree::Table(entries)) = table else { return node.place_of(option).clone() };
    let found = entries.iter().find(|(key, _)| key.name == name);
    found.map_or_else(|| node.place_of(option).clone(), |(key, _)| key.span.clone())
}

fn index_names(declared: &[Declared], diagnostics: &mut Diagnostics) -> HashMap<String, NodeId> {
    let mut names: HashMap<String, NodeId> = HashMap::new();
    for (id, Declared { node, .. }) in declared.iter().enumerate() {
        if let Some(first) = names.get(&node.name) {
            let message = format!("the name `{}` is used twice", node.name);
            diagnostics
                .error("E010", &node.span, message, "second use")
                .also(&declared[*first].node.span, "first defined here")
                .help("sources, operators and sinks share one space of names, since `inputs` refers to them alike");
        } else {
            names.insert(node.name.clone(), id);
        }
        if node.name.contains('.') {
            diagnostics.error(
                "E009",
                &node.span,
                format!("the name `{}` holds a dot", node.name),
                "`NAME.PORT` means a port",
            );
        }
    }
    names
}
