//! TOML to the tree, as far as it can be read: mistakes in one table do not hide the others.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::{Document, Item, Key, Tree};

/// Parses one of the sources: the syntax alone, neither variables nor overrides.
pub(crate) fn source(source: usize, diagnostics: &mut Diagnostics) -> Document {
    let text = diagnostics.sources.text(source).to_owned();
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        let message = format!("not TOML: {}", error.message());
        diagnostics.error(Code::Syntax, &Span { source, range }, message, "here");
    }
    entries(source, table.get_ref())
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
