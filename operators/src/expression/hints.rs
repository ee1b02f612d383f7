//! What people write who know other languages, and how it is said here.

use std::ops::Range;

/// How to say what a word or sign of another language means.
pub(super) fn meant(word: &str) -> Option<&'static str> {
    Some(match word {
        "=" | "===" => "equality is written `==`",
        "<>" | "=!" | "!==" | "~=" => "inequality is written `!=`",
        "=~" | "~" | "!~" | "like" | "LIKE" | "ilike" | "ILIKE" => {
            "texts have methods for that: `text.contains('...')`, or `text.matches('...')` with a regular expression"
        }
        "contains" | "startsWith" | "endsWith" | "matches" => {
            "it is a method of a text, as in `text.contains('...')`"
        }
        "and" | "AND" | "&" => "`&&` joins conditions that must both hold",
        "or" | "OR" | "|" => "`||` joins conditions of which one must hold",
        "not" | "NOT" => "`!` negates, as in `!text.contains('...')`",
        "if" | "IF" | "then" | "else" | "when" => "a choice is written `condition ? one : other`",
        "TRUE" | "True" => "it is written `true`",
        "FALSE" | "False" => "it is written `false`",
        "null" | "NULL" | "nil" | "None" | "undefined" | "exists" | "has" => {
            "a record has all fields of its type: an unset text is `''`, an unset number is 0"
        }
        "len" | "length" | "strlen" | "LENGTH" => "`size(x)` counts the characters of a text",
        "lower" | "lowercase" | "downcase" | "toLower" | "toLowerCase" | "to_lowercase" => {
            "it is called `text.lowerAscii()`"
        }
        "upper" | "uppercase" | "upcase" | "toUpper" | "toUpperCase" | "to_uppercase" => {
            "it is called `text.upperAscii()`"
        }
        "includes" | "has_prefix" | "hasPrefix" | "re_match" | "regexp" => {
            "texts have `contains`, `startsWith`, `endsWith` and `matches`"
        }
        "now" | "timestamp" | "date" => "an expression sees one record and no clock",
        ";" => "an expression is one value: join conditions with `&&` or `||`",
        "$" | "@" | "#" => "fields are written by their bare names",
        "“" | "”" | "„" | "‘" | "’" | "`" => "a text stands in straight quotes: 'abc'",
        "*" => "to count records write `count()`",
        _ => return None,
    })
}

/// Whether a name looks like a constant: its writer has forgotten the quotes of a text.
pub(super) fn is_constant(name: &str) -> bool {
    name.len() > 1
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// The word, or the run of signs, that a place is in.
pub(super) fn token_at(source: &str, at: usize) -> Range<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_sign = |c: char| "=<>!&|~".contains(c);
    let Some(rest) = source.get(at..) else { return source.len()..source.len() };
    let Some(first) = rest.chars().next() else { return at..at };
    let run = |inside: &dyn Fn(char) -> bool| rest.find(|c| !inside(c)).unwrap_or(rest.len());
    if is_word(first) {
        return at..at + run(&is_word);
    }
    if first == '.' {
        let after = &rest[1..];
        return at..at + 1 + after.find(|c| !is_word(c)).unwrap_or(after.len());
    }
    if is_sign(first) {
        let before = &source[..at];
        let start = before.trim_end_matches(is_sign).len();
        return start..at + run(&is_sign);
    }
    at..at + first.len_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_a_word_or_a_run_of_signs() {
        let token = |source: &'static str, at| &source[token_at(source, at)];
        assert_eq!(token("seq <> 3", 5), "<>");
        assert_eq!(token("seq > 1 and seq", 8), "and");
        assert_eq!(token("text == “a”", 8), "“");
        assert_eq!(token("text.length > 3", 4), ".length");
        assert_eq!(token("a", 1), "");
        assert_eq!(token("ü", 1), "", "a place inside a character is none");
    }
}
