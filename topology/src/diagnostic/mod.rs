//! Mistakes in the file: a stable code, the place, what was expected, what to do.

mod profiles;
mod quoted;
mod report;
mod sources;
mod text;
mod written;

pub use imflow_kind::did_you_mean;
pub(crate) use quoted::quoted;
pub use report::Format;
pub use sources::{Place, Sources, Span};
pub(crate) use written::written_range;

use std::fmt;

use crate::codes::Code;

/// As many mistakes as nobody reads at once.
const CROWD: usize = 200;

/// One mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    pub code: Code,
    pub message: String,
    pub span: Span,
    /// What stands at the caret.
    pub label: String,
    /// Further places, such as the first definition of a name.
    pub others: Vec<(Span, String)>,
    pub help: Option<String>,
}

/// All mistakes of a compilation, in the order of the file.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    pub(crate) sources: Sources,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn new(sources: Sources) -> Self {
        Self { sources, list: Vec::new() }
    }

    /// The report of a file without mistakes.
    pub fn none(path: &str, text: &str) -> Self {
        Self::new(Sources::new(path, text))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The texts that the mistakes are in.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The mistakes found so far.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Whether there are so many that further ones need no suggestions: each costs a look at every name.
    pub(crate) fn is_crowded(&self) -> bool {
        self.list.len() >= CROWD
    }

    /// Puts the mistakes into the order of the file. One that was found twice, as in a file that a
    /// template expands several times, stays once for each place.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by_key(|d| (d.span.source, d.span.range.start));
        self.list.dedup();
    }

    /// Forgets the mistakes that `follows` says are consequences of others.
    pub(crate) fn forget(&mut self, follows: impl Fn(&Sources, &Diagnostic) -> bool) {
        let sources = &self.sources;
        self.list.retain(|d| !follows(sources, d));
    }

    /// Reports a mistake; the result takes further details.
    pub(crate) fn error(
        &mut self,
        code: Code,
        span: &Span,
        message: String,
        label: impl Into<String>,
    ) -> &mut Diagnostic {
        self.list.push(Diagnostic {
            code,
            message,
            span: span.clone(),
            label: label.into(),
            others: Vec::new(),
            help: None,
        });
        self.list.last_mut().expect("just pushed")
    }

    /// The mistakes as a report; `colour` counts for [`Format::Text`] only.
    pub fn report(&self, format: Format, colour: bool) -> String {
        report::report(self, format, colour)
    }

    /// The text for a terminal or, when `colour` is false, for a file.
    pub fn render(&self, colour: bool) -> String {
        self.report(Format::Text, colour)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn help_if(&mut self, help: Option<String>) -> &mut Self {
        self.help = help.or_else(|| self.help.take());
        self
    }

    pub(crate) fn also(&mut self, span: &Span, label: impl Into<String>) -> &mut Self {
        self.others.push((span.clone(), label.into()));
        self
    }
}
