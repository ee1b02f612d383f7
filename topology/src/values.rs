//! The values of options: read from the file, checked against what the option takes.

use std::collections::BTreeMap;
use std::time::Duration;

use imflow_kind::units::{duration_ms, show_bytes, show_ms, size_bytes};
use imflow_kind::{Opt, OptType, RoleName, Value};

use crate::document::{Item, Tree};

/// Reads the value of an option.
///
/// # Errors
/// What was expected, as a sentence without a place.
pub(crate) fn read(kind: OptType, item: &Item) -> Result<Value, String> {
    let found = match &item.value {
        Tree::Text(text) => format!("\"{text}\""),
        other => other.type_name().to_owned(),
    };
    let wrong = |expected: &str| format!("expected {expected}, found {found}");
    let from_variable = match kind {
        OptType::Bool | OptType::Integer(..) | OptType::Number(..) => item.plain_from_variable(),
        _ => None,
    };
    match (kind, from_variable.as_ref().unwrap_or(&item.value)) {
        (
            OptType::Text
            | OptType::Listener
            | OptType::Predicate
            | OptType::Expression
            | OptType::Reference(_),
            Tree::Text(text),
        ) if !text.contains('\0') => Ok(Value::Text(text.clone())),
        (OptType::Route, Tree::Text(text)) if is_route(text) => Ok(Value::Text(text.clone())),
        (OptType::Choice(words), Tree::Text(text)) if words.contains(&text.as_str()) => {
            Ok(Value::Text(text.clone()))
        }
        (OptType::Bool, Tree::Bool(value)) => Ok(Value::Bool(*value)),
        (OptType::Integer(low, high), Tree::Integer(value)) => {
            in_range(*value, low, high, &|v| v.to_string()).map(Value::Integer)
        }
        (OptType::Number(low, high), Tree::Integer(value)) => {
            in_range(*value as f64, low, high, &|v| v.to_string()).map(Value::Number)
        }
        (OptType::Number(low, high), Tree::Number(value)) => {
            in_range(*value, low, high, &|v| v.to_string()).map(Value::Number)
        }
        (OptType::Texts, Tree::List(items)) => {
            texts(items).map(Value::Texts).map_err(|found| format!("it holds {found} beside texts"))
        }
        (OptType::Expressions, Tree::Table(entries)) => {
            let entries = entries.iter().map(|(key, item)| match &item.value {
                Tree::Text(text) => Ok((key.name.clone(), text.clone())),
                other => Err(format!("`{}` is {} and not a text", key.name, other.type_name())),
            });
            entries.collect::<Result<_, _>>().map(Value::Entries)
        }
        (OptType::Duration(low, high), Tree::Text(text)) => {
            let ms = duration_ms(text)?;
            in_range(ms, low, high, &show_ms).map(|ms| Value::Duration(Duration::from_millis(ms)))
        }
        (OptType::Size(low, high), Tree::Text(text)) => {
            in_range(size_bytes(text)?, low, high, &show_bytes).map(Value::Size)
        }
        (OptType::Lists, Tree::Table(entries)) => {
            let mut lists = BTreeMap::new();
            for (key, list) in entries {
                let Tree::List(items) = &list.value else {
                    return Err(format!("`{}` is not a list of texts", key.name));
                };
                let texts = texts(items)
                    .map_err(|found| format!("`{}` holds {found} beside texts", key.name))?;
                lists.insert(key.name.clone(), texts);
            }
            Ok(Value::Lists(lists))
        }
        _ => Err(wrong(&expected(kind))),
    }
}

/// A plain value as it stands inside a longer text.
pub(crate) fn plain(value: &Tree) -> String {
    match value {
        Tree::Text(text) => text.clone(),
        other => crate::document::inline(other),
    }
}

/// A value of this type, for messages.
pub(crate) fn example(kind: OptType) -> &'static str {
    match kind {
        OptType::Integer(..) | OptType::Number(..) => "10",
        OptType::Bool => "true",
        OptType::Duration(..) => "\"3s\"",
        OptType::Size(..) => "\"64KiB\"",
        OptType::Texts => "[\"...\"]",
        OptType::Lists | OptType::Expressions => "{ NAME = ... }",
        OptType::Listener => "\"main\"",
        OptType::Route => "\"/ws\"",
        _ => "\"...\"",
    }
}

