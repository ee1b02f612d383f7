//! Templates: each use becomes the nodes of the template, named `USE/NODE`.
//!
//! ```text
//! [operators.crowd] kind = "large"   ->   [operators."crowd/big"] kind = "filter"
//! inputs = ["crowd"]                 ->   inputs = ["crowd/big"]
//! ```
//!
//! What a template holds keeps its place in the file, in a source of its own for each use, so that a
//! mistake inside shows the template's line and the place of the use. Later phases know no templates.

mod template;
mod wires;

use std::collections::HashMap;

use crate::Registry;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span, did_you_mean, quoted};
use crate::document::{Document, Item, Key, Tree, find, take};
use crate::parse::{PARAMS, replace};
use crate::values;
use template::{Param, Template};

/// Nodes that the templates of one file may become.
const MAX_NODES: usize = 100_000;

/// Replaces every use of a template.
pub(crate) fn expand(
    mut document: Document,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) -> Document {
    let Some((_, table)) = take(&mut document, "templates") else { return document };
    let templates = template::read_all(&table, diagnostics);
    check_names(&templates, registry, diagnostics);
    let templates = templates.iter().map(|t| (t.key.name.as_str(), t)).collect();
    let mut expansion = Expansion {
        templates,
        aliases: HashMap::new(),
        made: Vec::new(),
        stack: Vec::new(),
        count: 0,
    };
    for family in ["operators", "sinks"] {
        let Some((_, item)) = document.iter_mut().find(|(key, _)| key.name == family) else {
            continue;
        };
        let Tree::Table(nodes) = &mut item.value else { continue };
        for (key, node) in std::mem::take(nodes) {
            match expansion.template_of(&node) {
                Some(template) => expansion.use_template(&key, &node, template, diagnostics),
                None => nodes.push((key, node)),
            }
        }
    }
    let Expansion { aliases, made, .. } = expansion;
    for (family, key, node) in made {
        if let Some(nodes) = table_of(&mut document, family, &key.span) {
            nodes.push((key, node));
        }
    }
    wires::rewrite(&mut document, &aliases, diagnostics);
    document
}

/// Forgets mistakes inside expansions if a template is wrong or wrongly used: its insides follow from that.
pub(crate) fn forget_consequences(diagnostics: &mut Diagnostics) {
    if diagnostics.list().iter().any(|d| d.code == Code::BadTemplate) {
        diagnostics
            .forget(|sources, d| d.code != Code::BadTemplate && sources.used_at(&d.span).is_some());
    }
}

/// The table of a family, made if the file has none; `None` if it is no table, which the next phase tells.
fn table_of<'a>(document: &'a mut Document, family: &str, span: &Span) -> Option<&'a mut Document> {
    let at = document.iter().position(|(key, _)| key.name == family).unwrap_or_else(|| {
        let key = Key { span: span.clone(), name: family.to_owned() };
        document.push((key, Item::new(span.clone(), Tree::Table(Vec::new()))));
        document.len() - 1
    });
    match &mut document[at].1.value {
        Tree::Table(nodes) => Some(nodes),
        _ => None,
    }
}

fn check_names(templates: &[Template], registry: &Registry, diagnostics: &mut Diagnostics) {
    for template in templates {
        let name = &template.key.name;
        if registry.kinds().iter().any(|kind| kind.description.name == name) {
            let message = format!("template `{name}` has the name of a kind");
            let help = "give it another name, so that `kind` means one thing";
            diagnostics.error(Code::BadTemplate, template.span(), message, "taken").help(help);
        }
    }
}

/// What the outputs of a use stand for.
struct Alias<'t> {
    template: &'t Template,
    /// The global name of the use.
    prefix: String,
}

struct Expansion<'t> {
    templates: HashMap<&'t str, &'t Template>,
    aliases: HashMap<String, Alias<'t>>,
    /// Family, name and table of each node that came to be.
    made: Vec<(&'static str, Key, Item)>,
    /// The templates whose insides are being expanded.
    stack: Vec<&'t str>,
    count: usize,
}

