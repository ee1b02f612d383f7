//! `[templates.NAME]`: parameters, inputs, outputs and the nodes of a piece of the graph.

use imflow_kind::OptType;

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span, did_you_mean, quoted};
use crate::document::{Document, Item, Key, Tree};
use crate::values;

/// A template that can be used.
pub(super) struct Template {
    pub key: Key,
    pub params: Vec<Param>,
    /// Names of its inputs, the main one first.
    pub inputs: Vec<String>,
    /// Names of its outputs and the inner ports that they stand for, the main one first.
    pub outputs: Vec<(Key, Item)>,
    /// `operators` and `sinks` with their nodes.
    pub families: Vec<(&'static str, Document)>,
}

/// A parameter; without a default it must be given.
pub(super) struct Param {
    pub name: String,
    pub kind: OptType,
    pub default: Option<Item>,
}

/// The types of parameters, as they are written.
const TYPES: [(&str, OptType); 7] = [
    ("text", OptType::Text),
    ("integer", OptType::Integer(i64::MIN, i64::MAX)),
    ("number", OptType::Number(f64::MIN, f64::MAX)),
    ("boolean", OptType::Bool),
    ("duration", OptType::Duration(0, u64::MAX)),
    ("size", OptType::Size(0, u64::MAX)),
    ("texts", OptType::Texts),
];

const KEYS: [&str; 5] = ["params", "inputs", "outputs", "operators", "sinks"];

/// Reads the templates of a file.
pub(super) fn read_all(table: &Item, diagnostics: &mut Diagnostics) -> Vec<Template> {
    let Some(entries) = expect_table(table, "`templates`", diagnostics) else { return Vec::new() };
    entries.iter().filter_map(|(key, item)| read(key, item, diagnostics)).collect()
}

fn read(key: &Key, item: &Item, diagnostics: &mut Diagnostics) -> Option<Template> {
    let entries = expect_table(item, &format!("template `{}`", key.name), diagnostics)?;
    let mut template = Template {
        key: key.clone(),
        params: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        families: Vec::new(),
    };
    for (part, item) in entries {
        match part.name.as_str() {
            "params" => template.params = params(item, diagnostics),
            "inputs" => template.inputs = names(item, diagnostics),
            "outputs" => {
                let outputs = expect_table(item, "`outputs` of a template", diagnostics);
                template.outputs = outputs.cloned().unwrap_or_default();
            }
            "operators" => template.families.push(("operators", nodes(item, diagnostics))),
            "sinks" => template.families.push(("sinks", nodes(item, diagnostics))),
            other => {
                let help = did_you_mean(other, KEYS)
                    .unwrap_or_else(|| format!("a template has {}", quoted(KEYS)));
                let message = format!("unknown key `{other}` in template `{}`", key.name);
                diagnostics
                    .error(Code::UnknownKey, &part.span, message, "not a key of it")
                    .help(help);
            }
        }
    }
    if template.families.iter().all(|(_, nodes)| nodes.is_empty()) {
        let message = format!("template `{}` has no nodes", key.name);
        let help = format!("add `[templates.{}.operators.NAME]`", key.name);
        diagnostics.error(Code::BadTemplate, &key.span, message, "empty").help(help);
    }
    check_outputs(&template, diagnostics);
    Some(template)
}

fn expect_table<'a>(
    item: &'a Item,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a Document> {
    if item.table().is_none() {
        let found = format!("expected a table, found {}", item.value.type_name());
        diagnostics.error(Code::WrongType, &item.span, format!("{what} is not a table"), found);
    }
    item.table()
}

fn nodes(item: &Item, diagnostics: &mut Diagnostics) -> Document {
    let nodes = expect_table(item, "the nodes of a template", diagnostics);
    let nodes = nodes.into_iter().flatten();
    nodes
        .filter(|(key, node)| {
            expect_table(node, &format!("node `{}`", key.name), diagnostics).is_some()
        })
        .cloned()
        .collect()
}

