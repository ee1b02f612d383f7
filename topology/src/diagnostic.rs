//! Mistakes in the file: a stable code, the place, what was expected, what to do.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A place in one of the [`Sources`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Span {
    pub source: usize,
    pub range: Range<usize>,
}

/// The texts that spans point into: the file first, then one for each `--set`.
#[derive(Clone, Debug)]
pub struct Sources(Vec<(String, String)>);

impl Sources {
    /// The file alone.
    pub fn new(path: &str, text: &str) -> Self {
        Self(vec![(path.to_owned(), text.to_owned())])
    }

    /// Adds a text and gives its index.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> usize {
        self.0.push((name.to_owned(), text.to_owned()));
        self.0.len() - 1
    }

    pub(crate) fn text(&self, source: usize) -> &str {
        &self.0[source].1
    }

    /// `file:line:column` of a span's start, counted from 1, columns in characters.
    pub fn place(&self, span: &Span) -> String {
        let (name, text) = &self.0[span.source];
        let before = &text[..span.range.start.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        format!("{name}:{line}:{}", before[line_start..].chars().count() + 1)
    }
}

/// One mistake.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Stable: `E001`.
    pub code: &'static str,
    pub message: String,
    pub span: Span,
    /// What stands at the caret.
    pub label: String,
    /// A second place, such as the first definition of a name.
    pub other: Option<(Span, String)>,
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

    /// Puts the mistakes into the order of the file.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by_key(|d| (d.span.source, d.span.range.start));
    }

    /// Reports a mistake; the result takes further details.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: &Span,
        message: String,
        label: impl Into<String>,
    ) -> &mut Diagnostic {
        self.list.push(Diagnostic {
            code,
            message,
            span: span.clone(),
            label: label.into(),
            other: None,
            help: None,
        });
        self.list.last_mut().expect("just pushed")
    }

    /// The text for a terminal or, when `colour` is false, for a file.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text: String =
            self.list.iter().map(|d| self.render_one(&renderer, d) + "\n\n").collect();
        let count = self.list.len();
        text += &format!("{count} mistake{} found", if count == 1 { "" } else { "s" });
        text
    }

    fn render_one(&self, renderer: &Renderer, d: &Diagnostic) -> String {
        let snippet = |source: usize| {
            let (name, text) = &self.sources.0[source];
            Snippet::source(text.as_str()).path(name.as_str())
        };
        let clamp = |span: &Span| {
            let end = self.sources.text(span.source).len();
            span.range.start.min(end)..span.range.end.min(end)
        };
        let primary = AnnotationKind::Primary.span(clamp(&d.span)).label(d.label.as_str());
        let mut group = Level::ERROR.primary_title(d.message.as_str()).id(d.code);
        let mut elements = Vec::new();
        match &d.other {
            Some((span, label)) if span.source == d.span.source => {
                let context = AnnotationKind::Context.span(clamp(span)).label(label.as_str());
                elements.push(snippet(d.span.source).annotation(primary).annotation(context));
            }
            Some((span, label)) => {
                elements.push(snippet(d.span.source).annotation(primary));
                elements.push(
                    snippet(span.source).annotation(
                        AnnotationKind::Context.span(clamp(span)).label(label.as_str()),
                    ),
                );
            }
            None => elements.push(snippet(d.span.source).annotation(primary)),
        }
        let mut group =
            std::mem::replace(&mut group, Level::ERROR.primary_title("")).elements(elements);
        if let Some(help) = &d.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
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
        self.other = Some((span.clone(), label.into()));
        self
    }
}

/// "did you mean": the nearest known word, if it is near enough.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = |candidate: &str| {
        let limit = (word.chars().count().max(candidate.chars().count()) / 3).max(1);
        let distance = strsim::damerau_levenshtein(word, candidate);
        (distance <= limit).then_some(distance)
    };
    let best = known.into_iter().filter_map(|c| near(c).map(|d| (d, c))).min();
    best.map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// `a`, `b`, `c`, in back quotes.
pub(crate) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().map(|w| format!("`{w}`")).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
