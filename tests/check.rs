//! Every mistake is found with its code, place and cure: `golden/check/NAME.toml` beside `NAME.txt`, and
//! the examples of each code's page.
//!
//! `UPDATE_GOLDEN=1 cargo test --test check` writes the expected output anew.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

mod kinds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imflow_kind::{ANY, Description, Family, Form, IoContext, Kind, Port, StartError};
use imflow_topology::{
    Code, Diagnostics, Example, ExampleOf, Format, Plan, Registry, Suite, compile,
};

const SHIPPED: &str = include_str!("../dataflow.toml");

fn registry() -> Registry {
    let mut registry = kinds::registry();
    let refuse = |_: &IoContext| Err(StartError::new("it breaks when it is built"));
    registry.replace(Kind::sink(&WILD, refuse));
    registry.replace(Kind::sink(&BRITTLE, refuse).simulated_as_it_is());
    // As in a build without features, whichever this one has.
    let mut kafka = registry.find(Family::Sink, FEATURE).unwrap().clone();
    kafka.form = Form::Missing { feature: FEATURE };
    registry.replace(kafka);
    registry
}

/// A cargo feature that holds the kind of the same name.
const FEATURE: &str = "kafka";

#[test]
fn the_feature_that_an_error_names_is_one_of_this_package() {
    let manifest: toml::Table = toml::from_str(include_str!("../Cargo.toml")).unwrap();
    let features = manifest["features"].as_table().unwrap();
    assert!(features.contains_key(FEATURE));
    assert!(features["full"].as_array().unwrap().iter().any(|f| f.as_str() == Some(FEATURE)));
}

/// A sink without a form for virtual time; no kind of the build may be like this.
const WILD: Description = Description {
    name: "wild",
    family: Family::Sink,
    inputs: &[Port::of("records", ANY, "")],
    ..Description::EMPTY
};

/// A sink that cannot be built.
const BRITTLE: Description = Description { name: "brittle", ..WILD };

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The golden topologies, by name.
fn topologies() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("tests/golden/check")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths
}

/// Compiles a golden topology, or a file of tests, under the path that the report shows.
fn compiled(path: &Path) -> Result<String, Diagnostics> {
    let shown = path.strip_prefix(root()).unwrap().display().to_string();
    if shown.ends_with(".test.toml") {
        Suite::load(&shown, &fs::read_to_string(path).unwrap(), &[], &registry())?;
        return Ok("fine".to_owned());
    }
    let plan = compile(&shown, &fs::read_to_string(path).unwrap(), &[], &registry())?;
    Ok(format!("fine: {} nodes, {} wires", plan.nodes.len(), plan.edges.len()))
}

#[test]
fn each_mistake_has_its_code_place_and_cure() {
    for path in topologies() {
        let found = compiled(&path).unwrap_or_else(|mistakes| mistakes.render(false)) + "\n";
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap_or_default(), "{}", path.display());
    }
}

#[test]
fn every_code_has_a_golden_file() {
    let found: Vec<_> = topologies()
        .iter()
        .filter_map(|path| compiled(path).err())
        .flat_map(|mistakes| mistakes.list().iter().map(|d| d.code).collect::<Vec<_>>())
        .collect();
    for code in Code::ALL {
        assert!(found.contains(code), "no file of tests/golden/check has {}", code.id());
    }
}

/// An example as a file: the shipped one with a profile that holds the changes.
fn file_of(example: Example) -> String {
    if !example.is_change() {
        return example.text.to_owned();
    }
    let in_profile = |line: &str| match line.strip_prefix('[') {
        //
        Some(header) => format!("[profiles.example.{header}"),
        None => line.to_owned(),
    };
    let changes: Vec<_> = example.text.lines().map(in_profile).collect();
    format!("profile = \"example\"\n{SHIPPED}\n{}\n", changes.join("\n"))
}

