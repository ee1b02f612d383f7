//! `--set a.b.c=value`: the value as TOML if it is, else as text.

use super::convert;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::{Document, Item, Key, Tree};

/// One `--set`.
pub(super) struct Override {
    pub keys: Vec<String>,
    /// Of the keys.
    span: Span,
    pub item: Item,
}

/// Reads the arguments; those without a path are reported and left out.
pub(super) fn read(arguments: &[String], diagnostics: &mut Diagnostics) -> Vec<Override> {
    arguments.iter().filter_map(|argument| read_one(argument, diagnostics)).collect()
}

fn read_one(argument: &str, diagnostics: &mut Diagnostics) -> Option<Override> {
    let source = diagnostics.sources.add("--set", argument);
    let whole = Span { source, range: 0..argument.len() };
    let Some((path, value)) = argument.split_once('=') else {
        let message = format!("`--set {argument}` has no `=`");
        diagnostics
            .error(Code::Syntax, &whole, message, "expected KEY=VALUE")
            .help("for example: --set listeners.main.address=127.0.0.1:9000");
        return None;
    };
    let keys: Vec<_> = path.split('.').map(|key| key.trim().to_owned()).collect();
    if keys.iter().any(String::is_empty) {
        let message = format!("`{path}` is not a path of keys");
        diagnostics.error(Code::Syntax, &whole, message, "expected KEY.KEY.KEY=VALUE");
        return None;
    }
    let place = Span { source, range: path.len() + 1..argument.len() };
    let tree = convert::value(source, value).unwrap_or_else(|| Tree::Text(value.to_owned()));
    let mut item = Item::new(place.clone(), tree);
    item.respan(&|span| span.clone_from(&place));
    Some(Override { keys, span: Span { source, range: 0..path.len() }, item })
}

impl Override {
    /// Whether it chooses the profile, and so has been heard.
    pub fn is_profile(&self) -> bool {
        self.keys == ["profile"]
    }

    /// Replaces or adds the value.
    pub fn apply(self, document: &mut Document) {
        insert(document, &self.keys, &self.span, self.item);
    }
}

fn insert(table: &mut Document, keys: &[String], span: &Span, item: Item) {
    let (first, rest) = keys.split_first().expect("a path has a key");
    let found = table.iter_mut().find(|(key, _)| key.name == *first);
    match (found, rest.is_empty()) {
        (Some((_, old)), true) => *old = item,
        (Some((_, Item { value: Tree::Table(inner), .. })), false) => {
            insert(inner, rest, span, item);
        }
        (Some((_, old)), false) => *old = nested(rest, span, item),
        (None, true) => table.push((key(first, span), item)),
        (None, false) => table.push((key(first, span), nested(rest, span, item))),
    }
}

fn key(name: &str, span: &Span) -> Key {
    Key { span: span.clone(), name: name.to_owned() }
}

fn nested(keys: &[String], span: &Span, item: Item) -> Item {
    let mut inner = Vec::new();
    insert(&mut inner, keys, span, item);
    Item::new(span.clone(), Tree::Table(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Sources;

    #[test]
    fn an_override_replaces_or_adds_any_value() {
        let mut diagnostics = Diagnostics::new(Sources::new("dataflow.toml", "[a.b]\nc = 1\n"));
        let mut document = convert::source(0, &mut diagnostics);
        let arguments = ["a.b.c=127.0.0.1:9000", "a.d.e=[1, 2]", "f=true"].map(str::to_owned);
        for change in read(&arguments, &mut diagnostics) {
            change.apply(&mut document);
        }
        assert!(diagnostics.is_empty());
        let text = crate::document::to_toml(&document);
        let expected = "f = true\n\n[a.b]\nc = \"127.0.0.1:9000\"\n\n[a.d]\ne = [1, 2]\n";
        assert_eq!(text, expected);
    }
}
