//! A value of the file to what an option takes, or why it cannot be taken.

use std::collections::BTreeMap;
use std::time::Duration;

use imflow_kind::units::{duration_ms, show_bytes, show_ms, size_bytes};
use imflow_kind::{OptType, Value, did_you_mean};

use super::expected;
use crate::codes::Code;
use crate::diagnostic::Span;
use crate::document::{Item, Key, Tree, inline};

/// Why a value cannot be taken.
pub(crate) struct Unfit {
    /// Whether its type is wrong, or what it says.
    pub code: Code,
    /// What was expected, as a sentence without a place.
    pub message: String,
    /// The part that is wrong; `None`: the whole of it.
    pub part: Option<Span>,
    /// How it is written.
    pub help: Option<String>,
}

impl Unfit {
    /// A value of the right type that says something impossible.
    pub(crate) fn value(message: String) -> Self {
        Self { code: Code::BadValue, message, part: None, help: None }
    }

    /// A value of another type than `kind` takes.
    fn type_of(kind: OptType, found: &Tree, help: Option<String>) -> Self {
        let found = match found {
            Tree::Text(_) => inline(found),
            other => other.type_name().to_owned(),
        };
        let message = format!("expected {}, found {found}", expected(kind));
        Self { code: Code::WrongType, message, part: None, help }
    }
}

/// Reads the value of an option.
///
/// # Errors
/// Why it cannot be taken.
pub(crate) fn read(kind: OptType, item: &Item) -> Result<Value, Unfit> {
    let from_variable = match kind {
        OptType::Bool | OptType::Integer(..) | OptType::Number(..) => item.plain_from_variable(),
        _ => None,
    };
    match (kind, from_variable.as_ref().unwrap_or(&item.value)) {
        (kind, Tree::Text(text)) => of_text(kind, text),
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
        (OptType::Texts, Tree::List(items)) => texts(items).map(Value::Texts),
        (OptType::Expressions, Tree::Table(entries)) => expressions(entries).map(Value::Entries),
        (OptType::Lists, Tree::Table(entries)) => lists(entries).map(Value::Lists),
        (OptType::Durations(low, high), Tree::Table(entries)) => {
            durations(OptType::Duration(low, high), entries).map(Value::Durations)
        }
        (kind, found) => Err(Unfit::type_of(kind, found, instead(kind, found))),
    }
}

/// How a value of the wrong type may have been meant.
fn instead(kind: OptType, found: &Tree) -> Option<String> {
    let written = inline(found);
    match (kind, found) {
        (OptType::Duration(..), Tree::Integer(_)) => {
            Some(format!("a duration has a unit: \"{written}s\", \"{written}ms\""))
        }
        (OptType::Size(..), Tree::Integer(_)) => {
            Some(format!("a size has a unit: \"{written}B\", \"{written}KiB\""))
        }
        (OptType::Bool | OptType::Integer(..) | OptType::Number(..), Tree::Text(text)) => {
            let fits = match kind {
                OptType::Bool => text.parse::<bool>().is_ok(),
                OptType::Integer(..) => text.parse::<i64>().is_ok(),
                _ => text.parse::<f64>().is_ok(),
            };
            fits.then(|| format!("write it without quotes: {text}"))
        }
        (OptType::Texts, Tree::Text(_)) => Some(format!("write it as a list: [{written}]")),
        (_, Tree::Integer(_) | Tree::Number(_) | Tree::Bool(_)) => {
            let takes_text = matches!(
                kind,
                OptType::Text | OptType::Predicate | OptType::Expression | OptType::Choice(_)
            );
            takes_text.then(|| format!("write it as a text: \"{written}\""))
        }
        _ => None,
    }
}

