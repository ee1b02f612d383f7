//! The compiler of `dataflow.toml` and the runtime of the compiled graph.
//!
//! ```text
//! text --parse--> Document --expand--> Document --resolve--> Resolved --check--> Checked --plan--> Plan --run--> Service
//! ```
//!
//! Each phase is a type and a module, so a later phase cannot see a mistake that an earlier one should
//! have found: a `Resolved` graph holds no bad name, a `Checked` one no bad edge or option. `check` and
//! `run` both call [`compile`]; a [`Simulation`] runs a plan in virtual time, for the tests of a
//! [`Suite`]. The compiler knows no kind by name; it is handed a [`Registry`].

mod check;
mod codes;
mod diagnostic;
pub mod diff;
mod document;
mod expand;
mod format;
mod graph;
pub mod outline;
mod parse;
mod plan;
mod probe;
mod registry;
mod render;
mod resolve;
mod run;
mod scenario;
mod schema;
mod stages;
mod values;

pub use check::Checked;
pub use codes::{Code, Example, ExampleOf};
pub use diagnostic::{Diagnostic, Diagnostics, Format, Place, Sources, Span};
pub use format::format;
pub use graph::Picture;
pub use plan::{Edge, EdgeKind, Plan, Stage};
pub use probe::{Injection, Probe};
pub use registry::Registry;
pub use resolve::{LISTENER_OPTIONS, Listener, Node, NodeId, Output, Service as ServiceTable};
pub use run::{Restless, Running, Simulation, start};
pub use scenario::{Failure, Suite, Verdict, junit, report, summary};
pub use schema::{option_schema, scenario_schema, schema};
pub use values::{default_of, expected, role_phrase};

use document::Document;

/// Compiles a topology: `path` is for messages and for what the file includes, `overrides` are `--set`
/// arguments.
///
/// # Errors
/// Every mistake that was found, each with its place.
pub fn compile(
    path: &str,
    text: &str,
    overrides: &[String],
    registry: &Registry,
) -> Result<Plan, Diagnostics> {
    let mut diagnostics = Diagnostics::new(Sources::new(path, text));
    let document = document(overrides, registry, &mut diagnostics);
    let resolved = resolve::resolve(&document, registry, &mut diagnostics);
    let checked = check::check(resolved, registry, &mut diagnostics);
    if diagnostics.is_empty() {
        return Ok(plan::plan(checked));
    }
    parse::forget_consequences(&mut diagnostics);
    expand::forget_consequences(&mut diagnostics);
    diagnostics.sort();
    Err(diagnostics)
}

/// The file as the later phases see it, in TOML: includes joined, profile and overrides applied,
/// variables replaced, templates expanded.
///
/// # Errors
/// The mistakes that stand in the way; later phases may find more.
pub fn expanded(
    path: &str,
    text: &str,
    overrides: &[String],
    registry: &Registry,
) -> Result<String, Diagnostics> {
    let mut diagnostics = Diagnostics::new(Sources::new(path, text));
    let document = document(overrides, registry, &mut diagnostics);
    diagnostics.sort();
    if diagnostics.is_empty() { Ok(document::to_toml(&document)) } else { Err(diagnostics) }
}

/// The names of the profiles that a topology defines, as far as it can be read.
pub fn profiles(path: &str, text: &str) -> Vec<String> {
    parse::profiles(&mut Diagnostics::new(Sources::new(path, text)))
}

fn document(overrides: &[String], registry: &Registry, diagnostics: &mut Diagnostics) -> Document {
    let parsed = parse::parse(overrides, diagnostics);
    expand::expand(parsed, registry, diagnostics)
}
