//! `imflow test`: runs the tests of topologies, in virtual time.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use imflow_topology::{Suite, Verdict, junit, report, summary};

use crate::{Failure, assembly};

/// Run the tests of a topology, in virtual time
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct TestArgs {
    /// Files of tests
    #[arg(value_name = "FILE", default_value = "dataflow.test.toml")]
    files: Vec<PathBuf>,
    /// Run only the tests whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// Replace a value of the topologies, checked as if it stood there; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Also write the results to a file, in the XML form of JUnit
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How the results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

const EXAMPLES: &str = "\
A file of tests names its topology and says what goes in when, and what must come out:

  topology = \"dataflow.toml\"

  [[test]]
  name = \"a message is acked\"
  steps = [
    { at = \"1s\", into = \"clients\", as = \"alice/phone\", envelope = { id = 1, send = {
      conversationId = \"lobby\", clientMsgId = \"alice-phone-1-1767225600000\",
      type = \"TEXT\", text = \"hi\" } } },
  ]
  expect = [
    { on = \"clients\", as = \"alice/phone\", at = \"1s\", envelopes = [{ id = 1, ack = { seq = 1 } }] },
    { on = \"store.committed\", count = 1 },
  ]

It runs the graph that `imflow run` would run, with simulated sources and sinks, as fast as it
goes: an hour of virtual time costs what happens in it. docs/testing-a-topology.md tells the rest.

Exit codes: 0 all tests passed, 1 a test failed, 78 a file has mistakes.";

pub fn test(args: &TestArgs) -> Result<ExitCode, Failure> {
    let mut suites = Vec::new();
    let mut mistakes = Vec::new();
    for path in &args.files {
        match load(&path.display().to_string(), &args.overrides) {
            Ok(suite) => suites.push(suite),
            Err(report) => mistakes.push(report),
        }
    }
    if !mistakes.is_empty() {
        return Err(Failure::Config(mistakes.join("\n\n")));
    }
    let verdicts = run(&suites, args);
    if let Some(path) = &args.junit {
        std::fs::write(path, junit(&verdicts)).map_err(|e| {
            Failure::Other(format!("the results cannot be written to {}: {e}", path.display()))
        })?;
    }
    match verdicts.iter().any(|verdict| !verdict.failures.is_empty()) {
        _ if verdicts.is_empty() => {
            let sentence = format!("no test has `{}` in its name", args.filter);
            Err(Failure::Other(sentence))
        }
        true => Ok(ExitCode::FAILURE),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// Reads a file of tests, or says what is wrong with it.
fn load(path: &str, overrides: &[String]) -> Result<Suite, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("imflow: the tests `{path}` cannot be read: {e}"))?;
    let loaded = Suite::load(path, &text, overrides, &assembly::registry());
    loaded.map_err(|mistakes| mistakes.render(std::io::stderr().is_terminal()))
}

/// Runs everything, printing each result as it comes.
fn run(suites: &[Suite], args: &TestArgs) -> Vec<Verdict> {
    let colour = std::io::stdout().is_terminal();
    let mut verdicts = Vec::new();
    for suite in suites {
        if args.format == Format::Text {
            println!("{}", suite.path());
        }
        for verdict in suite.run(&args.filter) {
            if args.format == Format::Text {
                print!("  {}", report(&verdict, colour));
            }
            verdicts.push(verdict);
        }
    }
    match args.format {
        Format::Text => println!("{}", summary(&verdicts, colour)),
        Format::Json => {
            println!("{}", serde_json::Value::from_iter(verdicts.iter().map(json)));
        }
    }
    verdicts
}

fn json(verdict: &Verdict) -> serde_json::Value {
    let failures: Vec<_> = verdict.failures.iter().map(|failure| &failure.what).collect();
    serde_json::json!({
        "file": verdict.file,
        "name": verdict.name,
        "place": verdict.place,
        "passed": failures.is_empty(),
        "virtualMs": verdict.virtual_ms,
        "realMs": verdict.took.as_secs_f64() * 1_000.0,
        "failures": failures,
    })
}
