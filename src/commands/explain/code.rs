//! A code of `imflow check`: what it means, a wrong and a right example.

use imflow_topology::{Code, Example};
use serde_json::json;

use super::Format;

/// The page of a code.
pub fn page(code: Code, format: Format) -> String {
    match format {
        Format::Terminal => text(code),
        Format::Markdown => code.page().to_owned(),
        Format::Json => {
            let page = json!({
                "code": code.id(), "title": code.title(), "explanation": code.explanation(),
                "wrong": code.wrong().text, "right": code.right().text,
            });
            format!("{page:#}\n")
        }
    }
}

fn text(code: Code) -> String {
    let (wrong, right) = (code.wrong(), code.right());
    let note = if wrong.is_change() { " (changes to the shipped dataflow.toml)" } else { "" };
    format!(
        "{}: {}\n\n{}\n\nWrong{note}:\n\n{}\nRight:\n\n{}",
        code.id(),
        code.title(),
        code.explanation(),
        indented(wrong),
        indented(right)
    )
}

fn indented(example: Example) -> String {
    let indent = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    example.text.lines().map(indent).collect()
}
