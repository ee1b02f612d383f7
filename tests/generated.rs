//! What is generated and committed is what the binary writes today: the README's picture, the reference pages, the schema.
//!
//! `UPDATE_GOLDEN=1 cargo test --features full --test generated` writes all of it anew.

use std::fs;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const BEGIN: &str = "<!-- graph:begin -->\n";
const END: &str = "<!-- graph:end -->";

fn imflow(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imflow"));
    let output = command.args(arguments).current_dir(ROOT).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the binary writes UTF-8")
}

/// Compares a file with what it should be, or writes it.
fn is_current(path: &str, expected: &str) {
    let path = format!("{ROOT}/{path}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, expected).expect("the repository is writable");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{path} is stale ({differs:?}): run this test with UPDATE_GOLDEN=1");
}

#[test]
fn the_picture_of_the_readme_is_the_shipped_graph() {
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).expect("there is a README");
    let begin = readme.find(BEGIN).expect("the README has the picture's markers") + BEGIN.len();
    let end = readme.find(END).expect("the README has the picture's markers");
    let picture = format!("```mermaid\n{}```\n", imflow(&["graph"]));
    is_current("README.md", &format!("{}{picture}{}", &readme[..begin], &readme[end..]));
}

#[test]
fn the_reference_pages_are_the_descriptions() {
    for group in ["sources", "operators", "sinks", "records", "metrics"] {
        let page = imflow(&["explain", group, "--format", "markdown"]);
        let note = format!("<!-- Written by `imflow explain {group} --format markdown`. -->\n\n");
        is_current(&format!("docs/reference/{group}.md"), &(note + &page));
    }
}

#[test]
fn the_schemas_of_the_files_are_those_of_the_kinds() {
    is_current("docs/dataflow.schema.json", &imflow(&["schema"]));
    is_current("docs/dataflow.test.schema.json", &imflow(&["schema", "--tests"]));
}
