//! Pages as Markdown: `docs/reference/` is written by this.

use super::page::{Block, Page};

/// The first page is the title if there are several.
pub fn show(pages: &[Page]) -> String {
    let mut parts = Vec::new();
    for (index, page) in pages.iter().enumerate() {
        let level = if index == 0 { "#" } else { "##" };
        parts.push(format!("{level} {}", page.title));
        parts.extend(page.blocks.iter().map(|block| show_block(block, level)));
    }
    parts.join("\n\n") + "\n"
}

fn show_block(block: &Block, level: &str) -> String {
    match block {
        Block::Heading(text) => format!("{level}# {text}"),
        Block::Text(text) => text.clone(),
        Block::Example(text) => format!("```toml\n{text}\n```"),
        Block::Entries { columns, rows } => {
            let mut lines = vec![line(columns), format!("|{}", "---|".repeat(columns.len()))];
            lines.extend(rows.iter().map(|row| {
                let cells =
                    [&row.name, &row.note, &row.meaning].map(|cell| cell.replace('|', "\\|"));
                line(&cells[..columns.len()])
            }));
            lines.join("\n")
        }
    }
}

fn line<S: AsRef<str>>(cells: &[S]) -> String {
    let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |", cells.join(" | "))
}
