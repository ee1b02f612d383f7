//! What a test expects of a value: the value itself, or a matcher in its place.
//!
//! A table matches a table that has at least these keys; a list matches a list of as many entries. A
//! matcher is `"*"` (anything), or a table with one of the keys `<`, `<=`, `>`, `>=` and `contains`.

use serde_json::Value;

use super::value::{json, shown};
use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::document::{Item, Tree};

/// What is expected.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pattern {
    Anything,
    Equal(Value),
    Compare(Comparison, f64),
    /// A part of a text, or an entry of a list of texts.
    Contains(String),
    Table(Vec<(String, Pattern)>),
    List(Vec<Pattern>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    const ALL: [(&'static str, Self); 4] = [
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        (">", Self::Greater),
        (">=", Self::GreaterOrEqual),
    ];

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Greater => value > bound,
            Self::GreaterOrEqual => value >= bound,
        }
    }

    fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).map_or("", |(sign, _)| sign)
    }
}

const CONTAINS: &str = "contains";

impl Pattern {
    /// Reads what is expected.
    pub(super) fn read(item: &Item, diagnostics: &mut Diagnostics) -> Self {
        match &item.value {
            Tree::Text(text) if text == "*" => Self::Anything,
            Tree::List(items) => {
                Self::List(items.iter().map(|item| Self::read(item, diagnostics)).collect())
            }
            Tree::Table(entries) => match &entries[..] {
                [(key, item)] if is_matcher(&key.name) => {
                    Self::matcher(&key.name, item, diagnostics)
                }
                entries => {
                    let mut fields = Vec::new();
                    for (key, item) in entries {
                        if is_matcher(&key.name) {
                            let message = format!("the matcher `{}` has company", key.name);
                            diagnostics
                                .error(Code::BadValue, &key.span, message, "not beside other keys")
                                .help("a matcher stands alone in its table: `seq = { \">\" = 5 }`");
                        }
                        fields.push((key.name.clone(), Self::read(item, diagnostics)));
                    }
                    Self::Table(fields)
                }
            },
            _ => Self::Equal(json(item, diagnostics)),
        }
    }

    fn matcher(name: &str, item: &Item, diagnostics: &mut Diagnostics) -> Self {
        let comparison = Comparison::ALL.iter().find(|(sign, _)| *sign == name);
        match (comparison, &item.value) {
            (Some((_, comparison)), Tree::Integer(bound)) => {
                Self::Compare(*comparison, *bound as f64)
            }
            (Some((_, comparison)), Tree::Number(bound)) => Self::Compare(*comparison, *bound),
            (None, Tree::Text(part)) => Self::Contains(part.clone()),
            (comparison, other) => {
                let expected = if comparison.is_some() { "a number" } else { "a text" };
                let message = format!("the matcher `{name}` takes {expected}");
                let found = format!("expected {expected}, found {}", other.type_name());
                diagnostics.error(Code::WrongType, &item.span, message, found);
                Self::Anything
            }
        }
    }

    /// The value that this is, without what matchers leave open: for checks of its form.
    pub(super) fn skeleton(&self) -> Option<Value> {
        match self {
            Self::Anything | Self::Compare(..) | Self::Contains(_) => None,
            Self::Equal(value) => Some(value.clone()),
            Self::List(items) => Some(items.iter().filter_map(Self::skeleton).collect()),
            Self::Table(fields) => {
                let field = |(key, field): &(String, Self)| Some((key.clone(), field.skeleton()?));
                Some(Value::Object(fields.iter().filter_map(field).collect()))
            }
        }
    }

    /// Whether it speaks of a field of this name.
    pub(super) fn names(&self, field: &str) -> bool {
        matches!(self, Self::Table(fields) if fields.iter().any(|(key, _)| key == field))
    }

    /// Every way in which a value differs; none if it matches.
    pub(super) fn differences(&self, value: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        self.compare(Some(value), "", &mut differences);
        differences
    }

