//! What people write: the fortunes of Debian, English and Chinese.

use std::path::Path;

use rand::seq::SliceRandom as _;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::failure::{Context as _, Failure};

/// Longer fortunes are left out: they are essays, and the service has a limit on texts.
const MAX_BYTES: usize = 4_096;
/// Shares of both languages in a run are at least one in this many texts.
const RARE: usize = 20;

/// A text and what is asked of it over and over.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// As a JSON string, quotes included.
    pub(crate) json: String,
    pub(crate) hash: u64,
}

impl Text {
    pub(crate) fn new(text: String) -> Self {
        let json = serde_json::Value::from(text.as_str()).to_string();
        Self { hash: hash(&text), json, text }
    }
}

/// Some texts of exactly `bytes` bytes.
pub(crate) fn plain(bytes: usize) -> Vec<Text> {
    let letters = b"the quick brown fox jumps over the lazy dog ";
    let one = |start: usize| {
        (0..bytes).map(|i| char::from(letters[(start + i) % letters.len()])).collect()
    };
    (0..letters.len()).map(|start| Text::new(one(start))).collect()
}

/// Every fortune of a folder, both languages mixed in an order that the seed decides.
pub(crate) fn fortunes(folder: &Path, seed: u64) -> Result<Vec<Text>, Failure> {
    let missing = |found: &str| {
        let folder = folder.display();
        Failure::new(format!(
            "{found} in {folder}; they come with: apt-get install fortunes fortunes-zh"
        ))
    };
    let entries = std::fs::read_dir(folder).map_err(|_| missing("there are no fortunes"))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.context(|| format!("reading {}", folder.display()))?.path());
    }
    // `.dat` files are indexes, `.u8` ones are links to their namesakes.
    paths.retain(|path| path.is_file() && path.extension().is_none());
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path).context(|| format!("reading {}", path.display()))?;
        texts.extend(split(&String::from_utf8_lossy(&bytes)));
    }
    let (mut chinese, mut english): (Vec<String>, Vec<String>) =
        texts.into_iter().partition(|text| is_chinese(text));
    let few =
        |texts: &[String], others: &[String]| texts.len() * RARE < others.len() || texts.is_empty();
    if few(&english, &chinese) {
        return Err(missing("there are hardly any English fortunes"));
    }
    if few(&chinese, &english) {
        return Err(missing("there are hardly any Chinese fortunes"));
    }
    english.append(&mut chinese);
    english.shuffle(&mut StdRng::seed_from_u64(seed));
    Ok(english.into_iter().map(Text::new).collect())
}

/// Fortunes stand between lines that hold a `%` alone.
fn split(file: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = String::new();
    for line in file.lines().chain(["%"]) {
        if line != "%" {
            text.push_str(line);
            text.push('\n');
            continue;
        }
        let whole = std::mem::take(&mut text);
        let trimmed = whole.trim_end();
        if !trimmed.trim().is_empty() && trimmed.len() <= MAX_BYTES {
            texts.push(trimmed.to_owned());
        }
    }
    texts
}

pub(crate) fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// A hash that is cheap enough for each delivery: eight bytes at a time.
pub(crate) fn hash(text: &str) -> u64 {
    let fold = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 29)
    };
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let hash =
        words.iter().fold(text.len() as u64, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| fold(hash, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fortunes_are_split_at_lone_percent_signs() {
        assert_eq!(split("one\n%\ntwo\n100% sure\n%\n\n%\n三\n"), ["one", "two\n100% sure", "三"]);
    }

    #[test]
    fn a_changed_letter_changes_the_hash() {
        assert_ne!(hash("hello world"), hash("hello worle"));
        assert_ne!(hash("明月几时有"), hash("明月幾时有"));
        assert!(plain(256).iter().all(|text| text.text.len() == 256));
    }

    #[test]
    fn an_empty_folder_says_what_to_install() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failure = fortunes(folder.path(), 1).expect_err("no fortunes").to_string();
        assert!(failure.contains("apt-get install fortunes fortunes-zh"), "{failure}");
    }
}
