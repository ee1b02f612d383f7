//! `docs/adding-an-operator.md`, followed word for word: its code is the module below, whose tests run here,
//! and its tables, put into the shipped topology, are accepted.

#![allow(clippy::expect_used, reason = "a failure is a verdict here")]

#[path = "../kinds/mod.rs"]
mod kinds;
mod slowmode;

use std::fs;
use std::path::Path;

use imflow_topology::compile;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(path).expect("a file of the repository")
}

/// The blocks of a language in the page, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let after = page.split(&fence).skip(1);
    after.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_page_shows_the_code_that_is_compiled_here() {
    let page = read("docs/adding-an-operator.md");
    assert_eq!(blocks(&page, "rust")[0], read("tests/adding_an_operator/slowmode.rs"));
}

#[test]
fn the_tables_of_the_page_fit_into_the_shipped_topology() {
    let page = read("docs/adding-an-operator.md");
    let added = blocks(&page, "toml").concat();
    // The page replaces whole tables of the shipped file.
    let replaced = |table: &&str| {
        let header = table.lines().next().unwrap_or_default().split(']').next().unwrap_or_default();
        !added.contains(&format!("[{header}]"))
    };
    let shipped = read("dataflow.toml");
    let (head, tables) = shipped.split_once("\n[").expect("the file has tables");
    let kept: Vec<_> = tables.split("\n[").filter(replaced).collect();
    let text = format!("{head}\n[{}\n{added}", kept.join("\n["));

    let mut registry = kinds::registry();
    registry.replace(slowmode::kind());
    let compiled = compile("dataflow.toml", &text, &[], &registry);
    let plan = compiled.map_err(|mistakes| mistakes.render(false)).expect("no mistake");
    assert!(plan.nodes.iter().any(|node| node.name == "slow"));
}
