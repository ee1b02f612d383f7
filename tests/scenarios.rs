//! `imflow test`: what passes, what a failure and a mistake look like, and that time costs nothing.
//!
//! `UPDATE_GOLDEN=1 cargo test --test scenarios` writes the golden output anew.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn imflow_test(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imflow"));
    command.arg("test").args(arguments).current_dir(folder()).output().unwrap()
}

/// The output without what depends on the machine: how long each test took.
fn without_times(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let line = |line: &str| match line.rsplit_once(" in ") {
        Some((before, after)) if after.ends_with(" ms") => format!("{before}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn assert_golden(name: &str, found: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

#[test]
fn the_shipped_topology_and_the_simulated_kinds_do_what_they_promise() {
    let output = imflow_test(&["../../dataflow.test.toml", "gateway.toml"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_failure_shows_what_came_instead() {
    let output = imflow_test(&["failures.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_golden("failures.txt", &without_times(&output.stdout));
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let output = imflow_test(&["mistakes.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty(), "nothing runs");
    assert_golden("mistakes.txt", &String::from_utf8(output.stderr).unwrap());
}

#[test]
fn the_same_file_twice_gives_the_same_bytes() {
    let files = ["../../dataflow.test.toml", "gateway.toml", "failures.toml"];
    let (first, second) = (imflow_test(&files), imflow_test(&files));
    assert_eq!(without_times(&first.stdout), without_times(&second.stdout));
}

#[test]
fn a_thousand_hours_cost_what_happens_in_them() {
    let output = imflow_test(&["idle.toml", "--format", "json"]);
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results[0]["passed"], true, "{results}");
    assert_eq!(results[0]["virtualMs"], 3_600_000_000_u64);
    // Milliseconds; the rest is for a machine that is busy.
    assert!(results[0]["realMs"].as_f64().unwrap() < 1_000.0, "{results}");
}

#[test]
fn a_filter_chooses_by_name_and_must_find_something() {
    let output = imflow_test(&["gateway.toml", "--filter", "scopes"]);
    assert!(without_times(&output.stdout).ends_with("1 test passed\n"), "{output:?}");
    let output = imflow_test(&["gateway.toml", "--filter", "no such name"]);
    assert_eq!(output.status.code(), Some(1));
}
