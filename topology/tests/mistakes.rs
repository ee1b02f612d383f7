//! Every mistake is found with its code, place and cure: `golden/NAME.toml` beside `golden/NAME.txt`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p imflow-topology` writes the expected output anew.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

use std::fs;
use std::path::Path;

use imflow_kind::{
    ANY, Description, Family, Inference, Kind, Mistake, Operator, Opt, OptType, Out, Port,
    RoleName, Shape, StartError, Time,
};
use imflow_proto::{Record, RecordType};
use imflow_topology::{Registry, compile};

const SUBMISSIONS: Port = Port::of("messages", &[RecordType::Submission], "");
const REJECTIONS: Port = Port::of("denied", &[RecordType::Rejection], "");

const GATE: Description = Description {
    name: "gate",
    family: Family::Source,
    outputs: &[SUBMISSIONS],
    options: &[Opt::new("listener", OptType::Listener, "main", "where clients connect")],
    provides: &[RoleName::Outboxes],
    ..Description::EMPTY
};
const JUDGE: Description = Description {
    name: "judge",
    inputs: &[
        SUBMISSIONS,
        Port::of("outcomes", &[RecordType::Rejection], "").optional().feedback(),
    ],
    outputs: &[SUBMISSIONS, REJECTIONS],
    options: &[
        Opt::new("window", OptType::Duration(1_000, 3_600_000), "3s", "how long it remembers"),
        Opt::new("mode", OptType::Choice(&["strict", "lax"]), "strict", "how it judges"),
    ],
    ..Description::EMPTY
};
const SIEVE: Description = Description {
    name: "sieve",
    inputs: &[Port::of("records", ANY, "")],
    outputs: &[Port::of("passed", ANY, ""), Port::of("dropped", ANY, "")],
    options: &[Opt::required("where", OptType::Predicate, "what passes")],
    ..Description::EMPTY
};
const OUT: Description = Description {
    name: "out",
    family: Family::Sink,
    inputs: &[Port::of("records", &[RecordType::Rejection, RecordType::Submission], "")],
    options: &[Opt::required("to", OptType::Reference(RoleName::Outboxes), "whom it reaches")],
    ..Description::EMPTY
};

/// Cannot be simulated.
const WILD: Description = Description {
    name: "wild",
    family: Family::Sink,
    inputs: &[Port::of("records", ANY, "")],
    ..Description::EMPTY
};

struct Nothing;

impl Operator for Nothing {
    fn on_batch(&mut self, _: Time, _: usize, _: &mut Vec<Record>, _: &mut Out) {}
}

fn registry() -> Registry {
    let operator = |description| Kind::operator(description, |_| Ok(Box::new(Nothing)));
    let never = || StartError::new("only compiled");
    Registry::new([
        operator(&JUDGE),
        operator(&SIEVE).inferring(infer),
        Kind::source(&GATE, move |_| Err(never())).simulated_as_it_is(),
        Kind::sink(&OUT, move |_| Err(never())).simulated_as_it_is(),
        Kind::sink(&WILD, move |_| Err(never())),
    ])
}

/// A sieve that knows all fields but `nope`.
fn infer(node: &Inference<'_>) -> Result<Vec<Shape>, Vec<Mistake>> {
    match node.options.text("where").find("nope") {
        None => Ok(node.all_like_input()),
        Some(offset) => {
            let message = "no field `nope`".to_owned();
            Err(vec![Mistake { option: "where", within: None, offset, message }])
        }
    }
}

fn report(text: &str) -> String {
    match compile("dataflow.toml", text, &[], &registry()) {
        Ok(plan) => format!("fine: {} nodes, {} wires\n", plan.nodes.len(), plan.edges.len()),
        Err(mistakes) => mistakes.render(false) + "\n",
    }
}

#[test]
fn each_mistake_has_its_code_place_and_cure() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut checked = 0;
    for entry in fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let found = report(&fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap_or_default(), "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} golden files were found");
}

#[test]
fn an_override_is_checked_like_the_file() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fine.toml"))
            .unwrap();
    let mistakes =
        compile("dataflow.toml", &text, &["operators.judge.window=soon".to_owned()], &registry());
    let report = mistakes.err().expect("`soon` is no duration").render(false);
    assert!(report.contains("--set:1:") && report.contains("E009"), "{report}");
    assert!(
        compile("dataflow.toml", &text, &["operators.judge.window=5s".to_owned()], &registry())
            .is_ok()
    );
}

#[test]
fn no_text_makes_the_compiler_panic() {
    let base =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fine.toml"))
            .unwrap();
    // Each prefix, and each text with one character left out or doubled.
    for (at, c) in base.char_indices() {
        report(&base[..at]);
        report(&format!("{}{}", &base[..at], &base[at + c.len_utf8()..]));
        report(&format!("{}{c}{}", &base[..at], &base[at..]));
    }
}
