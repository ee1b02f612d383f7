//! The compiler of `dataflow.toml` and the runtime of the compiled graph.
//!
//! ```text
//! text --parse--> Document --resolve--> Resolved --check--> Checked --plan--> Plan --run--> Service
//! ```
//!
//! Each phase is a type and a module, so a later phase cannot see a mistake that an earlier one should
//! have found: a `Resolved` graph holds no bad name, a `Checked` one no bad edge or option. `check` and
//! `run` both call [`compile`]; a [`Simulation`] runs a plan in virtual time, for the tests of a
//! [`Suite`]. The compiler knows no kind by name; it is handed a [`Registry`].

mod check;
mod diagnostic;
pub mod diff;
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
mod values;

pub use check::Checked;
pub use diagnostic::{Diagnostics, Sources, did_you_mean};
pub use format::format;
pub use graph::Picture;
pub use plan::{Edge, EdgeKind, Plan, Stage};
pub use probe::{Injection, Probe};
pub use registry::Registry;
pub use resolve::{Listener, Node, NodeId, Output, Service as ServiceTable};
pub use run::{Restless, Running, Simulation, start};
pub use scenario::{Failure, Suite, Verdict, junit, report, summary};
pub use schema::{option_schema, schema};
pub use values::{expected, role_phrase};

/// Compiles a topology: `path` is for messages, `overrides` are `--set` arguments.
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
    let document = parse::parse(overrides, &mut diagnostics);
    // What follows from a broken structure would only distract from it.
    if diagnostics.list().iter().any(|d| d.code == "E001") {
        diagnostics.sort();
        return Err(diagnostics);
    }
    let resolved = resolve::resolve(&document, registry, &mut diagnostics);
    let checked = check::check(resolved, &mut diagnostics);
    diagnostics.sort();
    if diagnostics.is_empty() { Ok(plan::plan(checked)) } else { Err(diagnostics) }
}
