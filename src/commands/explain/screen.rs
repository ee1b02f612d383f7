//! Pages as text that wraps at the width of a terminal.

use unicode_width::UnicodeWidthStr as _;

use super::page::{Block, Entry, Page};

const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

pub fn show(pages: &[Page], width: usize, colour: bool) -> String {
    let screen = Screen { width, colour };
    let pages: Vec<_> = pages.iter().map(|page| screen.page(page)).collect();
    pages.join("\n\n")
}

struct Screen {
    width: usize,
    colour: bool,
}

impl Screen {
    fn page(&self, page: &Page) -> String {
        let mut text = self.wrapped(&page.title, 0, BOLD);
        for block in &page.blocks {
            text += &match block {
                Block::Heading(heading) => format!("\n{}\n", self.paint(BOLD, heading)),
                Block::Text(paragraphs) => self.paragraphs(paragraphs),
                Block::Entries { rows, .. } => rows.iter().map(|row| self.entry(row)).collect(),
                Block::Example(code) => self.example(code),
            };
        }
        text
    }

    fn paragraphs(&self, text: &str) -> String {
        let wrapped: Vec<_> =
            text.split("\n\n").map(|paragraph| self.wrapped(paragraph, 2, "")).collect();
        wrapped.join("\n")
    }

    fn entry(&self, entry: &Entry) -> String {
        let name = entry.name.trim_matches('`');
        let needed = entry.note.width() + name.width() + 4;
        let name = self.paint(CYAN, name);
        let mut text = match needed {
            _ if entry.note.is_empty() => format!("  {name}\n"),
            needed if needed <= self.width => {
                format!("  {name}  {}\n", self.paint(DIM, &entry.note))
            }
            _ => format!("  {name}\n{}", self.wrapped(&entry.note, 6, DIM)),
        };
        if !entry.meaning.is_empty() {
            text += &self.wrapped(&entry.meaning, 6, "");
        }
        text
    }

    fn example(&self, code: &str) -> String {
        code.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect()
    }

    /// Words in lines, each of which ends with a new line. `code` is never broken.
    fn wrapped(&self, text: &str, indent: usize, style: &str) -> String {
        let room = self.width.saturating_sub(indent).max(20);
        let mut lines = vec![String::new()];
        for word in words(text) {
            let line = lines.last_mut().expect("one line is there");
            if !line.is_empty() && line.width() + 1 + word.width() > room {
                lines.push(word);
            } else {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&word);
            }
        }
        let show = |line: String| format!("{}{}\n", " ".repeat(indent), self.coded(&line, style));
        lines.into_iter().map(show).collect()
    }

    /// Colours what stands in back quotes.
    fn coded(&self, line: &str, style: &str) -> String {
        if !self.colour {
            return line.to_owned();
        }
        let parts = line.split('`').enumerate().map(|(index, part)| {
            let style = if index % 2 == 1 { CYAN } else { style };
            self.paint(style, part)
        });
        parts.collect()
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour && !style.is_empty() && !text.is_empty() {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }
}

/// Words; what stands in back quotes is a part of one.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '`';
        let word = words.last_mut().expect("one word is there");
        match c {
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(String::new());
                }
            }
            c => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
