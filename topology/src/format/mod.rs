//! The canonical layout of a file. Only white space and the last comma of a list change, so comments stay and the
//! meaning cannot change.
//!
//! - One blank line before a table, at most one elsewhere; comments right above a table belong to it.
//! - One space around `=`, none inside a dotted key; no indentation but inside lists.
//! - A list stands on one line if it fits in 100 columns; otherwise, or if it holds a comment or ends with a
//!   comma, each item has a line of its own.
//! - A comment behind a line starts in column 39, or two spaces after a longer line.

mod value;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use crate::diagnostic::{Diagnostics, Sources};
use crate::parse;

/// The longest line of a list that is not broken up.
const WIDTH: usize = 100;
/// What stands before a comment at the end of a line.
const COMMENT_COLUMN: usize = 38;

/// Formats a file; `path` is for messages.
///
/// # Errors
/// When the text is not TOML, with each place.
pub fn format(path: &str, text: &str) -> Result<String, Diagnostics> {
    let mut diagnostics = Diagnostics::new(Sources::new(path, text));
    parse::source(0, &mut diagnostics);
    if diagnostics.is_empty() { Ok(layout(text)) } else { Err(diagnostics) }
}

/// Lays out a text that is TOML.
fn layout(text: &str) -> String {
    let tokens = Source::new(text).lex().into_vec();
    let mut cursor = Cursor { text, tokens: &tokens, next: 0 };
    let mut out = Layout::default();
    while let Some(statement) = statement(&mut cursor) {
        out.add(statement);
    }
    out.finish()
}

/// What fills one line, or several if it holds a broken list.
enum Statement {
    Blank,
    Comment(String),
    Header(String, Option<String>),
    Entry(String, Option<String>),
}

fn statement(cursor: &mut Cursor<'_>) -> Option<Statement> {
    cursor.skip_space();
    let statement = match cursor.peek()? {
        TokenKind::Newline => Statement::Blank,
        TokenKind::Comment => Statement::Comment(cursor.take().trim_end().to_owned()),
        TokenKind::LeftSquareBracket => {
            let header = cursor.compact_until(&[TokenKind::Comment, TokenKind::Newline]);
            Statement::Header(header, cursor.comment())
        }
        _ => {
            let key = cursor.compact_until(&[TokenKind::Equals]);
            cursor.take();
            let value = value::read(cursor);
            let room = WIDTH.saturating_sub(key.chars().count() + 3);
            Statement::Entry(format!("{key} = {}", value::show(&value, room, 0)), cursor.comment())
        }
    };
    cursor.skip_space();
    if cursor.peek() == Some(TokenKind::Newline) {
        cursor.take();
    }
    Some(statement)
}

/// The lines so far, and the comments that may belong to a table which follows.
#[derive(Default)]
struct Layout {
    lines: Vec<String>,
    /// Since the last line that is neither blank nor a comment: blank lines as empty texts.
    pending: Vec<String>,
}

impl Layout {
    fn add(&mut self, statement: Statement) {
        match statement {
            Statement::Blank => self.pending.push(String::new()),
            Statement::Comment(comment) => self.pending.push(comment),
            Statement::Header(header, comment) => {
                // The blank line goes above the comments that touch the header.
                let touching =
                    self.pending.iter().rposition(String::is_empty).map_or(0, |at| at + 1);
                if !self.lines.is_empty() || touching > 0 {
                    self.pending.insert(touching, String::new());
                }
                self.flush();
                self.lines.push(with_comment(header, comment));
            }
            Statement::Entry(entry, comment) => {
                self.flush();
                self.lines.push(with_comment(entry, comment));
            }
        }
    }

