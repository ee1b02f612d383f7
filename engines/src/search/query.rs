//! A query as a person writes it, and whether a text fits it.
//!
//! What stands together in a query, without a space or in quotes, stands together in the text; all of it
//! must be there. A single character of a script without spaces is a part like any other.

use std::ops::Range;

use super::words::{Form, Word, words};

const MAX_BYTES: usize = 256;
/// Each costs a look into the index.
const MAX_PHRASES: usize = 16;

/// Words that stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phrase {
    /// Words, and how far each stands behind the first.
    pub(super) words: Vec<(usize, String)>,
    /// Whether the last one is only the beginning of a word.
    pub(super) is_open: bool,
}

/// The phrases of a query.
///
/// # Errors
/// A sentence for who asked.
pub(super) fn parse(query: &str) -> Result<Vec<Phrase>, String> {
    if query.len() > MAX_BYTES {
        return Err(format!(
            "`query` has {} bytes, and a query has at most {MAX_BYTES}; search for fewer words",
            query.len()
        ));
    }
    let mut phrases = Vec::new();
    let parts: Vec<&str> = query.split(['"', '“', '”', '„']).collect();
    if parts.len().is_multiple_of(2) {
        return Err("a quote in `query` is not closed; write \"words that stand together\"".into());
    }
    for (index, part) in parts.into_iter().enumerate() {
        match index % 2 {
            0 => phrases.extend(part.split_whitespace().filter_map(Phrase::of)),
            _ => phrases.extend(Phrase::of(part)),
        }
    }
    match phrases.len() {
        0 => Err("`query` has no word: search for letters, digits or characters".into()),
        1..=MAX_PHRASES => Ok(phrases),
        count => Err(format!(
            "`query` has {count} words, and a query has at most {MAX_PHRASES}; search for fewer"
        )),
    }
}

/// Where the phrases stand in a text, in order and apart; `None` if one is missing.
pub(super) fn spans(phrases: &[Phrase], text: &str) -> Option<Vec<Range<usize>>> {
    let words = words(text);
    let mut spans = Vec::new();
    for phrase in phrases {
        let before = spans.len();
        spans.extend((0..words.len()).filter_map(|start| phrase.span(&words[start..])));
        if spans.len() == before {
            return None;
        }
    }
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut apart: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match apart.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => apart.push(span),
        }
    }
    Some(apart)
}

impl Phrase {
    fn of(part: &str) -> Option<Self> {
        let found = words(part);
        // The pair before it says the same.
        let is_needed = |(_, word): &(usize, &Word)| word.form != Form::Last;
        let needed: Vec<_> = found.iter().enumerate().filter(is_needed).collect();
        let first = needed.first()?.0;
        let is_open = needed.last().is_some_and(|(_, word)| word.form == Form::Alone);
        let words = needed.into_iter().map(|(place, word)| (place - first, word.text.clone()));
        Some(Self { words: words.collect(), is_open })
    }

    /// Where the phrase stands, if it stands at the first of these words.
    fn span(&self, words: &[Word]) -> Option<Range<usize>> {
        let mut end = 0;
        for (index, (place, wanted)) in self.words.iter().enumerate() {
            let word = words.get(*place)?;
            if self.is_open && index + 1 == self.words.len() {
                // One character; of a pair the first.
                end = word.span.end;
                if word.form == Form::Pair {
                    end -= word.text.chars().last().map_or(0, char::len_utf8);
                }
                word.text.starts_with(wanted.as_str()).then_some(())?;
            } else {
                end = word.span.end;
                (word.text == *wanted).then_some(())?;
            }
        }
        Some(words.first()?.span.start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of the text that fit, or what is wrong with the query.
    fn found(query: &str, text: &str) -> Result<Option<String>, String> {
        let phrases = parse(query)?;
        let spans = spans(&phrases, text);
        Ok(spans.map(|spans| spans.into_iter().map(|s| &text[s]).collect::<Vec<_>>().join("|")))
    }

    #[test]
    fn texts_that_fit_and_texts_that_do_not() {
        for (query, text, expected) in [
            ("world", "Hello, World!", Some("World")),
            ("world hello", "Hello, World!", Some("Hello|World")),
            ("\"hello world\"", "Hello, World!", Some("Hello, World")),
            ("\"world hello\"", "Hello, World!", None),
            ("wor", "Hello, World!", None),
            ("hello-world", "well hello world", Some("hello world")),
            ("cafe", "Café CAFE\u{301}", Some("Café|CAFE\u{301}")),
            ("天气", "今天天气很好", Some("天气")),
            ("天天气", "今天天气很好", Some("天天气")),
            ("气天", "今天天气很好", None),
            ("天 很好", "今天天气很好", Some("天天|很好")),
            ("好", "今天天气很好", Some("好")),
            ("今", "今天天气很好", Some("今")),
            ("坏", "今天天气很好", None),
            ("今天很好", "今天天气很好", None),
            ("天天气，很好", "今天天气很好", Some("天天气很好")),
            ("\"天气 很好\"", "今天天气，很好", Some("天气，很好")),
            ("用Rust写", "我用 Rust 写服务", Some("用 Rust 写")),
            ("Rust服务", "我用 Rust 写服务", None),
            ("rust 服", "我用 Rust 写服务", Some("Rust|服")),
            ("“hello world”", "hello world", Some("hello world")),
            ("🎉 ok", "🎉 ok", Some("ok")),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(found(query, text), Ok(expected), "{query} in {text}");
        }
    }

    #[test]
    fn any_part_of_an_unspaced_text_is_found_and_nothing_else() {
        let text: Vec<char> = "人人为我我为人人人".chars().collect();
        let whole: String = text.iter().collect();
        for a in
            ["人", "为", "我", "人人", "为我", "我我", "人为", "我人", "人人人", "我为人人", "为为"]
        {
            assert_eq!(found(a, &whole).expect("a query").is_some(), whole.contains(a), "{a}");
        }
        for start in 0..text.len() {
            for end in start + 1..=text.len() {
                let part: String = text[start..end].iter().collect();
                assert!(found(&part, &whole).expect("a query").is_some(), "{part}");
            }
        }
    }

    #[test]
    fn a_bad_query_is_told_what_is_wrong() {
        for (query, expected) in [
            ("", "no word"),
            ("🎉 !?", "no word"),
            ("\"open", "not closed"),
            (&*"a ".repeat(17), "17 words"),
            (&*"x".repeat(257), "257 bytes"),
        ] {
            let told = parse(query).expect_err("refused");
            assert!(told.contains(expected), "{query}: {told}");
        }
    }
}
