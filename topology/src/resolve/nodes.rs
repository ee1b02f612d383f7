//! One table to one node: its kind, its options, the names of its outputs.

use std::collections::HashMap;

use imflow_kind::{Duty, Family, Form, Kind, Options, Part, Value, nearest};

use super::{Node, Output, missing, table, unknown_key};
use crate::Registry;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span, did_you_mean, quoted};
use crate::document::{Document, Item, Key, Tree, find};
use crate::values::{self, Unfit};

/// A node whose inputs are still names.
pub(super) struct Declared {
    pub node: Node,
    pub inputs: Option<Item>,
}

/// Reads a table; `None` if its kind cannot be found.
pub(super) fn declare(
    family: Family,
    key: &Key,
    item: &Item,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) -> Option<Declared> {
    check_name(key, diagnostics);
    let entries = table(key, item, diagnostics)?;
    let kind = find_kind(family, key, entries, registry, diagnostics)?;
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
        is_unsafe: false,
    };
    let mut inputs = None;
    for (option, item) in entries {
        match option.name.as_str() {
            "kind" => {}
            "was" => node.was = read_was(item, diagnostics),
            "unsafe" => node.is_unsafe = read_unsafe(item, diagnostics),
            "inputs" if !kind.description.inputs.is_empty() => inputs = Some(item.clone()),
            name => read_option(&mut node, name, option, item, diagnostics),
        }
    }
    fill_defaults(&mut node, diagnostics);
    check_conflicts(&node, entries, diagnostics);
    name_outputs(&mut node, diagnostics);
    check_feature(&node, entries, diagnostics);
    Some(Declared { node, inputs })
}

/// Names are part of references, of metrics and of the names of threads. A slash comes from templates.
fn check_name(key: &Key, diagnostics: &mut Diagnostics) {
    let fits = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    };
    let expanded = diagnostics.sources.used_at(&key.span).is_some();
    let is_name = if expanded { key.name.split('/').all(fits) } else { fits(&key.name) };
    if !is_name {
        let message = format!("`{}` cannot be the name of a node", key.name.escape_debug());
        diagnostics
            .error(Code::BadValue, &key.span, message, "expected letters, digits, `_` and `-`")
            .help("in `inputs` a dot means a port, and a slash a node that a template made");
    }
}

fn read_was(item: &Item, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = item.text();
    if text.is_none() {
        let found = format!("expected the earlier name, found {}", item.value.type_name());
        diagnostics.error(Code::WrongType, &item.span, "`was` is not a text".to_owned(), found);
    }
    text.map(str::to_owned)
}

fn read_unsafe(item: &Item, diagnostics: &mut Diagnostics) -> bool {
    if let Tree::Bool(value) = item.value {
        return value;
    }
    let found = format!("expected true or false, found {}", item.value.type_name());
    diagnostics.error(Code::WrongType, &item.span, "`unsafe` is not a boolean".to_owned(), found);
    false
}

/// Options that stand in the file and say two different things.
fn check_conflicts(node: &Node, entries: &Document, diagnostics: &mut Diagnostics) {
    let description = node.kind.description;
    if node.is_unsafe && description.duties.contains(&Duty::Authorises) {
        let (key, _) = find(entries, "unsafe").expect("just read");
        let message = format!("`{}` decides who may speak and is `unsafe`", node.name);
        diagnostics
            .error(Code::Contradiction, &key.span, message, "what comes through is checked")
            .help("remove `unsafe`: it belongs to a path that goes around this node");
    }
    for conflict in description.conflicts {
        let [Some(first), Some(second)] = conflict.options.map(|o| node.written.get(o)) else {
            continue;
        };
        let [one, other] = conflict.options;
        let message =
            format!("`{one}` and `{other}` of `{}` contradict: {}", node.name, conflict.why);
        diagnostics
            .error(Code::Contradiction, &second.span, message, "this one, or")
            .also(&first.span, "this one")
            .help("keep one of them");
    }
}

/// A kind that this build lacks is checked like any other, and then told.
fn check_feature(node: &Node, entries: &Document, diagnostics: &mut Diagnostics) {
    let Form::Missing { feature } = node.kind.form else { return };
    let place = find(entries, "kind").map_or(&node.span, |(_, item)| &item.span);
    let kind = node.kind.description.name;
    let message = format!("this build does not hold the kind `{kind}`");
    diagnostics
        .error(Code::MissingFeature, place, message, format!("needs the feature `{feature}`"))
        .help(format!("build with it: cargo run --release --features {feature}"));
}

