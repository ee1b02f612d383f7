//! Names to nodes: tables, kinds, options and inputs. A `Resolved` graph holds no bad name.

mod listeners;
mod nodes;
pub(crate) mod tables;
mod wires;

use std::collections::{HashMap, HashSet};

use imflow_kind::{Family, Kind, Options, Part};
use imflow_proto::RecordType;

use crate::Registry;
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Diagnostics, Span, did_you_mean, quoted};
use crate::document::{Document, Item, Key, Tree};
use nodes::Declared;

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

pub use listeners::LISTENER_OPTIONS;

/// `[listeners.NAME]`.
#[derive(Clone, Debug)]
pub struct Listener {
    pub name: String,
    pub address: std::net::SocketAddr,
    /// As [`LISTENER_OPTIONS`] describes them; each is present.
    pub options: imflow_kind::Options,
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
    /// `unsafe = true`: what comes through here needs no permission.
    pub is_unsafe: bool,
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
    /// Names of tables that became no node.
    pub broken: HashSet<String>,
}

const FAMILIES: [(&str, Family); 3] =
    [("sources", Family::Source), ("operators", Family::Operator), ("sinks", Family::Sink)];

const TABLES: [&str; 7] =
    ["service", "listeners", "sources", "operators", "sinks", "profiles", "templates"];

/// Tables of other systems' files, and where their nodes stand here.
const ELSEWHERE: [(&str, &str); 9] = [
    ("transforms", "operators"),
    ("processors", "operators"),
    ("pipeline", "operators"),
    ("inputs", "sources"),
    ("input", "sources"),
    ("receivers", "sources"),
    ("outputs", "sinks"),
    ("output", "sinks"),
    ("exporters", "sinks"),
];

pub(crate) fn resolve(
    document: &Document,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) -> Resolved {
    let mut service = tables::default_service();
    let mut listeners = Vec::new();
    let (mut declared, mut broken) = (Vec::new(), Vec::new());
    for (key, item) in document {
        match (key.name.as_str(), table(key, item, diagnostics)) {
            (_, None) => {}
            ("service", Some(entries)) => tables::read_service(entries, &mut service, diagnostics),
            ("listeners", Some(entries)) => listeners::read(entries, &mut listeners, diagnostics),
            (name, Some(entries)) => match FAMILIES.iter().find(|(family, _)| *family == name) {
                Some((_, family)) => {
                    for (key, item) in entries {
                        match nodes::declare(*family, key, item, registry, diagnostics) {
                            Some(node) => declared.push(node),
                            None => broken.push(key.clone()),
                        }
                    }
                }
                None => {
                    let known = TABLES;
                    let called = ELSEWHERE.iter().find(|(other, _)| *other == name);
                    let help = called
                        .map(|(_, here)| format!("such nodes stand in `[{here}.NAME]` here"))
                        .or_else(|| did_you_mean(name, known))
                        .unwrap_or_else(|| format!("the tables are {}", quoted(known)));
                    diagnostics
                        .error(
                            Code::UnknownTable,
                            &key.span,
                            format!("unknown table `{name}`"),
                            "not a table of this file",
                        )
                        .help(help);
                }
            },
        }
    }
    let names = index_names(&declared, &broken, diagnostics);
    let wires: Vec<_> =
        declared.iter().map(|d| wires::wire(d, &declared, &names, diagnostics)).collect();
    let nodes = declared.into_iter().zip(wires);
    let nodes =
        nodes.map(|(declared, (inputs, given))| Node { inputs, given, ..declared.node }).collect();
    let broken = broken.into_iter().map(|key| key.name).collect();
    Resolved { service, listeners, nodes, broken }
}

fn table<'a>(key: &Key, item: &'a Item, diagnostics: &mut Diagnostics) -> Option<&'a Document> {
    match &item.value {
        Tree::Table(entries) => Some(entries),
        other => {
            let message = format!("`{}` is not a table", key.name);
            diagnostics.error(
                Code::WrongType,
                &item.span,
                message,
                format!("expected a table, found {}", other.type_name()),
            );
            None
        }
    }
}

pub(crate) fn unknown_key<'d>(
    key: &Key,
    name: &str,
    known: &[&str],
    of: &str,
    diagnostics: &'d mut Diagnostics,
) -> &'d mut Diagnostic {
    let help = did_you_mean(name, known.iter().copied());
    let help = help.unwrap_or_else(|| format!("it takes {}", quoted(known.iter().copied())));
    diagnostics
        .error(
            Code::UnknownKey,
            &key.span,
            format!("unknown key `{name}` in {of}"),
            "not a key of it",
        )
        .help(help)
}

pub(crate) fn missing(
    span: &Span,
    of: &str,
    key: &str,
    example: &str,
    diagnostics: &mut Diagnostics,
) {
    diagnostics
        .error(
            Code::MissingKey,
            span,
            format!("{of} has no `{key}`"),
            format!("`{key}` is missing here"),
        )
        .help(format!("add `{key} = {example}`"));
}

/// Every name of the file and its node; `None` if the node's kind could not be found, so that wires to it
/// are not mistakes of their own.
pub(super) type Names = HashMap<String, Option<NodeId>>;

fn index_names(declared: &[Declared], broken: &[Key], diagnostics: &mut Diagnostics) -> Names {
    let nodes = declared.iter().enumerate().map(|(id, d)| (&d.node.name, &d.node.span, Some(id)));
    let broken = broken.iter().map(|key| (&key.name, &key.span, None));
    let mut first: HashMap<String, (&Span, Option<NodeId>)> = HashMap::new();
    for (name, span, id) in nodes.chain(broken) {
        if let Some((known, _)) = first.get(name) {
            let message = format!("the name `{name}` is used twice");
            diagnostics
                .error(Code::DuplicateName, span, message, "second use")
                .also(known, "first defined here")
                .help("sources, operators and sinks share one space of names, since `inputs` refers to them alike");
        } else {
            first.insert(name.clone(), (span, id));
        }
    }
    first.into_iter().map(|(name, (_, id))| (name, id)).collect()
}
