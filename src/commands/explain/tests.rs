//! Each kind's example is a part of a topology that compiles: the shipped one, with the example put into it.

use imflow_kind::{Form, Kind};
use imflow_topology::compile;

use super::*;

const SHIPPED: &str = include_str!("../../../dataflow.toml");

/// The shipped topology with the tables of an example added, or put in the place of those of the same name.
fn with_example(example: &str) -> String {
    let mut topology: toml::Table = toml::from_str(SHIPPED).expect("the shipped file is TOML");
    let example: toml::Table = toml::from_str(example).expect("an example is TOML");
    for (family, nodes) in example {
        let known = topology.entry(family).or_insert_with(|| toml::Table::new().into());
        let nodes = nodes.as_table().expect("an example holds [FAMILY.NAME]").clone();
        known.as_table_mut().expect("a family is a table").extend(nodes);
    }
    toml::to_string(&topology).expect("a table can be written")
}

#[test]
fn every_kind_has_an_example_that_compiles_and_shows_it() {
    let registry = assembly::registry();
    for Kind { description: kind, form, .. } in registry.kinds() {
        let text = with_example(kind.example);
        let laid_out = imflow_topology::format(kind.name, kind.example).expect("it is TOML");
        assert_eq!(laid_out, kind.example, "the example of `{}` is not laid out", kind.name);
        let compiled =
            compile(kind.name, &text, &[], &registry).map_err(|mistakes| mistakes.render(false));
        if matches!(form, Form::Missing { .. }) {
            let report = compiled.err().expect("this build does not hold it");
            let only = report.contains("E024") && report.contains("1 mistake found");
            assert!(only, "the example of `{}`:\n{report}", kind.name);
            continue;
        }
        let plan =
            compiled.unwrap_or_else(|report| panic!("the example of `{}`:\n{report}", kind.name));
        let table = format!("[{}s.", kind.family.word());
        let shown = plan.nodes.iter().any(|node| {
            let described = node.kind.description;
            described.name == kind.name
                && described.family == kind.family
                && kind.example.contains(&format!("{table}{}]", node.name))
        });
        assert!(shown, "the example of `{}` shows another kind:\n{}", kind.name, kind.example);
    }
}

#[test]
fn every_record_type_of_a_port_is_explained() {
    for kind in assembly::registry().kinds() {
        let description = kind.description;
        for port in description.inputs.iter().chain(description.outputs) {
            for record in port.types {
                assert!(RECORD_TYPES.contains(record), "{record:?} of `{}`", description.name);
            }
        }
    }
}

#[test]
fn an_unknown_word_is_answered_with_the_nearest() {
    let registry = assembly::registry();
    let help = |word: &str| match find(word, &registry) {
        Err(Failure::Usage(report)) => report,
        _ => panic!("`{word}` was found"),
    };
    assert!(help("fanuot").ends_with("did you mean `fanout`?"));
    assert!(help("reply").ends_with("did you mean `Reply`?"));
    assert!(help("remap").contains("perhaps `map`"));
    assert!(help("xyzzy").contains("`imflow explain` lists"));
}

#[test]
fn text_keeps_to_its_width_and_markdown_to_its_columns() {
    let registry = assembly::registry();
    for word in ["sources", "operators", "sinks", "records"] {
        let (title, topics) = find(word, &registry).ok().expect("a group is known");
        let pages = pages(title, &topics, &registry);
        // Examples are shown as they stand in a file.
        let is_example = |line: &&str| line.contains(" = ") || line.starts_with("  [");
        for line in screen::show(&pages, 72, false).lines().filter(|line| !is_example(line)) {
            assert!(line.chars().count() <= 72, "{line}");
        }
        let text = markdown::show(&pages);
        let tables = text.split("\n\n").filter(|part| part.starts_with('|'));
        for table in tables {
            let columns = |line: &str| line.replace("\\|", "").matches('|').count();
            let expected = columns(table.lines().next().unwrap_or_default());
            assert!(table.lines().all(|line| columns(line) == expected), "{table}");
        }
    }
}
