//! The values of options: read from the file, checked against what the option takes.

mod read;

pub(crate) use read::{Unfit, read};

use imflow_kind::units::{show_bytes, show_ms};
use imflow_kind::{Opt, OptType, RoleName, Value};

use crate::document::{Item, Tree};

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
        OptType::Durations(..) => "{ NAME = \"3s\" }",
        OptType::Listener => "\"main\"",
        OptType::Route => "\"/ws\"",
        _ => "\"...\"",
    }
}

/// Reads the default of an option; a required one has none. Lists and tables have no other default than the empty one.
pub fn default_of(option: &Opt) -> Option<Value> {
    let text = option.default?;
    let tree = match option.kind {
        OptType::Bool => Tree::Bool(text == "true"),
        OptType::Integer(..) => Tree::Integer(text.parse().ok()?),
        OptType::Number(..) => Tree::Number(text.parse().ok()?),
        OptType::Texts => Tree::List(Vec::new()),
        OptType::Lists | OptType::Expressions | OptType::Durations(..) => Tree::Table(Vec::new()),
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
        Value::Durations(durations) => {
            let durations = durations
                .iter()
                .map(|(key, value)| format!("{key} = {}", show(&Value::Duration(*value))));
            format!("{{ {} }}", durations.collect::<Vec<_>>().join(", "))
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
        OptType::Durations(low, high) => {
            format!("a table of durations from \"{}\" to \"{}\"", show_ms(low), show_ms(high))
        }
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
        RoleName::Routes => "a node that knows where users are",
    }
}
