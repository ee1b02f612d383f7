//! `format` never changes what a file says, and does nothing twice.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

use std::fs;
use std::path::{Path, PathBuf};

use imflow_topology::format;

/// Every TOML file of the repository.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let (mut open, mut files) = (vec![root], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
    }
    files
}

/// Formats a text that is TOML, and makes sure of both promises.
fn check(text: &str, of: &str) -> bool {
    let Ok(laid_out) = format("dataflow.toml", text) else { return false };
    let meaning = |text: &str| toml::from_str::<toml::Table>(text);
    assert_eq!(meaning(text), meaning(&laid_out), "{of}:\n{text}\nbecame\n{laid_out}");
    assert_eq!(format("dataflow.toml", &laid_out).unwrap(), laid_out, "{of}:\n{text}");
    let comments = |text: &str| text.matches('#').count();
    assert_eq!(comments(text), comments(&laid_out), "{of}:\n{text}\nbecame\n{laid_out}");
    true
}

#[test]
fn the_meaning_stays_and_twice_is_once() {
    let mut checked = 0;
    for path in files() {
        checked += usize::from(check(&fs::read_to_string(&path).unwrap(), &path.to_string_lossy()));
    }
    assert!(checked >= 15, "only {checked} files were found");
}

#[test]
fn the_meaning_of_distorted_files_stays_too() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout/awkward.toml");
    let text = fs::read_to_string(golden).unwrap();
    let mut checked = 0;
    for (at, c) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        for insert in ["", "\n", " ", "\r\n", ",", "# x\n", "[", "\"", "'''"] {
            checked +=
                usize::from(check(&format!("{before}{insert}{after}"), "one character replaced"));
            checked += usize::from(check(&format!("{before}{insert}{c}{after}"), "one inserted"));
        }
    }
    assert!(checked >= 1_000, "only {checked} distorted files were TOML");
}
