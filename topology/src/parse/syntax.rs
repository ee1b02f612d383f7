//! What was most likely meant where a text is not TOML.

/// What to do about a syntax error at a place, judged by the line around it.
pub(super) fn help(text: &str, at: usize) -> Option<String> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let (before, rest) = (&text[start..at], text[at..end].trim_end());
    let word: String =
        rest.chars().take_while(|c| c.is_alphanumeric() || "_.-".contains(*c)).collect();
    if before.ends_with('"') && before.matches('"').count() >= 2 && !word.is_empty() {
        return Some(
            "a text that holds quotes stands in single quotes: '...', or with `\\\"` inside"
                .to_owned(),
        );
    }
    if rest.starts_with(',') {
        return Some(
            "commas stand between the items of `[ ]` and `{ }`, not behind a line".to_owned(),
        );
    }
    if rest.starts_with(':')
        || before.trim_end().ends_with(':')
        || (before.trim_end().is_empty() && word_colon(rest))
    {
        return Some("keys are written `key = value`".to_owned());
    }
    let line = text[start..end].trim_start();
    if line.starts_with("//") || line.starts_with("--") {
        return Some("a comment begins with `#`".to_owned());
    }
    let is_value =
        before.trim_end().ends_with(['=', '[', ',', '{']) && !before.trim_start().starts_with('[');
    let is_text = word.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_');
    (is_value && is_text).then(|| format!("a text stands in quotes: \"{word}\""))
}

fn word_colon(rest: &str) -> bool {
    let word = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
    word.len() < rest.len() && word.starts_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Diagnostics, Sources};

    #[test]
    fn what_people_of_other_formats_write_is_answered() {
        for (text, part) in [
            ("where = \"text.contains(\"a\")\"", "single quotes"),
            ("path = \"c\",", "commas"),
            ("kind: filter", "key = value"),
            ("kind = filter", "\"filter\""),
            ("inputs = [store.committed]", "\"store.committed\""),
            ("every = 3s", "\"3s\""),
            ("// why", "begins with `#`"),
        ] {
            let mut diagnostics = Diagnostics::new(Sources::new("dataflow.toml", text));
            super::super::source(0, &mut diagnostics);
            let found = diagnostics.list()[0].help.clone().unwrap_or_default();
            assert!(found.contains(part), "{text}: {diagnostics}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_help() {
        assert_eq!(help("[operators.y", 12), None);
        assert_eq!(help("a = 1", 99), None);
    }
}
