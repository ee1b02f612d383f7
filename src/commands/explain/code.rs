//! A code of `imflow check`: what it means, a wrong and a right example.

use imflow_topology::Code;
use serde_json::json;

use super::page::{Block, Page};
use super::{Format, screen};
use crate::terminal;

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
    let blocks = vec![
        Block::Text(code.explanation().to_owned()),
        Block::Heading(format!("Wrong{note}")),
        Block::Example(wrong.text.to_owned()),
        Block::Heading("Right".to_owned()),
        Block::Example(right.text.to_owned()),
    ];
    let page = Page { title: format!("{}: {}", code.id(), code.title()), blocks };
    screen::show(&[page], terminal::width().min(110), terminal::colour())
}