fn mistakes_of(example: Example) -> Option<Diagnostics> {
    let (text, registry) = (file_of(example), registry());
    match example.of {
        ExampleOf::Changes | ExampleOf::Whole => {
            compile("example.toml", &text, &[], &registry).err()
        }
        ExampleOf::Test => Suite::load("example.test.toml", &text, &[], &registry).err(),
    }
}

#[test]
fn examples_of_a_code_show_it_and_nothing_else() {
    for code in Code::ALL {
        if let Some(mistakes) = mistakes_of(code.right()) {
            panic!("the right example of {} has mistakes:\n{mistakes}", code.id());
        }
        let wrong = mistakes_of(code.wrong());
        let Some(mistakes) = wrong else { panic!("the wrong example of {} is fine", code.id()) };
        let others = mistakes.list().iter().any(|d| d.code != *code);
        assert!(!others, "the wrong example of {} shows other codes:\n{mistakes}", code.id());
    }
}

#[test]
fn an_override_is_checked_like_the_file() {
    let check = |value: &str| {
        let overrides = [format!("operators.fresh.retain={value}")];
        compile("dataflow.toml", SHIPPED, &overrides, &registry())
    };
    let report = check("soon").err().expect("`soon` is no duration").render(false);
    assert!(report.contains("--set:1:") && report.contains("E009"), "{report}");
    assert!(check("5h").is_ok());
}

#[test]
fn a_variable_may_give_a_number() {
    let text = format!(
        "{SHIPPED}\n[sinks.copy]\nkind = \"file\"\npath = \"a\"\ninputs = [\"fanout.stats\"]\nkeep = \"${{NO_SUCH_VARIABLE:-3}}\"\n"
    );
    compile("dataflow.toml", &text, &[], &registry()).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_profile_replaces_values_and_keeps_the_rest() {
    let text = format!(
        "{SHIPPED}\n[profiles.prod.service]\nnode = \"prod-1\"\n[profiles.prod.listeners.main]\naddress = \"0.0.0.0:80\"\n"
    );
    let plan = |overrides: &[&str]| {
        let overrides: Vec<_> = overrides.iter().map(|o| (*o).to_owned()).collect();
        compile("dataflow.toml", &text, &overrides, &registry()).unwrap_or_else(|e| panic!("{e}"))
    };
    assert_eq!(plan(&[]).service.node, "node-1");
    let prod = plan(&["profile=prod"]);
    assert_eq!((prod.service.node.as_str(), prod.service.partitions), ("prod-1", 64));
    assert_eq!(prod.listeners[0].address.to_string(), "0.0.0.0:80");
    // `--set` is the last word.
    assert_eq!(plan(&["profile=prod", "service.node=mine"]).service.node, "mine");
    let unknown = compile("dataflow.toml", &text, &["profile=prd".to_owned()], &registry());
    let report = unknown.err().unwrap().render(false);
    assert!(report.contains("E027") && report.contains("did you mean `prod`?"), "{report}");
}

#[test]
fn a_mistake_in_a_template_shows_its_line_and_its_use() {
    let path = root().join("tests/golden/check/E017-in-a-template.toml");
    let report = compiled(&path).err().unwrap().render(false);
    assert!(report.contains("expanded from here"), "{report}");
}

#[test]
fn what_follows_from_a_mistake_is_not_reported() {
    let broken = SHIPPED.replace("kind = \"validate\"", "kind = \"validte\"");
    let mistakes = compile("dataflow.toml", &broken, &[], &registry()).err().unwrap();
    assert_eq!(mistakes.list().len(), 1, "{mistakes}");
    let broken =
        SHIPPED.replace("kind = \"validate\"", "kind = validate").replace("\"7d\"", "\"7 days\"");
    let mistakes = compile("dataflow.toml", &broken, &[], &registry()).err().unwrap();
    let codes: Vec<_> = mistakes.list().iter().map(|d| d.code.id()).collect();
    assert_eq!(codes, ["E001", "E009"], "{mistakes}");
}

#[test]
fn reports_for_editors_hold_every_mistake() {
    let text =
        SHIPPED.replace("\"7d\"", "\"7 days\"").replace("\"allowed.denied\"", "\"alowed.denied\"");
    let mistakes = compile("dataflow.toml", &text, &[], &registry()).err().unwrap();
    let count = mistakes.list().len();
    let json: serde_json::Value =
        serde_json::from_str(&mistakes.report(Format::Json, false)).unwrap();
    assert_eq!(json["mistakes"].as_array().unwrap().len(), count);
    let sarif: serde_json::Value =
        serde_json::from_str(&mistakes.report(Format::Sarif, false)).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), count);
    let github = mistakes.report(Format::Github, false);
    assert_eq!(
        github.lines().filter(|line| line.starts_with("::error file=dataflow.toml,line=")).count(),
        count
    );
}

