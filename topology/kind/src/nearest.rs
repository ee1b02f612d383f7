//! Words that were meant.

/// Suggestions at most: more would be a list, which the help gives where it is short.
const SUGGESTIONS: usize = 3;

/// "did you mean": the nearest known words, if any is near enough. Case does not count; a word twice as
/// far as the nearest is not named.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let words: Vec<_> = nearest(word, known).iter().map(|word| format!("`{word}`")).collect();
    (!words.is_empty()).then(|| format!("did you mean {}?", words.join(" or ")))
}

/// The words that may have been meant, the likeliest first.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let length = word.chars().count();
    let near = |candidate: &'a str| {
        // Words of other lengths are farther than the limit; this spares most of the work on big files.
        let other = candidate.chars().count();
        let limit = (length.max(other) / 3).max(1);
        if length.abs_diff(other) > limit {
            return None;
        }
        let distance = match word.eq_ignore_ascii_case(candidate) {
            true => 0,
            false => strsim::damerau_levenshtein(word, candidate),
        };
        (distance <= limit).then_some((distance, candidate))
    };
    let mut found: Vec<_> = known.into_iter().filter_map(near).collect();
    found.sort_unstable();
    found.dedup();
    let limit = found.first().map_or(0, |(distance, _)| distance * 2);
    let found = found.into_iter().take_while(|(distance, _)| *distance <= limit);
    found.take(SUGGESTIONS).map(|(_, word)| word).collect()
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
    fn case_does_not_count() {
        assert_eq!(nearest("SENDERID", ["senderId", "text"]), ["senderId"]);
    }
}
