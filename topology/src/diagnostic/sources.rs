//! The texts that mistakes are in, and places in them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A place in one of the [`Sources`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Span {
    pub source: usize,
    pub range: Range<usize>,
}

/// A place as people and editors count: lines and columns from 1, columns in Unicode characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// Behind the last character.
    pub end_line: usize,
    pub end_column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The texts that spans point into: the file first, then what it includes, each `--set`, and the
/// expansions of templates.
#[derive(Clone, Debug)]
pub struct Sources(Vec<Source>);

#[derive(Clone, Debug, PartialEq)]
struct Source {
    name: String,
    text: Arc<str>,
    /// Where a template was used, if this is an expansion: the same text once more, so that a span tells
    /// which use it belongs to.
    used_at: Option<Span>,
}

impl Sources {
    /// The file alone.
    pub fn new(path: &str, text: &str) -> Self {
        let mut sources = Self(Vec::new());
        sources.add(path, text);
        sources
    }

    /// Adds a text and gives its index.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> usize {
        self.0.push(Source { name: name.to_owned(), text: text.into(), used_at: None });
        self.0.len() - 1
    }

    /// Adds an expansion of what stands in `source`, used at a place, and gives its index.
    pub(crate) fn add_expansion(&mut self, source: usize, used_at: &Span) -> usize {
        let Source { name, text, .. } = self.0[source].clone();
        self.0.push(Source { name, text, used_at: Some(used_at.clone()) });
        self.0.len() - 1
    }

    /// Adds those texts of another compilation that are not here yet, and tells where each of them is.
    pub(crate) fn adopt(&mut self, others: &Self) -> Vec<usize> {
        let mut places = Vec::with_capacity(others.0.len());
        for (index, other) in others.0.iter().enumerate() {
            // What a template was used in comes before its expansion.
            let mut other = other.clone();
            if let Some(span) = &mut other.used_at {
                span.source = places[span.source];
            }
            let here = |place: &usize| self.0.get(*place) == Some(&other);
            // Most are where they were; only then are all looked at.
            let known = Some(index).filter(here).or_else(|| (0..self.0.len()).find(here));
            places.push(known.unwrap_or(self.0.len()));
            if known.is_none() {
                self.0.push(other);
            }
        }
        places
    }

    pub(crate) fn text(&self, source: usize) -> &str {
        &self.0[source].text
    }

    pub(crate) fn name(&self, source: usize) -> &str {
        &self.0[source].name
    }

    /// Where the template was used in whose expansion a span lies.
    pub(crate) fn used_at(&self, span: &Span) -> Option<&Span> {
        self.0[span.source].used_at.as_ref()
    }

    /// The bytes of a span that its text has, widened to whole characters: kinds tell places in bytes, and
    /// may stop inside one.
    pub(crate) fn clamp(&self, span: &Span) -> Range<usize> {
        let text = self.text(span.source);
        let (mut start, mut end) =
            (span.range.start.min(text.len()), span.range.end.min(text.len()));
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        while !text.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }

    /// Lines and columns of a span.
    pub fn place(&self, span: &Span) -> Place {
        let range = self.clamp(span);
        let (line, column) = self.position(span.source, range.start);
        let (end_line, end_column) = self.position(span.source, range.end);
        Place { file: self.0[span.source].name.clone(), line, column, end_line, end_column }
    }

    fn position(&self, source: usize, at: usize) -> (usize, usize) {
        let before = &self.text(source)[..at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_not_bytes() {
        let sources = Sources::new("a.toml", "x = 1\né = \"ü\" # no\n");
        let at = sources.text(0).find('"').unwrap();
        let place = sources.place(&Span { source: 0, range: at..at + 4 });
        assert_eq!((place.line, place.column, place.end_line, place.end_column), (2, 5, 2, 8));
    }

    #[test]
    fn a_place_inside_a_character_is_the_whole_one() {
        let sources = Sources::new("a.toml", "x = \"ü\"");
        let at = sources.text(0).find('ü').unwrap();
        assert_eq!(sources.clamp(&Span { source: 0, range: at..at + 1 }), at..at + 2);
        assert_eq!(sources.clamp(&Span { source: 0, range: at + 1..at + 1 }), at..at + 2);
    }
}