fn params(item: &Item, diagnostics: &mut Diagnostics) -> Vec<Param> {
    let entries = expect_table(item, "`params` of a template", diagnostics);
    entries.into_iter().flatten().filter_map(|(key, item)| param(key, item, diagnostics)).collect()
}

/// `"integer"`, or `{ type = "integer", default = 5 }`.
fn param(key: &Key, item: &Item, diagnostics: &mut Diagnostics) -> Option<Param> {
    let (mut written, mut default) = (Some(item), None);
    if let Some(entries) = item.table() {
        written = None;
        for (part, item) in entries {
            match part.name.as_str() {
                "type" => written = Some(item),
                "default" => default = Some(item.clone()),
                _ => {
                    let message =
                        format!("unknown key `{}` of parameter `{}`", part.name, key.name);
                    diagnostics
                        .error(Code::UnknownKey, &part.span, message, "not a key of it")
                        .help("a parameter has `type` and `default`");
                }
            }
        }
    }
    let name = written.and_then(Item::text);
    let Some((_, kind)) = TYPES.iter().find(|(known, _)| Some(*known) == name) else {
        let place = written.map_or(&key.span, |item| &item.span);
        let message = format!("parameter `{}` has no known type", key.name);
        let help = format!(
            "write {} = \"integer\", or {0} = {{ type = \"integer\", default = 5 }}; the types are {}",
            key.name,
            quoted(TYPES.map(|(name, _)| name))
        );
        diagnostics.error(Code::BadTemplate, place, message, "expected a type").help(help);
        return None;
    };
    if let Some(item) = &default
        && let Err(unfit) = values::read(*kind, item)
    {
        let message = format!("the default of parameter `{}`: {}", key.name, unfit.message);
        let place = unfit.part.as_ref().unwrap_or(&item.span);
        diagnostics.error(Code::BadTemplate, place, message, "this value").help_if(unfit.help);
    }
    Some(Param { name: key.name.clone(), kind: *kind, default })
}

fn names(item: &Item, diagnostics: &mut Diagnostics) -> Vec<String> {
    let Tree::List(items) = &item.value else {
        let found = format!("expected a list of names, found {}", item.value.type_name());
        let message = "`inputs` of a template is not a list".to_owned();
        diagnostics
            .error(Code::WrongType, &item.span, message, found)
            .help("write inputs = [\"messages\"], and use it inside as \"inputs.messages\"");
        return Vec::new();
    };
    items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
}

/// Each output stands for a port of an inner node.
fn check_outputs(template: &Template, diagnostics: &mut Diagnostics) {
    let known: Vec<_> = template.nodes().map(|(_, key, _)| key.name.as_str()).collect();
    for (key, item) in &template.outputs {
        let target = item.text().unwrap_or_default();
        let node = target.split('.').next().unwrap_or_default();
        if !known.contains(&node) {
            let message = format!(
                "output `{}` of template `{}` is no port of an inner node",
                key.name, template.key.name
            );
            let help = did_you_mean(node, known.iter().copied())
                .unwrap_or_else(|| format!("its nodes are {}", quoted(known.iter().copied())));
            diagnostics.error(Code::BadTemplate, &item.span, message, "no such node").help(help);
        }
    }
}

impl Template {
    /// Family, name and table of each inner node.
    pub fn nodes(&self) -> impl Iterator<Item = (&'static str, &Key, &Item)> {
        self.families
            .iter()
            .flat_map(|(family, nodes)| nodes.iter().map(|(key, item)| (*family, key, item)))
    }

    /// The text in which it stands.
    pub fn source(&self) -> usize {
        self.key.span.source
    }

    /// The inner port that an output stands for; without a name, the main one.
    pub fn output(&self, name: Option<&str>) -> Option<&str> {
        let found = match name {
            None => self.outputs.first(),
            Some(name) => self.outputs.iter().find(|(key, _)| key.name == name),
        };
        found.and_then(|(_, item)| item.text())
    }

    /// Where a template is mentioned.
    pub fn span(&self) -> &Span {
        &self.key.span
    }
}
