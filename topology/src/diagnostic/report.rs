//! Mistakes for people, editors and CI.

use serde_json::{Value, json};

use super::{Diagnostic, Diagnostics, Place, Span, text};
use crate::codes::Code;

/// How mistakes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object; lines and columns count from 1, columns in Unicode characters.
    Json,
    /// SARIF 2.1.0, which code scanning and editors read.
    Sarif,
    /// Workflow commands of GitHub Actions, which annotate a change.
    Github,
}

pub(super) fn report(diagnostics: &Diagnostics, format: Format, colour: bool) -> String {
    match format {
        Format::Text => text::render(diagnostics, colour),
        Format::Json => pretty(&as_json(diagnostics)),
        Format::Sarif => pretty(&as_sarif(diagnostics)),
        Format::Github => diagnostics.list().iter().map(|d| as_command(diagnostics, d)).collect(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("texts and numbers become JSON")
}

fn as_json(diagnostics: &Diagnostics) -> Value {
    let at = |span: &Span| {
        let Place { file, line, column, end_line, end_column } = diagnostics.sources.place(span);
        json!({"file": file, "line": line, "column": column, "endLine": end_line, "endColumn": end_column})
    };
    let mistake = |d: &Diagnostic| {
        let related = related(diagnostics, d);
        let related: Vec<_> =
            related.iter().map(|(span, label)| json!({"at": at(span), "label": label})).collect();
        json!({
            "code": d.code.id(), "title": d.code.title(), "message": d.message, "at": at(&d.span),
            "label": d.label, "help": d.help, "related": related,
        })
    };
    json!({"mistakes": diagnostics.list().iter().map(mistake).collect::<Vec<_>>()})
}

/// Further places, and where templates were used.
fn related(diagnostics: &Diagnostics, d: &Diagnostic) -> Vec<(Span, String)> {
    let used_at = diagnostics.sources.used_at(&d.span);
    let used_at = used_at.map(|span| (span.clone(), "expanded from here".to_owned()));
    d.others.iter().cloned().chain(used_at).collect()
}

fn as_sarif(diagnostics: &Diagnostics) -> Value {
    let location = |span: &Span| {
        let place = diagnostics.sources.place(span);
        json!({
            "artifactLocation": {"uri": as_uri(&place.file)},
            "region": {
                "startLine": place.line, "startColumn": place.column,
                "endLine": place.end_line, "endColumn": place.end_column,
            },
        })
    };
    let result = |d: &Diagnostic| {
        let text = match &d.help {
            Some(help) => format!("{}; {help}", d.message),
            None => d.message.clone(),
        };
        let related = related(diagnostics, d);
        let related = related.iter().map(
            |(span, label)| json!({"physicalLocation": location(span), "message": {"text": label}}),
        );
        json!({
            "ruleId": d.code.id(), "level": "error", "message": {"text": text},
            "locations": [{"physicalLocation": location(&d.span)}],
            "relatedLocations": related.collect::<Vec<_>>(),
        })
    };
    let rule = |code: &Code| {
        json!({
            "id": code.id(), "shortDescription": {"text": code.title()},
            "fullDescription": {"text": code.explanation()},
            "help": {"text": code.page(), "markdown": code.page()},
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "imflow", "version": env!("CARGO_PKG_VERSION"), "rules": Code::ALL.iter().map(rule).collect::<Vec<_>>()}},
            "columnKind": "unicodeCodePoints",
            "results": diagnostics.list().iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// A path as a URI: what a URI does not hold as it is becomes `%XX`.
fn as_uri(path: &str) -> String {
    let character = |byte: u8| match byte {
        b'/' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.bytes().map(character).collect()
}

/// One line; what would end the line or a property is escaped as GitHub wants it.
fn as_command(diagnostics: &Diagnostics, d: &Diagnostic) -> String {
    let place = diagnostics.sources.place(&d.span);
    let message = match &d.help {
        Some(help) => format!("{}\nhelp: {help}", d.message),
        None => d.message.clone(),
    };
    format!(
        "::error file={},line={},endLine={},col={},endColumn={},title={}::{}\n",
        escape_property(&place.file),
        place.line,
        place.end_line,
        place.column,
        place.end_column,
        d.code.id(),
        escape(&message)
    )
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}