    /// Moves what is pending behind the lines, with at most one blank line in a row and none at the start.
    fn flush(&mut self) {
        for line in self.pending.drain(..) {
            let after_blank = self.lines.last().is_none_or(String::is_empty);
            if !(line.is_empty() && after_blank) {
                self.lines.push(line);
            }
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        let mut text = self.lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

fn with_comment(text: String, comment: Option<String>) -> String {
    let Some(comment) = comment else { return text };
    let last = text.rsplit('\n').next().unwrap_or_default().chars().count();
    let space = COMMENT_COLUMN.saturating_sub(last).max(2);
    format!("{text}{}{comment}", " ".repeat(space))
}

/// Reads the tokens of a text that is known to be TOML.
struct Cursor<'a> {
    text: &'a str,
    tokens: &'a [Token],
    next: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<TokenKind> {
        self.tokens.get(self.next).map(Token::kind).filter(|kind| *kind != TokenKind::Eof)
    }

    fn take(&mut self) -> &str {
        let span = self.tokens[self.next].span();
        self.next += 1;
        &self.text[span.start()..span.end()]
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(TokenKind::Whitespace) {
            self.next += 1;
        }
    }

    /// Texts up to one of these kinds, without the white space between them.
    fn compact_until(&mut self, ends: &[TokenKind]) -> String {
        let mut text = String::new();
        while let Some(kind) = self.peek().filter(|kind| !ends.contains(kind)) {
            let token = self.take();
            if kind != TokenKind::Whitespace {
                text.push_str(token);
            }
        }
        text
    }

    /// The comment that stands next on this line.
    fn comment(&mut self) -> Option<String> {
        self.skip_space();
        let next = self.peek() == Some(TokenKind::Comment);
        next.then(|| self.take().trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_canonical_layout() {
        let written = "\n\n# of the file\n\n\n# of the table\n[ a . b ]   # why\nx=1\ny   =  [1,2 ,\n3]#trailing\n\n\n\nz.w=\"a # b\"\n[c]\n";
        let laid_out = "\
# of the file

# of the table
[a.b]                                 # why
x = 1
y = [1, 2, 3]                         #trailing

z.w = \"a # b\"

[c]
";
        assert_eq!(layout(written), laid_out);
        assert_eq!(layout(laid_out), laid_out);
    }

    #[test]
    fn lists_break_when_they_must_or_are_told_to() {
        let long = format!("a = [\"{}\", \"{}\"]\n", "x".repeat(60), "y".repeat(60));
        let broken =
            format!("a = [\n    \"{}\",\n    \"{}\",\n]\n", "x".repeat(60), "y".repeat(60));
        assert_eq!(layout(&long), broken);
        assert_eq!(layout(&broken), broken);
        assert_eq!(layout("a = [1, 2,]\n"), "a = [\n    1,\n    2,\n]\n");
        let commented = "a = [\n    # of one\n    1,  # behind one\n    2,\n    # at the end\n]\n";
        assert_eq!(layout(commented), commented);
        assert_eq!(
            layout("a = { b=[ ],c = { } , d.e = 1.5e3 }"),
            "a = { b = [], c = {}, d.e = 1.5e3 }\n"
        );
        // In a table of TOML 1.0 a list may take several lines, and the table itself may not.
        let inside = "a = [\n    { b = [\n        1,\n        2,\n    ], c = 3 },\n    4,\n]\n";
        assert_eq!(layout(inside), inside);
    }

    #[test]
    fn texts_keep_every_character() {
        let text = "a = \"\"\"\n  two   spaces\n\n\n[not a table]\n\"\"\"\nb = 'C:\\x'  # c\nd = 1979-05-27 07:32:00\n";
        let laid_out = layout(text);
        assert_eq!(toml::from_str::<toml::Table>(text), toml::from_str::<toml::Table>(&laid_out));
        assert_eq!(layout(&laid_out), laid_out);
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_place() {
        let mistakes = format("dataflow.toml", "a = 1\nb = \n").expect_err("no value");
        assert!(mistakes.render(false).contains("dataflow.toml:2:"), "{mistakes}");
    }
}