/// Whether a listener can route it. Anything else would end the process when it is mounted.
fn is_route(text: &str) -> bool {
    text.starts_with('/') && !text.contains(['{', '}', '*']) && !text.contains("/:")
}

/// The texts of a list, or the type of what is none.
fn texts(items: &[Item]) -> Result<Vec<String>, &'static str> {
    let text = |item: &Item| match &item.value {
        Tree::Text(text) => Ok(text.clone()),
        other => Err(other.type_name()),
    };
    items.iter().map(text).collect()
}

/// Reads the default of an option; a required one has none. Lists and tables have no other default than the empty one.
pub fn default_of(option: &Opt) -> Option<Value> {
    let text = option.default?;
    let tree = match option.kind {
        OptType::Bool => Tree::Bool(text == "true"),
        OptType::Integer(..) => Tree::Integer(text.parse().ok()?),
        OptType::Number(..) => Tree::Number(text.parse().ok()?),
        OptType::Texts => Tree::List(Vec::new()),
        OptType::Lists | OptType::Expressions => Tree::Table(Vec::new()),
        _ => Tree::Text(text.to_owned()),
    };
    read(option.kind, &Item::new(crate::diagnostic::Span::default(), tree)).ok()
}

/// A value as it would be written in the file.
pub(crate) fn show(value: &Value) -> String {
    let quoted = |text: &String| format!("{text:?}");
    match value {
        Value::Text(text) => quoted(text),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::Duration(value) => format!("\"{}\"", show_ms(value.as_millis() as u64)),
        Value::Size(bytes) => format!("\"{}\"", show_bytes(*bytes)),
        Value::Texts(texts) => {
            format!("[{}]", texts.iter().map(quoted).collect::<Vec<_>>().join(", "))
        }
        Value::Entries(entries) => {
            let entries = entries.iter().map(|(key, text)| format!("{key} = {}", quoted(text)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Lists(lists) => {
            let lists = lists
                .iter()
                .map(|(key, texts)| format!("{key} = {}", show(&Value::Texts(texts.clone()))));
            format!("{{ {} }}", lists.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What an option takes, for messages and lists.
pub fn expected(kind: OptType) -> String {
    match kind {
        OptType::Text => "a text".to_owned(),
        OptType::Route => "a path such as \"/ws\", without `{`, `}`, `*` and `/:`".to_owned(),
        OptType::Choice(words) => {
            format!("one of {}", crate::diagnostic::quoted(words.iter().copied()))
        }
        OptType::Bool => "true or false".to_owned(),
        OptType::Integer(low, high) => format!("an integer from {low} to {high}"),
        OptType::Duration(low, high) => {
            format!("a duration from \"{}\" to \"{}\"", show_ms(low), show_ms(high))
        }
        OptType::Size(low, high) => {
            format!("a size from \"{}\" to \"{}\"", show_bytes(low), show_bytes(high))
        }
        OptType::Reference(role) => format!("the name of a node that is {}", role_phrase(role)),
        OptType::Listener => "the name of a `[listeners.NAME]` table".to_owned(),
        OptType::Number(low, high) => format!("a number from {low} to {high}"),
        OptType::Texts => "a list of texts".to_owned(),
        OptType::Predicate => "a CEL expression of type bool".to_owned(),
        OptType::Expression => "a CEL expression".to_owned(),
        OptType::Expressions => "a table of CEL expressions".to_owned(),
        OptType::Lists => "a table of lists of texts".to_owned(),
    }
}

/// A role in words.
pub fn role_phrase(role: RoleName) -> &'static str {
    match role {
        RoleName::Outboxes => "a gateway with connections",
        RoleName::Store => "a store of messages",
        RoleName::Journal => "a log",
        RoleName::Archive => "a copy that can be read",
        RoleName::Latest => "a cache of the latest messages",
        RoleName::Search => "an index of words",
    }
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    low: T,
    high: T,
    show: &dyn Fn(T) -> String,
) -> Result<T, String> {
    if value < low || value > high {
        return Err(format!("{} is out of range: {} to {}", show(value), show(low), show(high)));
    }
    Ok(value)
}
