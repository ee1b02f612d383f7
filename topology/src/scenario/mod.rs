//! Tests of a topology, written in TOML beside it.
//!
//! ```text
//! test file --load--> Suite --run--> Verdicts --report--> text, JUnit, JSON
//! ```
//!
//! [`Suite::load`] finds every mistake in the file before anything runs: it compiles the topology of each
//! test, starts it once to learn what can be done at its simulated sources and sinks, and checks each
//! step and expectation against that. A test then runs in a fresh simulation.

mod case;
mod expect;
mod ground;
mod header;
mod judge;
mod junit;
mod pattern;
mod play;
mod report;
mod steps;
mod table;
mod value;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Sources, Span};
use crate::parse::parse;
use crate::{Registry, compile};
use case::Case;

pub use judge::{Failure, Verdict};
pub use junit::junit;
pub use report::{report, summary};

/// A test file whose tests can run.
pub struct Suite {
    path: String,
    topology: Topology,
    start_ms: u64,
    cases: Vec<Case>,
    registry: Registry,
}

/// The topology under test.
struct Topology {
    path: String,
    text: String,
}

impl Suite {
    /// Reads a test file. The topology that it names is found beside it; `overrides` are `--set`
    /// arguments, which come behind those of the file.
    ///
    /// # Errors
    /// Every mistake of the file; or those of the topology, if that does not compile.
    pub fn load(
        path: &str,
        text: &str,
        overrides: &[String],
        registry: &Registry,
    ) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::new(Sources::new(path, text));
        let document = parse(&[], &mut diagnostics);
        if !diagnostics.is_empty() {
            return Err(diagnostics);
        }
        let span = Span { source: 0, range: 0..0 };
        let header = header::read(&document, &span, &mut diagnostics);
        let topology = header.topology.and_then(|(name, place)| {
            read_topology(&Path::new(path).with_file_name(name), place, &mut diagnostics)
        });
        let Some(topology) = topology else {
            diagnostics.sort();
            return Err(diagnostics);
        };
        let overrides = [header.overrides, overrides.to_vec()].concat();
        let mut cases = Vec::new();
        for item in header.tests {
            let case = case::read(item, &overrides, &topology, registry, &mut diagnostics)?;
            cases.extend(case);
        }
        case::check_names(&cases, &mut diagnostics);
        diagnostics.sort();
        if !diagnostics.is_empty() {
            return Err(diagnostics);
        }
        let (path, registry) = (path.to_owned(), registry.clone());
        Ok(Self { path, topology, start_ms: header.start_ms, cases, registry })
    }

    /// The file's path, as it was given.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Runs each test whose name contains `filter`, in the order of the file.
    pub fn run<'s>(&'s self, filter: &'s str) -> impl Iterator<Item = Verdict> + 's {
        let chosen = self.cases.iter().filter(move |case| case.name.contains(filter));
        chosen.map(|case| self.run_one(case))
    }

    fn run_one(&self, case: &Case) -> Verdict {
        let begun = Instant::now();
        let played = self.topology.compile(&case.overrides, &self.registry).map_err(|mistakes| {
            // It compiled when the file was read.
            mistakes.render(false)
        });
        let played = played.and_then(|plan| play::play(case, plan, self.start_ms));
        let failures = match &played {
            Ok(played) => judge::judge(case, played),
            Err(sentence) => vec![Failure::of(sentence.clone(), case.place.clone())],
        };
        Verdict {
            file: self.path.clone(),
            name: case.name.clone(),
            place: case.place.clone(),
            virtual_ms: case.end_ms(),
            took: begun.elapsed(),
            failures,
        }
    }
}

impl Topology {
    fn compile(
        &self,
        overrides: &[String],
        registry: &Registry,
    ) -> Result<crate::Plan, Diagnostics> {
        compile(&self.path, &self.text, overrides, registry)
    }
}

fn read_topology(path: &PathBuf, place: &Span, diagnostics: &mut Diagnostics) -> Option<Topology> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Topology { path: path.display().to_string(), text }),
        Err(error) => {
            let message = format!("the topology {} cannot be read: {error}", path.display());
            diagnostics
                .error(Code::BadValue, place, message, "this file")
                .help("the path is relative to the test file");
            None
        }
    }
}
