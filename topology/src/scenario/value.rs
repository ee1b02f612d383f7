//! Values of a test file, as JSON and as the file writes them.

use imflow_proto::record::Scalar;
use serde_json::{Map, Value};

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span, did_you_mean};
use crate::document::{Item, Tree};

/// A value as JSON; what JSON cannot say is a mistake.
pub(super) fn json(item: &Item, diagnostics: &mut Diagnostics) -> Value {
    match &item.value {
        Tree::Text(text) => Value::from(text.as_str()),
        Tree::Integer(integer) => Value::from(*integer),
        Tree::Number(number) => Value::from(*number),
        Tree::Bool(value) => Value::from(*value),
        Tree::List(items) => items.iter().map(|item| json(item, diagnostics)).collect(),
        Tree::Table(entries) => {
            let entry = |(key, item): &(crate::document::Key, Item)| {
                (key.name.clone(), json(item, diagnostics))
            };
            Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
        Tree::Other(name) => {
            let message = format!("{name} cannot stand here");
            diagnostics
                .error(Code::WrongType, &item.span, message, "this value")
                .help("times on the wire are milliseconds since the Unix epoch");
            Value::Null
        }
    }
}

/// A value as a field of a record.
pub(super) fn scalar(item: &Item) -> Option<Scalar> {
    Some(match &item.value {
        Tree::Text(text) => Scalar::String(text.as_str().into()),
        Tree::Integer(integer) => Scalar::Int(*integer),
        Tree::Number(number) => Scalar::Double(*number),
        Tree::Bool(value) => Scalar::Bool(*value),
        Tree::List(items) => {
            let text = |item: &Item| match &item.value {
                Tree::Text(text) => Some(text.as_str().into()),
                _ => None,
            };
            Scalar::Strings(items.iter().map(text).collect::<Option<_>>()?)
        }
        Tree::Table(_) | Tree::Other(_) => return None,
    })
}

/// A field of a record as JSON.
pub(super) fn of_scalar(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Bool(value) => Value::from(*value),
        Scalar::Int(value) => Value::from(*value),
        Scalar::Double(value) => Value::from(*value),
        Scalar::String(value) => Value::from(&**value),
        Scalar::Strings(values) => values.iter().map(|value| Value::from(&**value)).collect(),
    }
}

/// A value as it would stand in the file.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Object(entries) => shown_entries(entries.iter()),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Value::Null => "nothing".to_owned(),
        scalar => scalar.to_string(),
    }
}

/// The entries of a table as they would stand in the file.
pub(super) fn shown_entries<'v>(entries: impl Iterator<Item = (&'v String, &'v Value)>) -> String {
    let entries: Vec<_> = entries.map(|(key, value)| format!("{key} = {}", shown(value))).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// Reports what a kind says of a value, at the key or text that the sentence names, if it names one.
pub(super) fn report_unfit(item: &Item, sentence: &str, diagnostics: &mut Diagnostics) {
    let quoted: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
    let place = quoted.first().and_then(|word| find(item, word)).unwrap_or(&item.span);
    let help =
        quoted.split_first().and_then(|(bad, known)| did_you_mean(bad, known.iter().copied()));
    let code = if sentence.starts_with("unknown key") { Code::UnknownKey } else { Code::BadValue };
    diagnostics.error(code, place, sentence.to_owned(), "here").help_if(help);
}

fn find<'a>(item: &'a Item, word: &str) -> Option<&'a Span> {
    match &item.value {
        Tree::Text(text) if text == word => Some(&item.span),
        Tree::List(items) => items.iter().find_map(|item| find(item, word)),
        Tree::Table(entries) => entries.iter().find_map(|(key, item)| {
            if key.name == word { Some(&key.span) } else { find(item, word) }
        }),
        _ => None,
    }
}

/// Milliseconds as people write them, in as many units as it takes: `1m30s`.
pub(super) fn offset(mut ms: u64) -> String {
    let mut text = String::new();
    for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= factor {
            text += &format!("{}{unit}", ms / factor);
            ms %= factor;
        }
    }
    if ms > 0 {
        text += &format!("{ms}ms");
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_they_are_written() {
        let shown = [0, 250, 90_000, 3_600_000, 90_061_001].map(offset);
        assert_eq!(shown, ["0s", "250ms", "1m30s", "1h", "1d1h1m1s1ms"]);
    }
}
