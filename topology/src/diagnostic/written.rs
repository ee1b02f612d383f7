//! Where a part of a text stands in the file, which may write it with escapes.

use std::ops::Range;

/// Where `part` of `text` stands inside `written`: the text with its quotes, as the file has it. An empty
/// part that is not the text's end stands for all of it. `None` if `written` does not give `text`, as
/// when a variable does.
pub(crate) fn written_range(
    written: &str,
    text: &str,
    part: &Range<usize>,
) -> Option<Range<usize>> {
    if part.is_empty() && part.start < text.len() {
        return Some(0..written.len());
    }
    let (decoded, places) = decode(written)?;
    if decoded != text {
        return None;
    }
    let (start, end) = (*places.get(part.start)?, *places.get(part.end)?);
    // A caret at the end of a text points at the closing quote.
    Some(start..end.max((start + 1).min(written.len())))
}

/// A TOML string, and where each of its bytes and its end begin.
fn decode(written: &str) -> Option<(String, Vec<usize>)> {
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| {
        written.len() >= 2 * quote.len() && written.starts_with(quote) && written.ends_with(quote)
    })?;
    let end = written.len() - quote.len();
    let mut at = quote.len();
    if quote.len() == 3 {
        // A line break directly behind the quotes is none of the text.
        let rest = &written[at..end];
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let (mut decoded, mut places) = (String::new(), Vec::new());
    while at < end {
        let rest = &written[at..end];
        let (character, length) = match rest.chars().next()? {
            '\\' if quote.starts_with('"') => escaped(rest)?,
            character => (Some(character), character.len_utf8()),
        };
        if let Some(character) = character {
            decoded.push(character);
            places.resize(decoded.len(), at);
        }
        at += length;
    }
    places.push(end);
    Some((decoded, places))
}

/// What an escape at the beginning of `rest` gives, and its length. One before a line break gives nothing
/// and takes the space behind it.
fn escaped(rest: &str) -> Option<(Option<char>, usize)> {
    let coded = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((Some(char::from_u32(code)?), 2 + digits))
    };
    let plain = |character| Some((Some(character), 2));
    match rest[1..].chars().next()? {
        'b' => plain('\u{8}'),
        't' => plain('\t'),
        'n' => plain('\n'),
        'f' => plain('\u{c}'),
        'r' => plain('\r'),
        'e' => plain('\u{1b}'),
        '"' => plain('"'),
        '\\' => plain('\\'),
        'x' => coded(2),
        'u' => coded(4),
        'U' => coded(8),
        _ => Some((None, 1 + rest[1..].len() - rest[1..].trim_start().len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is underlined of a text for a part that is found in it by its own text.
    fn underlined<'a>(written: &'a str, text: &str, part: &str) -> &'a str {
        let start = text.find(part).unwrap_or(text.len());
        &written
            [written_range(written, text, &(start..start + part.len())).expect("it is the same")]
    }

    #[test]
    fn a_part_is_found_behind_escapes() {
        let text = "a == \"b\" && colour";
        for written in [
            r#""a == \"b\" && colour""#,
            r#"'a == "b" && colour'"#,
            r#""a == \u0022b\U00000022 && colour""#,
            "\"\"\"\na == \"b\" \\\n    && colour\"\"\"",
            "'''\r\na == \"b\" && colour'''",
        ] {
            assert_eq!(underlined(written, text, "colour"), "colour", "{written}");
        }
        assert_eq!(underlined("'你好 x'", "你好 x", "x"), "x");
    }

    #[test]
    fn the_end_is_the_closing_quote_and_an_empty_part_is_all() {
        assert_eq!(written_range("\"a &&\"", "a &&", &(4..4)), Some(5..6));
        assert_eq!(written_range("\"a\"", "a", &(0..0)), Some(0..3));
    }

    #[test]
    fn what_the_file_does_not_write_has_no_place() {
        assert_eq!(written_range("\"${X}\"", "seq", &(0..3)), None);
        assert_eq!(written_range("seq", "seq", &(0..3)), None);
    }
}
