//! The words of a text, the same for what is indexed and for what is asked.
//!
//! Each word has a place of its own, from 0. Latin and its like: a run of letters and digits, in lower
//! case, without accents. Scripts without spaces (Chinese, Japanese, Korean, Thai): each character with
//! the one behind it, the last of a run alone; so any part of a text can be found, a single character
//! as the beginning of a pair. Punctuation and emoji part words and are none.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longer words count by so many bytes of their beginning.
const MAX_WORD_BYTES: usize = 64;

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Where it stands in the text, in bytes.
    pub(super) span: Range<usize>,
    pub(super) form: Form,
}

/// What a word is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Letters,
    Pair,
    /// The last character of a run, behind a pair.
    Last,
    /// A run of one character.
    Alone,
}

/// The words of a text by their places.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut words = Words::default();
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if c.is_ascii() {
            words.take(c.to_ascii_lowercase(), at..end);
        } else if is_folded(c) {
            c.nfkd().for_each(|c| words.take_lower(c, at..end));
        } else {
            words.take_lower(c, at..end);
        }
    }
    words.end();
    words.found
}

#[derive(Default)]
struct Words {
    found: Vec<Word>,
    open: Option<Open>,
}

/// The run that is being read.
enum Open {
    Letters(String, Range<usize>),
    /// The last character, not in a word yet, and whether one stands before it.
    Run(char, Range<usize>, bool),
}

impl Words {
    fn take_lower(&mut self, c: char, span: Range<usize>) {
        c.to_lowercase().for_each(|c| self.take(c, span.clone()));
    }

    fn take(&mut self, c: char, span: Range<usize>) {
        if is_accent(c) {
            match &mut self.open {
                Some(Open::Letters(_, place) | Open::Run(_, place, _)) => place.end = span.end,
                None => {}
            }
        } else if is_unspaced(c) {
            self.take_unspaced(c, span);
        } else if c.is_alphanumeric() || is_combining_mark(c) && self.is_in_letters() {
            self.take_letter(c, span);
        } else {
            self.end();
        }
    }

    fn is_in_letters(&self) -> bool {
        matches!(self.open, Some(Open::Letters(..)))
    }

    fn take_letter(&mut self, c: char, span: Range<usize>) {
        if let Some(Open::Letters(text, whole)) = &mut self.open {
            if text.len() + c.len_utf8() <= MAX_WORD_BYTES {
                text.push(c);
            }
            whole.end = span.end;
        } else {
            self.end();
            self.open = Some(Open::Letters(c.into(), span));
        }
    }

    fn take_unspaced(&mut self, c: char, span: Range<usize>) {
        let mut is_behind = false;
        match self.open.take() {
            Some(Open::Run(first, place, _)) => {
                let (text, span) = ([first, c].iter().collect(), place.start..span.end);
                self.found.push(Word { text, span, form: Form::Pair });
                is_behind = true;
            }
            other => {
                self.open = other;
                self.end();
            }
        }
        self.open = Some(Open::Run(c, span, is_behind));
    }

    fn end(&mut self) {
        let word = match self.open.take() {
            None => return,
            Some(Open::Letters(text, span)) => Word { text, span, form: Form::Letters },
            Some(Open::Run(c, span, is_behind)) => {
                let form = if is_behind { Form::Last } else { Form::Alone };
                Word { text: c.into(), span, form }
            }
        };
        self.found.push(word);
    }
}

/// Letters with accents, ligatures, letters of full or half width: taken apart before they count.
fn is_folded(c: char) -> bool {
    matches!(c,
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{f900}'..='\u{faff}' | '\u{fb00}'..='\u{fb06}' | '\u{ff01}'..='\u{ff9f}')
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | '\u{3099}' | '\u{309a}' | '\u{fe00}'..='\u{fe0f}')
}

/// Scripts that put no spaces between words, or whose words are best found by their parts.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        // Thai, Lao, Burmese, Khmer
        '\u{e01}'..='\u{e4e}' | '\u{e81}'..='\u{ecd}' | '\u{1000}'..='\u{103f}' | '\u{1780}'..='\u{17d3}'
        // Chinese characters and marks that stand for one; Hiragana, Katakana
        | '々' | '〇' | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}'
        // Bopomofo, Hangul
        | '\u{3105}'..='\u{312f}' | '\u{ac00}'..='\u{d7a3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> String {
        let words: Vec<_> = words(text).into_iter().map(|word| word.text).collect();
        words.join(" ")
    }

    #[test]
    fn texts_of_all_scripts_fall_into_words() {
        for (text, expected) in [
            ("Hello, World-wide web_2.0!", "hello world wide web 2 0"),
            ("don't", "don t"),
            (
                "Ça va? Æther, naïve CAFÉ cafe\u{301} Việt Nam",
                "ca va æther naive cafe cafe viet nam",
            ),
            ("ＦＵＬＬ　ｗｉｄｔｈ１２ ﬁle", "full width12 file"),
            ("Straße ПРИВЕТ Ελλάδα", "straße привет ελλάδα"),
            ("中", "中"),
            ("中文", "中文 文"),
            ("今天天气，很好", "今天 天天 天气 气 很好 好"),
            ("用Rust写IM服务", "用 rust 写 im 服务 务"),
            ("東京タワー ﾃｽﾄ", "東京 京タ タワ ワー ー テス スト ト"),
            ("안녕 하세요", "안녕 녕 하세 세요 요"),
            ("ภาษา", "ภา าษ ษา า"),
            ("नमस्ते", "नमस्ते"),
            ("🎉ok👩‍👩‍👧🎉 好🎉的", "ok 好 的"),
            ("🎉 …!? \u{200b}\u{fe0f}", ""),
            ("", ""),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_stands_where_its_letters_stand() {
        let text = "ah, ÉTÉ中文x";
        let found: Vec<_> = words(text).into_iter().map(|word| &text[word.span]).collect();
        assert_eq!(found, ["ah", "ÉTÉ", "中文", "文", "x"]);
    }

    #[test]
    fn a_long_word_counts_by_its_beginning() {
        let [word] = &words(&"x".repeat(100_000))[..] else { panic!("one word") };
        assert_eq!((word.text.len(), word.span.clone()), (64, 0..100_000));
    }
}
