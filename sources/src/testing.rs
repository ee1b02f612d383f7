//! What the crate's tests share: options at their defaults.

use std::time::Duration;

use imflow_kind::{Opt, OptType, Options, Value};

/// The options of a kind as an empty table gives them.
pub(crate) fn defaults(options: &'static [Opt]) -> Options {
    let mut values = Options::default();
    for option in options {
        let text = option.default.unwrap_or_default();
        values.set(option.name, value(option.kind, text));
    }
    values
}

fn value(kind: OptType, text: &str) -> Value {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().unwrap_or_default();
    match (kind, &text[digits.len()..]) {
        (OptType::Bool, _) => Value::Bool(text == "true"),
        (OptType::Integer(..), _) => Value::Integer(number as i64),
        (OptType::Duration(..), "ms") => Value::Duration(Duration::from_millis(number)),
        (OptType::Duration(..), _) => Value::Duration(Duration::from_secs(number)),
        (OptType::Size(..), "MiB") => Value::Size(number << 20),
        (OptType::Size(..), _) => Value::Size(number << 10),
        (OptType::Texts, _) => Value::Texts(Vec::new()),
        (OptType::Lists, _) => Value::Lists(Default::default()),
        _ => Value::Text(text.to_owned()),
    }
}