fn of_text(kind: OptType, text: &str) -> Result<Value, Unfit> {
    let wrong = || Unfit::value(format!("expected {}, found {text:?}", expected(kind)));
    match kind {
        OptType::Text
        | OptType::Listener
        | OptType::Predicate
        | OptType::Expression
        | OptType::Reference(_) => match text.contains('\0') {
            false => Ok(Value::Text(text.to_owned())),
            true => Err(wrong()),
        },
        OptType::Route if is_route(text) => Ok(Value::Text(text.to_owned())),
        OptType::Route => Err(wrong()),
        OptType::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        OptType::Choice(words) => {
            Err(Unfit { help: did_you_mean(text, words.iter().copied()), ..wrong() })
        }
        OptType::Duration(low, high) => {
            let ms = duration_ms(text).map_err(Unfit::value)?;
            in_range(ms, low, high, &show_ms).map(|ms| Value::Duration(Duration::from_millis(ms)))
        }
        OptType::Size(low, high) => {
            let bytes = size_bytes(text).map_err(Unfit::value)?;
            in_range(bytes, low, high, &show_bytes).map(Value::Size)
        }
        OptType::Bool
        | OptType::Integer(..)
        | OptType::Number(..)
        | OptType::Texts
        | OptType::Expressions
        | OptType::Lists
        | OptType::Durations(..) => {
            let found = Tree::Text(text.to_owned());
            Err(Unfit::type_of(kind, &found, instead(kind, &found)))
        }
    }
}

/// Whether a listener can route it. Anything else would end the process when it is mounted.
fn is_route(text: &str) -> bool {
    text.starts_with('/') && !text.contains(['{', '}', '*']) && !text.contains("/:")
}

fn texts(items: &[Item]) -> Result<Vec<String>, Unfit> {
    let text = |item: &Item| match &item.value {
        Tree::Text(text) => Ok(text.clone()),
        other => Err(Unfit {
            part: Some(item.span.clone()),
            ..Unfit::type_of(OptType::Text, other, instead(OptType::Text, other))
        }),
    };
    items.iter().map(text).collect()
}

fn expressions(entries: &[(Key, Item)]) -> Result<Vec<(String, String)>, Unfit> {
    let text = |(key, item): &(Key, Item)| match &item.value {
        Tree::Text(text) => Ok((key.name.clone(), text.clone())),
        other => {
            let kind = OptType::Expression;
            let unfit = Unfit::type_of(kind, other, instead(kind, other));
            let message = format!("`{}`: {}", key.name, unfit.message);
            Err(Unfit { message, part: Some(item.span.clone()), ..unfit })
        }
    };
    entries.iter().map(text).collect()
}

fn lists(entries: &[(Key, Item)]) -> Result<BTreeMap<String, Vec<String>>, Unfit> {
    let list = |(key, item): &(Key, Item)| {
        let unfit = match &item.value {
            Tree::List(items) => match texts(items) {
                Ok(texts) => return Ok((key.name.clone(), texts)),
                Err(unfit) => unfit,
            },
            other => Unfit {
                part: Some(item.span.clone()),
                ..Unfit::type_of(OptType::Texts, other, instead(OptType::Texts, other))
            },
        };
        Err(Unfit { message: format!("`{}`: {}", key.name, unfit.message), ..unfit })
    };
    entries.iter().map(list).collect()
}

fn durations(kind: OptType, entries: &[(Key, Item)]) -> Result<BTreeMap<String, Duration>, Unfit> {
    let mut durations = BTreeMap::new();
    for (key, item) in entries {
        let named = |unfit: Unfit| Unfit {
            message: format!("`{}`: {}", key.name, unfit.message),
            part: Some(item.span.clone()),
            ..unfit
        };
        if let Value::Duration(value) = read(kind, item).map_err(named)? {
            durations.insert(key.name.clone(), value);
        }
    }
    Ok(durations)
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    low: T,
    high: T,
    show: &dyn Fn(T) -> String,
) -> Result<T, Unfit> {
    if value < low || value > high {
        let message = format!("{} is out of range: {} to {}", show(value), show(low), show(high));
        return Err(Unfit::value(message));
    }
    Ok(value)
}
