//! Values, read from tokens and written on one line or broken up.

use toml_parser::lexer::TokenKind;

use super::{Cursor, WIDTH};

const INDENT: usize = 4;

/// A value as it stands in the file.
pub(super) enum Value {
    Scalar(String),
    List {
        items: Vec<Item>,
        last_comma: bool,
        end: Vec<String>,
    },
    /// Entries are `key = value`.
    Table {
        items: Vec<Item>,
        end: Vec<String>,
    },
}

/// What stands between commas.
pub(super) struct Item {
    /// Comments on lines of their own above it.
    above: Vec<String>,
    /// Empty for an item of a list.
    key: String,
    value: Value,
    /// A comment behind it.
    behind: Option<String>,
}

pub(super) fn read(cursor: &mut Cursor<'_>) -> Value {
    cursor.skip_space();
    match cursor.peek() {
        Some(TokenKind::LeftSquareBracket) => {
            let (items, last_comma, end) = items(cursor, TokenKind::RightSquareBracket);
            Value::List { items, last_comma, end }
        }
        Some(TokenKind::LeftCurlyBracket) => {
            let (items, _, end) = items(cursor, TokenKind::RightCurlyBracket);
            Value::Table { items, end }
        }
        _ => Value::Scalar(scalar(cursor)),
    }
}

/// A text, a number, a date: its tokens, white space inside it as one space.
fn scalar(cursor: &mut Cursor<'_>) -> String {
    use TokenKind::{Comma, Comment, Newline, RightCurlyBracket, RightSquareBracket, Whitespace};
    let mut text = String::new();
    while let Some(kind) = cursor.peek() {
        if matches!(kind, Comma | Comment | Newline | RightCurlyBracket | RightSquareBracket) {
            break;
        }
        let token = cursor.take();
        text.push_str(if kind == Whitespace { " " } else { token });
    }
    text.trim_end().to_owned()
}

/// The items up to a closing bracket, whether a comma ends them, and the comments after the last one.
fn items(cursor: &mut Cursor<'_>, close: TokenKind) -> (Vec<Item>, bool, Vec<String>) {
    cursor.take();
    let (mut items, mut last_comma, mut above) = (Vec::<Item>::new(), false, Vec::new());
    // Whether a comment would stand on the line of the last item.
    let mut same_line = false;
    loop {
        cursor.skip_space();
        match cursor.peek() {
            None => break,
            Some(kind) if kind == close => {
                cursor.take();
                break;
            }
            Some(TokenKind::Newline) => {
                cursor.take();
                same_line = false;
            }
            Some(TokenKind::Comma) => {
                cursor.take();
                last_comma = true;
            }
            Some(TokenKind::Comment) => {
                let comment = cursor.take().trim_end().to_owned();
                match items.last_mut().filter(|_| same_line) {
                    Some(item) => item.behind = Some(comment),
                    None => above.push(comment),
                }
            }
            Some(_) => {
                let is_entry = close == TokenKind::RightCurlyBracket;
                let key = if is_entry { key(cursor, &mut above) } else { String::new() };
                let value = read(cursor);
                items.push(Item { above: std::mem::take(&mut above), key, value, behind: None });
                (last_comma, same_line) = (false, true);
            }
        }
    }
    (items, last_comma, above)
}

/// The key of an entry. TOML 1.1 lets lines end around its `=`; comments there move above the entry.
fn key(cursor: &mut Cursor<'_>, above: &mut Vec<String>) -> String {
    let (mut key, mut complete) = (String::new(), false);
    while let Some(kind) = cursor.peek() {
        match kind {
            TokenKind::Whitespace | TokenKind::Newline => _ = cursor.take(),
            TokenKind::Comment => above.push(cursor.take().trim_end().to_owned()),
            TokenKind::Equals => {
                cursor.take();
                complete = true;
            }
            _ if complete => break,
            _ => key.push_str(cursor.take()),
        }
    }
    key
}

/// Writes a value that has `room` columns left on its line, at this depth of indentation.
pub(super) fn show(value: &Value, room: usize, depth: usize) -> String {
    let line = on_one_line(value);
    match (value, line) {
        (Value::Scalar(text), _) => text.clone(),
        (Value::Table { .. }, Some(line)) => line,
        // A table on several lines is TOML 1.1, which editors are slow to learn: only a comment makes one.
        // A list inside may take several.
        (Value::Table { items, end }, None) if end.is_empty() && items.iter().all(is_plain) => {
            let entry = |item: &Item| with_key(item, &show(&item.value, usize::MAX, depth));
            format!("{{ {} }}", items.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        (Value::List { .. }, Some(line)) if line.chars().count() <= room => line,
        (Value::List { items, end, .. }, _) => broken(items, end, ('[', ']'), depth),
        (Value::Table { items, end }, None) => broken(items, end, ('{', '}'), depth),
    }
}

/// `None` where a comment or a last comma asks for several lines.
fn on_one_line(value: &Value) -> Option<String> {
    let join = |items: &[Item]| {
        let texts = items.iter().map(|item| {
            is_plain(item)
                .then(|| on_one_line(&item.value))
                .flatten()
                .map(|text| with_key(item, &text))
        });
        texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(", "))
    };
    match value {
        Value::Scalar(text) => Some(text.clone()),
        Value::List { items, last_comma: false, end } if end.is_empty() => {
            Some(format!("[{}]", join(items)?))
        }
        Value::Table { items, end } if end.is_empty() => match join(items)? {
            inside if inside.is_empty() => Some("{}".to_owned()),
            inside => Some(format!("{{ {inside} }}")),
        },
        _ => None,
    }
}

/// Whether no comment belongs to it.
fn is_plain(item: &Item) -> bool {
    item.above.is_empty() && item.behind.is_none()
}

fn with_key(item: &Item, value: &str) -> String {
    if item.key.is_empty() { value.to_owned() } else { format!("{} = {value}", item.key) }
}

fn broken(items: &[Item], end: &[String], brackets: (char, char), depth: usize) -> String {
    let indent = " ".repeat(INDENT * (depth + 1));
    let mut text = format!("{}\n", brackets.0);
    for item in items {
        for comment in &item.above {
            text += &format!("{indent}{comment}\n");
        }
        let before =
            indent.len() + if item.key.is_empty() { 0 } else { item.key.chars().count() + 3 };
        let value = show(&item.value, WIDTH.saturating_sub(before + 1), depth + 1);
        text += &format!("{indent}{},", with_key(item, &value));
        if let Some(comment) = &item.behind {
            text += &format!("  {comment}");
        }
        text.push('\n');
    }
    for comment in end {
        text += &format!("{indent}{comment}\n");
    }
    text + &" ".repeat(INDENT * depth) + &brackets.1.to_string()
}
