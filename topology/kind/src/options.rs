//! Options of a kind: described once, checked by the compiler, read by the kind.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::RoleName;

/// One option of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub name: &'static str,
    pub kind: OptType,
    /// As it would be written in the file, without quotes; `None`: required.
    pub default: Option<&'static str>,
    pub doc: &'static str,
    /// State that was kept under another value is of no use: a change loses it, or rebuilds it from
    /// the log.
    pub shapes_state: bool,
    /// What other systems call it, for suggestions.
    pub also: &'static [&'static str],
}

/// The type of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptType {
    /// Any text.
    Text,
    /// The path of an HTTP route, without wildcards: `"/ws"`.
    Route,
    /// One of these words.
    Choice(&'static [&'static str]),
    Bool,
    /// An integer in this range, inclusive.
    Integer(i64, i64),
    /// `"250ms"`, `"3s"`, `"5m"`, `"2h"`, `"7d"`, in this range of milliseconds.
    Duration(u64, u64),
    /// `"64KiB"`, `"256MiB"`, in this range of bytes.
    Size(u64, u64),
    /// The name of a node that provides this role.
    Reference(RoleName),
    /// The name of a `[listeners.NAME]` table.
    Listener,
    /// A number in this range, inclusive.
    Number(f64, f64),
    /// A list of texts.
    Texts,
    /// A CEL expression of type bool over the fields of the main input.
    Predicate,
    /// A CEL expression of any type over the fields of the main input.
    Expression,
    /// A table of CEL expressions, in the order of the file.
    Expressions,
    /// A table of durations, each in this range of milliseconds: `{ gold = "365d" }`.
    Durations(u64, u64),
    /// A table of lists of texts: `{ lobby = ["alice", "bob"] }`.
    Lists,
}

impl Opt {
    /// An option with a default.
    pub const fn new(
        name: &'static str,
        kind: OptType,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default), doc, shapes_state: false, also: &[] }
    }

    /// An option that must be given.
    pub const fn required(name: &'static str, kind: OptType, doc: &'static str) -> Self {
        Self { name, kind, default: None, doc, shapes_state: false, also: &[] }
    }

    /// An option that other systems call otherwise.
    pub const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }

    /// An option that gives the node's state its meaning.
    pub const fn shaping_state(mut self) -> Self {
        self.shapes_state = true;
        self
    }
}

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Bool(bool),
    Integer(i64),
    Duration(Duration),
    Size(u64),
    Number(f64),
    Texts(Vec<String>),
    /// Keys and texts of a table, in the order of the file.
    Entries(Vec<(String, String)>),
    Lists(BTreeMap<String, Vec<String>>),
    Durations(BTreeMap<String, Duration>),
}

/// The checked options of one node: every option of the description is present.
///
/// # Panics
/// The getters panic when asked for an option that the description does not have with that type: a bug
/// of the kind, which its first test shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options(BTreeMap<&'static str, Value>);

impl Options {
    /// Sets an option; for the compiler and for tests of kinds.
    pub fn set(&mut self, name: &'static str, value: Value) -> &mut Self {
        self.0.insert(name, value);
        self
    }

    /// The value of an option.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// A text, route, choice, reference, listener or predicate.
    pub fn text(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Value::Text(text)) => text,
            other => panic!("option `{name}` is not a text but {other:?}"),
        }
    }

    /// A switch.
    pub fn bool(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(value)) => *value,
            other => panic!("option `{name}` is not a bool but {other:?}"),
        }
    }

    /// A number.
    pub fn integer(&self, name: &str) -> i64 {
        match self.0.get(name) {
            Some(Value::Integer(value)) => *value,
            other => panic!("option `{name}` is not an integer but {other:?}"),
        }
    }

    /// A duration.
    pub fn duration(&self, name: &str) -> Duration {
        match self.0.get(name) {
            Some(Value::Duration(value)) => *value,
            other => panic!("option `{name}` is not a duration but {other:?}"),
        }
    }

    /// A size in bytes.
    pub fn size(&self, name: &str) -> u64 {
        match self.0.get(name) {
            Some(Value::Size(value)) => *value,
            other => panic!("option `{name}` is not a size but {other:?}"),
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> f64 {
        match self.0.get(name) {
            Some(Value::Number(value)) => *value,
            other => panic!("option `{name}` is not a number but {other:?}"),
        }
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(Value::Texts(value)) => value,
            other => panic!("option `{name}` is not a list of texts but {other:?}"),
        }
    }

    /// A table of texts, in order.
    pub fn entries(&self, name: &str) -> &[(String, String)] {
        match self.0.get(name) {
            Some(Value::Entries(value)) => value,
            other => panic!("option `{name}` is not a table of texts but {other:?}"),
        }
    }

    /// A table of durations.
    pub fn durations(&self, name: &str) -> &BTreeMap<String, Duration> {
        match self.0.get(name) {
            Some(Value::Durations(value)) => value,
            other => panic!("option `{name}` is not a table of durations but {other:?}"),
        }
    }

    /// A table of lists.
    pub fn lists(&self, name: &str) -> &BTreeMap<String, Vec<String>> {
        match self.0.get(name) {
            Some(Value::Lists(value)) => value,
            other => panic!("option `{name}` is not a table of lists but {other:?}"),
        }
    }
}
