//! A table of a test file, read key by key: what nobody asked for is a mistake.

use imflow_kind::units::duration_ms;

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::{Document, Item, Key, Tree};
use crate::resolve::{missing, unknown_key};

/// A table and the keys that were asked for.
pub(super) struct Table<'a> {
    /// As in "an expectation has no `on`".
    what: &'static str,
    pub(super) span: &'a Span,
    entries: &'a Document,
    known: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// A value that should be a table.
    pub(super) fn of(
        what: &'static str,
        item: &'a Item,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        match &item.value {
            Tree::Table(entries) => {
                Some(Self { what, span: &item.span, entries, known: Vec::new() })
            }
            other => {
                wrong_type(&item.span, what, "a table", other, diagnostics);
                None
            }
        }
    }

    /// The whole of a file.
    pub(super) fn of_file(what: &'static str, span: &'a Span, entries: &'a Document) -> Self {
        Self { what, span, entries, known: Vec::new() }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, name: &'a str) -> Option<&'a Item> {
        self.entry(name).map(|(_, item)| item)
    }

    /// A key and its value, if they are there.
    pub(super) fn entry(&mut self, name: &'a str) -> Option<(&'a Key, &'a Item)> {
        self.known.push(name);
        self.entries.iter().find(|(key, _)| key.name == name).map(|(key, item)| (key, item))
    }

    /// The value of a key that must be there.
    pub(super) fn required(
        &mut self,
        name: &'a str,
        example: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<&'a Item> {
        let item = self.get(name);
        if item.is_none() {
            self.report_missing(name, example, diagnostics);
        }
        item
    }

    pub(super) fn report_missing(&self, name: &str, example: &str, diagnostics: &mut Diagnostics) {
        missing(self.span, self.what, name, example, diagnostics);
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn refuse_others(&self, diagnostics: &mut Diagnostics) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&&*key.name)) {
            unknown_key(key, &key.name, &self.known, self.what, diagnostics);
        }
    }
}

/// A value that should be a text.
pub(super) fn text<'a>(
    item: &'a Item,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a str> {
    match &item.value {
        Tree::Text(text) => Some(text),
        other => {
            wrong_type(&item.span, what, "a text", other, diagnostics);
            None
        }
    }
}

/// A value that should be a list.
pub(super) fn list<'a>(
    item: &'a Item,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a [Item]> {
    match &item.value {
        Tree::List(items) => Some(items),
        other => {
            wrong_type(&item.span, what, "a list", other, diagnostics);
            None
        }
    }
}

/// A time since the start of the test, in milliseconds.
pub(super) fn time(item: &Item, what: &str, diagnostics: &mut Diagnostics) -> Option<u64> {
    let read = duration_ms(text(item, what, diagnostics)?);
    read.map_err(|problem| {
        let message = format!("{what}: {problem}");
        diagnostics.error(
            Code::BadValue,
            &item.span,
            message,
            "expected a time since the start of the test",
        );
    })
    .ok()
}

pub(super) fn wrong_type(
    span: &Span,
    what: &str,
    expected: &str,
    found: &Tree,
    diagnostics: &mut Diagnostics,
) {
    let found = format!("expected {expected}, found {}", found.type_name());
    diagnostics.error(Code::WrongType, span, format!("{what} is not {expected}"), found);
}
