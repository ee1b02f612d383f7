//! Mistakes as text: the line with a caret, further places, help.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Diagnostic, Diagnostics, Sources, Span};

/// Mistakes that are shown; more would push the first ones off the screen.
const SHOWN: usize = 50;

pub(super) fn render(diagnostics: &Diagnostics, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let shown = diagnostics.list().iter().take(SHOWN);
    let mut text: String =
        shown.map(|d| render_one(&renderer, &diagnostics.sources, d) + "\n\n").collect();
    let count = diagnostics.list().len();
    if count > SHOWN {
        text += &format!("and {} more\n\n", count - SHOWN);
    }
    let plural = if count == 1 { "" } else { "s" };
    text + &format!("{count} mistake{plural} found; `imflow explain CODE` tells more of each")
}

fn render_one(renderer: &Renderer, sources: &Sources, d: &Diagnostic) -> String {
    let mut uses = Vec::new();
    let mut place = &d.span;
    while let Some(used_at) = sources.used_at(place) {
        uses.push((used_at.clone(), "expanded from here".to_owned()));
        place = used_at;
    }
    let others: Vec<_> = d.others.iter().chain(&uses).collect();
    // Places in the text of the mistake stand in its snippet; each other text gets one of its own.
    let (near, far): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(span, _)| same_text(sources, span, &d.span));
    let primary = AnnotationKind::Primary.span(sources.clamp(&d.span)).label(d.label.as_str());
    let near = near.iter().map(|(span, label)| context(sources, span, label));
    let mut elements = vec![snippet(sources, d.span.source).annotation(primary).annotations(near)];
    elements.extend(far.iter().map(|(span, label)| {
        snippet(sources, span.source).annotation(context(sources, span, label))
    }));
    let title = Level::ERROR.primary_title(d.message.as_str()).id(d.code.id());
    let mut group = title.elements(elements);
    if let Some(help) = &d.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

fn same_text(sources: &Sources, one: &Span, other: &Span) -> bool {
    one.source == other.source
        || sources.name(one.source) == sources.name(other.source)
            && sources.text(one.source) == sources.text(other.source)
}

fn snippet<'a, T: Clone>(sources: &'a Sources, source: usize) -> Snippet<'a, T> {
    Snippet::source(sources.text(source)).path(sources.name(source))
}

fn context<'a>(
    sources: &Sources,
    span: &Span,
    label: &'a str,
) -> annotate_snippets::Annotation<'a> {
    AnnotationKind::Context.span(sources.clamp(span)).label(label)
}
