//! One test: its name, its steps and what it expects.

use std::sync::Arc;

use imflow_kind::{Roles, VirtualClock};

use super::expect::{self, Expect};
use super::ground::Ground;
use super::header::read_overrides;
use super::steps::{self, Step};
use super::table::{Table, text, time};
use super::{Topology, expect::View};
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::Item;
use crate::{Registry, Simulation};

/// A test that can run.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) span: Span,
    /// `file:line:column`.
    pub(super) place: String,
    pub(super) overrides: Vec<String>,
    pub(super) steps: Vec<Step>,
    pub(super) expects: Vec<Expect>,
    until_ms: u64,
}

impl Case {
    /// The test ends with the last time that it speaks of.
    pub(super) fn end_ms(&self) -> u64 {
        let steps = self.steps.last().map(|step| step.at_ms);
        let expects = self.expects.iter().map(|expect| expect.latest_ms).max();
        self.until_ms.max(steps.unwrap_or(0)).max(expects.unwrap_or(0))
    }

    /// The ports that it looks at, each once.
    pub(super) fn ports(&self) -> Vec<(usize, usize)> {
        let port = |expect: &Expect| match expect.view {
            View::Port(node, port) => Some((node, port)),
            View::Outside { .. } => None,
        };
        let mut ports: Vec<_> = self.expects.iter().filter_map(port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// Reads a test against the topology as it changes it.
///
/// # Errors
/// The mistakes of that topology: without it nothing can be said of the test.
pub(super) fn read(
    item: &Item,
    overrides: &[String],
    topology: &Topology,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Case>, Diagnostics> {
    let Some(mut table) = Table::of("a test", item, diagnostics) else { return Ok(None) };
    let name = table.required("name", "\"what it shows\"", diagnostics);
    let name = name.and_then(|item| text(item, "`name`", diagnostics)).unwrap_or_default();
    let mut overrides = overrides.to_vec();
    let set = table.get("set").map(|item| read_overrides(item, diagnostics));
    overrides.extend(set.unwrap_or_default());
    let until = table.get("until").and_then(|item| time(item, "`until`", diagnostics));
    let steps = table.required("steps", "[{ at = \"0s\", into = .. }]", diagnostics);
    let expects = table.required("expect", "[{ on = .. }]", diagnostics);
    let plan = topology.compile(&overrides, registry)?;
    // Nodes and ports do not depend on what runs, so the plan is compiled again for each run.
    let roles = Roles::default();
    let clock = Arc::new(VirtualClock::at(0));
    let started = Simulation::start(plan, &roles, clock);
    let simulation = match started {
        Ok(simulation) => simulation,
        Err(error) => {
            let message = format!("the topology cannot be simulated: {error}");
            diagnostics.error(Code::NotSimulated, &item.span, message, "in this test");
            return Ok(None);
        }
    };
    let ground = Ground::new(simulation.plan(), &roles);
    let steps = steps.map(|item| steps::read(item, &ground, diagnostics)).unwrap_or_default();
    let expects = expects.map(|item| expect::read(item, &ground, diagnostics)).unwrap_or_default();
    let span = table.span.clone();
    table.refuse_others(diagnostics);
    let (name, place) = (name.to_owned(), diagnostics.sources.place(&span).to_string());
    let until_ms = until.unwrap_or(0);
    Ok(Some(Case { name, span, place, overrides, steps, expects, until_ms }))
}

/// Names tell tests apart, for people and for `--filter`.
pub(super) fn check_names(cases: &[Case], diagnostics: &mut Diagnostics) {
    for (index, case) in cases.iter().enumerate() {
        if let Some(first) = cases[..index].iter().find(|other| other.name == case.name) {
            let message = format!("two tests are named `{}`", case.name);
            diagnostics
                .error(Code::DuplicateName, &case.span, message, "second test of this name")
                .also(&first.span, "first one");
        }
    }
}