fn find_kind<'r>(
    family: Family,
    key: &Key,
    entries: &Document,
    registry: &'r Registry,
    diagnostics: &mut Diagnostics,
) -> Option<&'r Kind> {
    let known: Vec<_> = registry
        .kinds()
        .iter()
        .filter(|k| k.description.family == family)
        .map(|k| k.description.name)
        .collect();
    let Some((_, item)) = find(entries, "kind") else {
        no_kind(family, key, entries, &known, diagnostics);
        return None;
    };
    let Tree::Text(name) = &item.value else {
        let message = format!("`kind` of {} `{}` is not a text", family.word(), key.name);
        diagnostics.error(Code::WrongType, &item.span, message, item.value.type_name());
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
            None => called(name, family, registry)
                .or_else(|| did_you_mean(name, known.iter().copied()))
                .unwrap_or_else(|| {
                    format!("kinds of {} in this build: {}", family.word(), quoted(known))
                }),
        };
        diagnostics
            .error(
                Code::UnknownKind,
                &item.span,
                format!("unknown kind `{name}` of {}", family.word()),
                "no such kind",
            )
            .help(help);
    }
    kind
}

/// The kind that other systems call by this name.
fn called(name: &str, family: Family, registry: &Registry) -> Option<String> {
    let same = |kind: &&Kind| {
        let it = kind.description;
        it.family == family && it.also.contains(&name)
    };
    let kind = registry.kinds().iter().find(same)?.description;
    Some(format!("perhaps `{}`: it {}", kind.name, kind.summary))
}

/// A node whose kind is not told.
fn no_kind(
    family: Family,
    key: &Key,
    entries: &Document,
    known: &[&str],
    diagnostics: &mut Diagnostics,
) {
    let message = format!("{} `{}` has no `kind`", family.word(), key.name);
    let kinds = quoted(known.iter().copied());
    let (place, label, help) = match find(entries, "type") {
        // As the configurations of other systems call it.
        Some((called, _)) => {
            (&called.span, "called `kind` here", "rename `type` to `kind`".to_owned())
        }
        None => {
            let help = format!("add `kind = \"...\"`; kinds of {}: {kinds}", family.word());
            (&key.span, "`kind` is missing here", help)
        }
    };
    diagnostics.error(Code::MissingKey, place, message, label).help(help);
}

fn read_option(node: &mut Node, name: &str, key: &Key, item: &Item, diagnostics: &mut Diagnostics) {
    let description = node.kind.description;
    let Some(option) = description.options.iter().find(|o| o.name == name) else {
        let mut known: Vec<_> = description.options.iter().map(|o| o.name).collect();
        known.extend(["kind", "was", "unsafe"]);
        if !description.inputs.is_empty() {
            known.push("inputs");
        }
        unknown_option(node, key, &known, item, diagnostics);
        return;
    };
    node.written.insert(option.name, item.clone());
    let read = match (option.default, item.text()) {
        (None, Some("")) => Err(Unfit::value("it must be given, and is empty".to_owned())),
        _ => values::read(option.kind, item),
    };
    match read {
        Ok(value) => {
            node.options.set(option.name, value);
        }
        Err(unfit) => {
            let takes = format!("`{name}` takes {}: {}", values::expected(option.kind), option.doc);
            let help = unfit.help.map_or(takes.clone(), |help| format!("{help}; {takes}"));
            let message = format!("option `{name}` of `{}`: {}", node.name, unfit.message);
            let place = unfit.part.as_ref().unwrap_or(&item.span);
            diagnostics.error(unfit.code, place, message, "this value").help(help);
        }
    }
}

/// Tells of a key that is no option. The required option that it was most likely meant for counts as
/// written: it is one mistake, not two.
fn unknown_option(
    node: &mut Node,
    key: &Key,
    known: &[&str],
    item: &Item,
    diagnostics: &mut Diagnostics,
) {
    let (name, description) = (key.name.as_str(), node.kind.description);
    let called = description.options.iter().find(|option| option.also.contains(&name));
    unknown_key(key, name, known, &format!("kind `{}`", description.name), diagnostics)
        .help_if(called.map(|option| format!("it is called `{}` here", option.name)));
    let near = || nearest(name, known.iter().copied());
    let meant = called.map(|option| option.name).or_else(|| near().first().copied());
    let required =
        description.options.iter().find(|o| o.default.is_none() && Some(o.name) == meant);
    if let Some(option) = required {
        node.written.entry(option.name).or_insert_with(|| item.clone());
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
                missing(&node.span, &of, option.name, values::example(option.kind), diagnostics);
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
            diagnostics.error(Code::DuplicateName, &place, message, "this name").help(
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
