//! Words in sentences.

/// Words in a list at most.
const LISTED: usize = 20;

/// `a`, `b`, `c`, in back quotes.
pub(crate) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    if words.is_empty() {
        return "nothing".to_owned();
    }
    let listed: Vec<_> = words.iter().take(LISTED).map(|w| format!("`{w}`")).collect();
    let more = words.len() - listed.len();
    let tail = if more == 0 { String::new() } else { format!(" and {more} more") };
    listed.join(", ") + &tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let words: Vec<_> = (0..25).map(|n| n.to_string()).collect();
        assert!(quoted(words.iter().map(String::as_str)).ends_with("`19` and 5 more"));
    }
}
