//! TOML to the tree, as far as it can be read: mistakes in one table do not hide the others.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::syntax;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::{Document, Item, Key, Tree};

/// Parses one of the sources: the syntax alone, neither variables nor overrides.
pub(crate) fn source(source: usize, diagnostics: &mut Diagnostics) -> Document {
    let text = diagnostics.sources.text(source).to_owned();
    let (table, errors) = DeTable::parse_recoverable(&text);
    let mut twice: Vec<Range<usize>> = Vec::new();
    // The ends of the lines before those of syntax errors.
    let mut told = HashSet::new();
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        if error.message() == DUPLICATE_KEY {
            // A second header makes a second of every key below it: one mistake, told at the header.
            let header = header_of(&text, range.start);
            if !twice.contains(&header) {
                defined_twice(source, &text, table.get_ref(), &header, &range, diagnostics);
            }
            if header.contains(&range.start) {
                twice.push(header);
            }
            continue;
        }
        // What else is wrong in the same line is a consequence.
        let line = text.get(..range.start).and_then(|before| before.rfind('\n'));
        if !told.insert(line) {
            continue;
        }
        let message = format!("not TOML: {}", error.message());
        let help = syntax::help(&text, range.start);
        diagnostics.error(Code::Syntax, &Span { source, range }, message, "here").help_if(help);
    }
    entries(source, table.get_ref())
}

/// What the parser says of a key that stands in its table already.
const DUPLICATE_KEY: &str = "duplicate key";

fn defined_twice(
    source: usize,
    text: &str,
    table: &DeTable<'_>,
    header: &Range<usize>,
    second: &Range<usize>,
    diagnostics: &mut Diagnostics,
) {
    let mut path = names_of(&text[header.clone()]);
    let is_header = header.contains(&second.start);
    if !is_header {
        path.push(text.get(second.clone()).unwrap_or_default().trim_matches('"'));
    }
    let span = Span { source, range: second.clone() };
    let message = format!("`{}` is defined twice", path.join("."));
    let told = diagnostics.error(Code::DuplicateName, &span, message, "second definition");
    // The tree knows the last header of a table only, so an earlier one is looked for in the text.
    let first = if is_header { earlier_header(text, &path, header.start) } else { None };
    let first = first.or_else(|| key_at(table, &path)).filter(|first| first.start < second.start);
    if let Some(first) = first {
        told.also(&Span { source, range: first }, "first defined here");
    }
}

/// The names in a header: `[a.b]  # why` has two.
fn names_of(header: &str) -> Vec<&str> {
    let inside = header.trim_start().trim_start_matches('[').split(']').next().unwrap_or_default();
    let names = inside.split('.').map(|name| name.trim().trim_matches('"'));
    names.filter(|name| !name.is_empty()).collect()
}

/// The last name of the first header with these names, before a place.
fn earlier_header(text: &str, path: &[&str], before: usize) -> Option<Range<usize>> {
    let last = path.last()?;
    let mut offset = 0;
    for line in text[..before].split_inclusive('\n') {
        if line.trim_start().starts_with('[') && names_of(line) == path {
            let end = line.find(']').unwrap_or(line.len());
            let start = offset + line[..end].rfind(last)?;
            return Some(start..start + last.len());
        }
        offset += line.len();
    }
    None
}

/// Where the key at a path stands.
fn key_at(table: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    match (rest.is_empty(), value.get_ref()) {
        (true, _) => Some(key.span()),
        (false, DeValue::Table(table)) => key_at(table, rest),
        (false, _) => None,
    }
}

/// The line of the header whose table a place is in; empty before the first.
fn header_of(text: &str, at: usize) -> Range<usize> {
    let mut header = 0..0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if offset > at {
            break;
        }
        if line.trim_start().starts_with('[') {
            header = offset..offset + line.len();
        }
        offset += line.len();
    }
    header
}

/// A single value, if the text is one.
pub(super) fn value(source: usize, text: &str) -> Option<Tree> {
    let parsed = format!("v = {text}");
    let table = DeTable::parse(&parsed).ok()?;
    table.get_ref().iter().next().map(|(_, value)| item(source, value).value)
}

fn entries(source: usize, table: &DeTable<'_>) -> Document {
    let entry = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let span = Span { source, range: key.span() };
        (Key { span, name: key.get_ref().to_string() }, item(source, value))
    };
    table.iter().map(entry).collect()
}

fn item(source: usize, value: &Spanned<DeValue<'_>>) -> Item {
    let tree = match value.get_ref() {
        DeValue::String(text) => Tree::Text(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Tree::Other("an integer beyond 64 bits"), Tree::Integer),
        DeValue::Boolean(value) => Tree::Bool(*value),
        DeValue::Float(float) => match float.as_str().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Tree::Number(number),
            _ => Tree::Other("a number that is not finite"),
        },
        DeValue::Datetime(_) => Tree::Other("a date"),
        DeValue::Array(items) => Tree::List(items.iter().map(|i| item(source, i)).collect()),
        DeValue::Table(table) => Tree::Table(entries(source, table)),
    };
    Item::new(Span { source, range: value.span() }, tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Sources;

    #[test]
    fn a_table_and_a_key_that_stand_twice_are_told_once_with_both_places() {
        let text = "[a.b] # one\nx = 1\ny = 1\n[a.b] # two\nx = 2\n[c]\nz = 1\nz = 2\n";
        let mut diagnostics = Diagnostics::new(Sources::new("dataflow.toml", text));
        source(0, &mut diagnostics);
        let told = diagnostics.list().iter().map(|d| {
            let line = |span| diagnostics.sources.place(span).line;
            let first: Vec<_> = d.others.iter().map(|(span, _)| line(span)).collect();
            (d.message.as_str(), line(&d.span), first)
        });
        let expected =
            [("`a.b` is defined twice", 4, vec![1]), ("`c.z` is defined twice", 8, vec![7])];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn several_syntax_errors_are_found_at_once() {
        let text = "a = \nb = 1\nc = [1,\n";
        let mut diagnostics = Diagnostics::new(Sources::new("dataflow.toml", text));
        source(0, &mut diagnostics);
        assert!(diagnostics.list().len() >= 2, "{diagnostics}");
        let places = diagnostics.list().iter().map(|d| diagnostics.sources.place(&d.span));
        let places: Vec<_> = places.map(|place| (place.line, place.column)).collect();
        assert!(places.contains(&(1, 5)), "{places:?}");
    }
}