#[test]
fn an_example_keeps_what_the_shipped_file_wires() {
    let outputs = |plan: &Plan| -> BTreeSet<String> {
        let outputs = plan.edges.iter().map(|e| plan.nodes[e.from.0].output_name(e.from.1));
        outputs.collect()
    };
    let shipped = compile("dataflow.toml", SHIPPED, &[], &kinds::registry());
    let shipped = outputs(&shipped.unwrap_or_else(|e| panic!("{e}")));
    let mut seen = 0;
    for folder in fs::read_dir(root().join("examples")).unwrap() {
        let path = folder.unwrap().path().join("dataflow.toml");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if !text.contains("include = [\"../../dataflow.toml\"]") {
            continue;
        }
        seen += 1;
        let path = path.display().to_string();
        let plan = compile(&path, &text, &[], &kinds::registry());
        let plan = plan.unwrap_or_else(|e| panic!("{e}"));
        let missing: Vec<_> = shipped.difference(&outputs(&plan)).cloned().collect();
        // A list in a profile takes the place of the whole list: what came to it later is easily forgotten.
        assert!(missing.is_empty(), "{path} leads {missing:?} nowhere");
    }
    assert!(seen >= 10, "only {seen} examples build on the shipped file");
}

/// Blocks of TOML in a page: what stands behind `toml`, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("```toml").skip(1).map(|block| {
        let (mark, rest) = block.split_once('\n').unwrap();
        (mark.trim().to_owned(), rest.split("```").next().unwrap().to_owned())
    });
    blocks.collect()
}

#[test]
fn every_example_of_the_guide_compiles() {
    let folder = tempfile::tempdir().unwrap();
    let guide = fs::read_to_string(root().join("docs/topology.md")).unwrap();
    fs::write(folder.path().join("dataflow.toml"), SHIPPED).unwrap();
    fs::create_dir(folder.path().join("streams")).unwrap();
    let blocks = blocks(&guide);
    for (mark, text) in blocks.iter().filter(|(mark, _)| mark.contains('/')) {
        fs::write(folder.path().join(mark), text).unwrap();
    }
    let path = folder.path().join("guide.toml").display().to_string();
    for (mark, text) in blocks.iter().filter(|(mark, _)| !mark.contains('/')) {
        let text: &'static str = text.clone().leak();
        let file = file_of(Example {
            text,
            of: if mark == "whole" { ExampleOf::Whole } else { ExampleOf::Changes },
        });
        for profile in imflow_topology::profiles(&path, &file).iter().chain([&String::new()]) {
            let profile: Vec<_> = [profile]
                .iter()
                .filter(|p| !p.is_empty())
                .map(|p| format!("profile={p}"))
                .collect();
            if let Err(mistakes) = compile(&path, &file, &profile, &registry()) {
                panic!("an example of docs/topology.md has mistakes:\n{text}\n{mistakes}");
            }
        }
    }
    assert!(blocks.len() >= 6, "the guide has lost its examples");
}
