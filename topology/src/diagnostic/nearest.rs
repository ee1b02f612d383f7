//! Words that were meant.

/// Suggestions at most: more would be a list, which the help gives where it is short.
const SUGGESTIONS: usize = 3;

/// "did you mean": the nearest known words, if any is near enough. A word twice as far as the nearest is
/// not named.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let length = word.chars().count();
    let near = |candidate: &'a str| {
        // Words of other lengths are farther than the limit; this spares most of the work on big files.
        let other = candidate.chars().count();
        let limit = (length.max(other) / 3).max(1);
        if length.abs_diff(other) > limit {
            return None;
        }
        let distance = strsim::damerau_levenshtein(word, candidate);
        (distance <= limit).then_some((distance, candidate))
    };
    let mut found: Vec<_> = known.into_iter().filter_map(near).collect();
    found.sort_unstable();
    found.dedup();
    let nearest = found.first()?.0;
    let words: Vec<_> = found
        .iter()
        .take_while(|(distance, _)| *distance <= nearest * 2)
        .take(SUGGESTIONS)
        .map(|(_, word)| format!("`{word}`"))
        .collect();
    Some(format!("did you mean {}?", words.join(" or ")))
}

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
    fn the_nearest_words_are_suggested_and_far_ones_are_not() {
        let known = ["messages", "message", "lookups"];
        assert_eq!(
            did_you_mean("mesages", known),
            Some("did you mean `messages` or `message`?".to_owned())
        );
        assert_eq!(did_you_mean("lookup", known), Some("did you mean `lookups`?".to_owned()));
        assert_eq!(did_you_mean("zzz", known), None);
    }

    #[test]
    fn long_lists_are_cut() {
        let words: Vec<_> = (0..25).map(|n| n.to_string()).collect();
        assert!(quoted(words.iter().map(String::as_str)).ends_with("`19` and 5 more"));
    }
}
