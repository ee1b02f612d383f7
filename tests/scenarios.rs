//! `imflow test`: what passes, what a failure and a mistake look like, and that time costs nothing.
//!
//! `UPDATE_GOLDEN=1 cargo test --test scenarios` writes the golden output anew.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

mod kinds;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use imflow_kind::{Description, Family, Injector, Intake, Kind, Port, Sink, StartError, Time};
use imflow_proto::{Record, RecordType};
use imflow_topology::Suite;

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
    let output = imflow_test(&["../../dataflow.test.toml", "gateway.toml", "merge.toml"]);
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

/// Takes commands, promises to answer them, and does not.
struct Hole;

const HOLE: Description = Description {
    name: "hole",
    family: Family::Sink,
    inputs: &[Port::of("commands", &[RecordType::Command], "").pays()],
    ..Description::EMPTY
};

impl Sink for Hole {
    fn intake(&mut self, _: usize) -> Box<dyn Intake> {
        Box::new(Self)
    }

    fn start(&mut self, _: Arc<dyn Injector>) -> Result<(), StartError> {
        Ok(())
    }
}

impl Intake for Hole {
    fn on_batch(&mut self, _: Time, _: usize, records: &mut Vec<Record>) {
        // Kept for ever: a ticket that is dropped might answer.
        std::mem::forget(std::mem::take(records));
    }
}

#[test]
fn a_call_that_nobody_answers_meets_timeout() {
    let mut registry = kinds::registry();
    registry.replace(Kind::sink(&HOLE, |_| Ok(Box::new(Hole))).simulated_as_it_is());
    let folder = tempfile::tempdir().unwrap();
    let shipped = include_str!("../dataflow.toml").replace(", \"facts.commands\"]", "]");
    let hole = "[sinks.hole]\nkind = \"hole\"\ninputs = [\"facts.commands\"]\n";
    fs::write(folder.path().join("dataflow.toml"), shipped + hole).unwrap();
    let test = r#"
        topology = "dataflow.toml"
        [[test]]
        name = "a call meets TIMEOUT"
        set = ["sources.facts.timeout=2s"]
        steps = [{ at = "5s", into = "facts", put = "/v1/conversations/lobby/bans/bob" }]
        expect = [
            { on = "facts", at = "7s", responses = [{ status = 504, body = { error = { code = "TIMEOUT" } } }], count = 1 },
        ]
    "#;
    let path = folder.path().join("dataflow.test.toml").display().to_string();
    let suite = Suite::load(&path, test, &[], &registry).unwrap_or_else(|e| panic!("{e}"));
    let verdicts: Vec<_> = suite.run("").collect();
    let failures =
        verdicts.iter().flat_map(|verdict| &verdict.failures).map(|failure| &failure.what);
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty() && verdicts.len() == 1, "{failures:?}");
}