    fn compare(&self, value: Option<&Value>, path: &str, differences: &mut Vec<String>) {
        let it = if path.is_empty() { "it" } else { path };
        let Some(value) = value else {
            return differences.push(format!("{it} is missing"));
        };
        let fits = match (self, value) {
            (Self::Anything, _) => true,
            (Self::Equal(expected), value) => equal(expected, value),
            (Self::Compare(comparison, bound), Value::Number(number)) => {
                number.as_f64().is_some_and(|number| comparison.holds(number, *bound))
            }
            (Self::Contains(part), Value::String(text)) => text.contains(part),
            (Self::Contains(part), Value::Array(items)) => {
                items.iter().any(|item| item.as_str() == Some(part))
            }
            (Self::Table(fields), Value::Object(entries)) => {
                for (key, field) in fields {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    field.compare(entries.get(key), &path, differences);
                }
                return;
            }
            (Self::List(expected), Value::Array(items)) if expected.len() == items.len() => {
                for (index, (expected, item)) in expected.iter().zip(items).enumerate() {
                    expected.compare(Some(item), &format!("{path}[{index}]"), differences);
                }
                return;
            }
            (Self::List(expected), Value::Array(items)) => {
                let (found, expected) = (items.len(), expected.len());
                return differences.push(format!("{it} has length {found}, expected {expected}"));
            }
            _ => false,
        };
        if !fits {
            differences.push(format!("{it} is {}, expected {}", shown(value), self.shown()));
        }
    }

    /// As it stands in the file.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Anything => "\"*\"".to_owned(),
            Self::Equal(value) => shown(value),
            Self::Compare(comparison, bound) => {
                format!("{{ \"{}\" = {bound} }}", comparison.sign())
            }
            Self::Contains(part) => format!("{{ {CONTAINS} = {part:?} }}"),
            Self::Table(fields) if fields.is_empty() => "{}".to_owned(),
            Self::Table(fields) => {
                let field = |(key, field): &(String, Self)| format!("{key} = {}", field.shown());
                format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::shown).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn is_matcher(key: &str) -> bool {
    key == CONTAINS || Comparison::ALL.iter().any(|(sign, _)| *sign == key)
}

/// Numbers are equal by value, whatever they are kept in.
fn equal(expected: &Value, value: &Value) -> bool {
    match (expected, value) {
        (Value::Number(a), Value::Number(b)) if a != b => {
            (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64()
        }
        _ => expected == value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diagnostic::Sources;
    use crate::parse::parse;

    fn pattern(text: &str) -> (Pattern, Diagnostics) {
        let mut diagnostics =
            Diagnostics::new(Sources::new("test.toml", &format!("it = {text}\n")));
        let document = parse(&[], &mut diagnostics);
        let pattern = Pattern::read(&document[0].1, &mut diagnostics);
        (pattern, diagnostics)
    }

    fn differences(text: &str, value: &Value) -> Vec<String> {
        let (pattern, diagnostics) = pattern(text);
        assert!(diagnostics.is_empty(), "{diagnostics}");
        pattern.differences(value)
    }

    #[test]
    fn a_table_asks_for_a_part_and_a_list_for_all() {
        let value = json!({ "id": 1, "ack": { "seq": 2, "status": "OK" }, "to": ["a", "b"] });
        assert!(differences("{ id = 1, ack = { seq = 2 }, to = ['a', '*'] }", &value).is_empty());
        assert_eq!(
            differences("{ id = 2, ack = { seq = 2, at = 1 }, to = ['a'] }", &value),
            ["id is 1, expected 2", "ack.at is missing", "to has length 2, expected 1"]
        );
    }

    #[test]
    fn matchers_leave_room() {
        let value = json!({ "seq": 5, "text": "hello", "to": ["a", "b"], "rate": 0.5 });
        let text = r#"{ seq = { ">=" = 5 }, text = { contains = "ell" }, to = { contains = "b" }, rate = { "<" = 1 } }"#;
        assert!(differences(text, &value).is_empty());
        assert_eq!(
            differences(r#"{ seq = { "<" = 5 }, text = { contains = "x" } }"#, &value),
            [
                r#"seq is 5, expected { "<" = 5 }"#,
                r#"text is "hello", expected { contains = "x" }"#
            ]
        );
    }

    #[test]
    fn a_matcher_that_cannot_match_is_a_mistake() {
        for text in ["{ contains = 1 }", "{ '<' = 'x' }", "{ '<' = 1, seq = 2 }"] {
            assert!(!pattern(text).1.is_empty(), "{text}");
        }
    }
}