impl<'t> Expansion<'t> {
    fn template_of(&self, node: &Item) -> Option<&'t Template> {
        let (_, kind) = find(node.table()?, "kind")?;
        self.templates.get(kind.text()?).copied()
    }

    fn use_template(
        &mut self,
        key: &Key,
        node: &Item,
        template: &'t Template,
        diagnostics: &mut Diagnostics,
    ) {
        let alias = Alias { template, prefix: key.name.clone() };
        self.aliases.insert(key.name.clone(), alias);
        if !self.enter(key, template, diagnostics) {
            return;
        }
        let entries = node.table().map_or(&[][..], Vec::as_slice);
        let inputs = wires::given(template, entries, key, diagnostics);
        let params = params(template, entries, key, diagnostics);
        let source = diagnostics.sources.add_expansion(template.source(), &key.span);
        let own = template.source();
        let respan = |span: &mut Span| {
            if span.source == own {
                span.source = source;
            }
        };
        for (family, inner, item) in template.nodes() {
            let mut item = item.clone();
            item.respan(&respan);
            let mut span = inner.span.clone();
            respan(&mut span);
            let name = format!("{}/{}", key.name, inner.name);
            let inner = Key { span, name };
            substitute(&mut item, &params, diagnostics);
            wires::localise(&mut item, key, template, &inputs, diagnostics);
            match self.template_of(&item) {
                Some(nested) => self.use_template(&inner, &item, nested, diagnostics),
                None => self.made.push((family, inner, item)),
            }
        }
        self.stack.pop();
    }

    /// Refuses a template inside itself, and one that would fill the memory.
    fn enter(&mut self, key: &Key, template: &'t Template, diagnostics: &mut Diagnostics) -> bool {
        let name = template.key.name.as_str();
        if let Some(from) = self.stack.iter().position(|open| *open == name) {
            let path: Vec<_> = self.stack[from..].iter().copied().chain([name]).collect();
            let message = format!("template `{name}` uses itself: {}", path.join(" -> "));
            diagnostics
                .error(Code::BadTemplate, &key.span, message, "used here")
                .also(template.span(), format!("`{name}` is defined here"))
                .help("a template cannot hold a use of itself");
            return false;
        }
        let before = self.count;
        self.count += template.nodes().count();
        if self.count > MAX_NODES {
            if before <= MAX_NODES {
                let message = format!("the templates become more than {MAX_NODES} nodes");
                diagnostics
                    .error(Code::BadTemplate, &key.span, message, "the limit is reached here")
                    .help("use fewer templates inside templates");
            }
            return false;
        }
        self.stack.push(name);
        true
    }
}

/// The values of a use's parameters; those with mistakes are left out.
fn params(
    template: &Template,
    entries: &[(Key, Item)],
    key: &Key,
    diagnostics: &mut Diagnostics,
) -> HashMap<String, Option<Item>> {
    let mut params: HashMap<String, Option<Item>> = HashMap::new();
    for (option, item) in entries {
        if matches!(option.name.as_str(), "kind" | "inputs") {
            continue;
        }
        if let Some(param) = template.params.iter().find(|param| param.name == option.name) {
            let value = given(param, template, key, item, diagnostics);
            params.insert(param.name.clone(), value);
        } else {
            unknown_param(template, option, diagnostics);
            // Likely misspelt: what it was meant for is not reported as missing.
            template.params.iter().for_each(|p| {
                params.entry(p.name.clone()).or_insert(None);
            });
        }
    }
    for param in &template.params {
        match (params.get(&param.name), &param.default) {
            (Some(Some(_)), _) | (Some(None), None) => {}
            (_, Some(default)) => {
                params.insert(param.name.clone(), Some(default.clone()));
            }
            (None, None) => {
                missing_param(param, template, key, diagnostics);
                params.insert(param.name.clone(), None);
            }
        }
    }
    params
}

/// What a use gives for a parameter, if it can be taken.
fn given(
    param: &Param,
    template: &Template,
    key: &Key,
    item: &Item,
    diagnostics: &mut Diagnostics,
) -> Option<Item> {
    let Err(unfit) = values::read(param.kind, item) else { return Some(item.clone()) };
    let message = format!("parameter `{}` of `{}`: {}", param.name, key.name, unfit.message);
    diagnostics
        .error(Code::BadTemplate, unfit.part.as_ref().unwrap_or(&item.span), message, "this value")
        .also(template.span(), "the template")
        .help_if(unfit.help);
    None
}

fn unknown_param(template: &Template, option: &Key, diagnostics: &mut Diagnostics) {
    let known = template.params.iter().map(|param| param.name.as_str());
    let help = did_you_mean(&option.name, known.clone())
        .unwrap_or_else(|| format!("its parameters are {}", quoted(known)));
    let message = format!("template `{}` has no parameter `{}`", template.key.name, option.name);
    diagnostics
        .error(Code::BadTemplate, &option.span, message, "no such parameter")
        .also(template.span(), "the template")
        .help(help);
}

fn missing_param(param: &Param, template: &Template, key: &Key, diagnostics: &mut Diagnostics) {
    let message =
        format!("`{}` (template `{}`) has no `{}`", key.name, template.key.name, param.name);
    let label = format!("`{}` is missing here", param.name);
    diagnostics
        .error(Code::BadTemplate, &key.span, message, label)
        .also(template.span(), "the template")
        .help(format!("add `{} = {}`", param.name, values::example(param.kind)));
}

/// Puts parameters into a node's values. A text that is one parameter and nothing else takes its type.
fn substitute(
    item: &mut Item,
    params: &HashMap<String, Option<Item>>,
    diagnostics: &mut Diagnostics,
) {
    match &mut item.value {
        Tree::List(items) => {
            items.iter_mut().for_each(|item| substitute(item, params, diagnostics))
        }
        Tree::Table(entries) => {
            entries.iter_mut().for_each(|(_, item)| substitute(item, params, diagnostics));
        }
        Tree::Text(text) if text.contains("${") => {
            let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let param = whole.and_then(|name| params.get(name.strip_prefix(PARAMS)?));
            if let Some(param) = param {
                if let Some(value) = param {
                    *item = value.clone();
                }
                return;
            }
            let lookup = |name: &str| {
                let param = params.get(name.strip_prefix(PARAMS)?)?;
                Some(param.as_ref().map_or_else(String::new, |item| values::plain(&item.value)))
            };
            replace(item, &lookup, diagnostics);
        }
        _ => {}
    }
}
