//! What follows from a syntax error: the table around it was read in part only.
//!
//! Mistakes inside such a table, and references to names that stand in it, are not reported: they would
//! only distract from the one that is real. Mistakes elsewhere are.

use std::collections::HashSet;
use std::ops::Range;

use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Diagnostics, Sources};

/// Forgets the mistakes that a syntax error explains.
pub(crate) fn forget_consequences(diagnostics: &mut Diagnostics) {
    let damaged: Vec<(usize, Range<usize>)> = diagnostics
        .list()
        .iter()
        .filter(|d| d.code == Code::Syntax)
        .map(|d| {
            let text = diagnostics.sources.text(d.span.source);
            (d.span.source, table_around(text, d.span.range.start))
        })
        .collect();
    if damaged.is_empty() {
        return;
    }
    let mut words = HashSet::new();
    for (source, range) in &damaged {
        words
            .extend(words_of(&diagnostics.sources.text(*source)[range.clone()]).map(str::to_owned));
    }
    diagnostics
        .forget(|sources, d| d.code != Code::Syntax && follows(sources, d, &damaged, &words));
}

fn follows(
    sources: &Sources,
    d: &Diagnostic,
    damaged: &[(usize, Range<usize>)],
    words: &HashSet<String>,
) -> bool {
    let inside = |(source, range): &(usize, Range<usize>)| {
        *source == d.span.source && range.contains(&d.span.range.start)
    };
    let refers = matches!(d.code, Code::UnknownInput | Code::BadReference | Code::UnknownPort);
    let named = || {
        words_of(&sources.text(d.span.source)[sources.clamp(&d.span)]).any(|w| words.contains(w))
    };
    damaged.iter().any(inside) || (refers && named())
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.split(move |c| !inside(c)).filter(|word| !word.is_empty())
}

/// From the header before a place to the next header.
fn table_around(text: &str, at: usize) -> Range<usize> {
    let mut start = 0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            if offset > at {
                return start..offset;
            }
            start = offset;
        }
        offset += line.len();
    }
    start..text.len()
}
