//! Every wire of an accepted file carries records.
//!
//! Topologies are generated so that each has some general operators on ports of the shipped file, of an
//! example or of each other, and a file on whatever is left open; together they have every kind that can
//! run in virtual time. Each runs so with a probe on every wire while devices, callers and injections play
//! everything that the kinds react to. What stays silent then must be one of [`LAWFUL`], and each of those
//! must really be silent somewhere.

mod drive;
mod generate;

use std::collections::{BTreeMap, BTreeSet};

use imflow_kind::Form;
use imflow_topology::{Plan, Probe, compile};

use crate::{Dice, data, first_seed, kinds};
pub(crate) use drive::drive;

/// Wires that may carry nothing: the output that they come from, and why.
const LAWFUL: [(&str, &str); 3] = [
    ("clients.costs", "in virtual time a fan-out takes none"),
    ("words.errors", "the expression of `examples/moderation` has a value for every text"),
    ("ids", "the simulated Redis keeps nothing, so look-ups find nothing there"),
];

/// Compiles with probes: a name and a probe for each wire.
fn probed(mut plan: Plan) -> (Plan, Vec<Wire>) {
    let wires = 0..plan.edges.len();
    let wires = wires.map(|edge| {
        let (from, to) = (plan.edges[edge].from, plan.edges[edge].to);
        let node = &plan.nodes[from.0];
        Wire {
            output: node.output_name(from.1),
            name: format!("{} -> {}", node.output_name(from.1), plan.nodes[to.0].name),
            probe: plan.add_probe_on(edge),
        }
    });
    let wires = wires.collect();
    (plan, wires)
}

struct Wire {
    /// As in `a.port`.
    output: String,
    /// As in `a.port -> b`.
    name: String,
    probe: Probe,
}

#[test]
fn every_wire_of_an_accepted_file_carries_records() {
    let folder = tempfile::tempdir().unwrap();
    let registry = kinds::registry();
    let bases = generate::bases(&registry);
    let (mut shown, mut met, mut excused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut silent = BTreeMap::new();
    for seed in first_seed()..first_seed() + 24 {
        let base = &bases[seed as usize % bases.len()];
        let text = generate::topology(base, &mut Dice(seed), &registry);
        let mut overrides = data(folder.path()).to_vec();
        if !text.contains("presence-only") {
            // With so small a memory `dedup` asks the index.
            overrides.push("operators.fresh.window=2".to_owned());
        }
        let plan = compile(&generate::path(), &text, &overrides, &registry);
        let plan = plan.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        shown.extend(plan.nodes.iter().map(|node| node.kind.description.name));
        let (plan, wires) = probed(plan);
        let lawful = |output: &str| LAWFUL.iter().find(|(lawful, _)| *lawful == output);
        met.extend(wires.iter().filter_map(|wire| Some(lawful(&wire.output)?.0)));
        let simulation = drive(plan).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        for wire in wires.iter().filter(|wire| wire.probe.take().is_empty()) {
            if let Some((output, _)) = lawful(&wire.output) {
                excused.insert(*output);
            } else {
                silent.insert(wire.name.clone(), seed);
            }
        }
        drop(simulation);
    }
    assert!(
        silent.is_empty(),
        "nothing came over these wires, by seed: {silent:?}\nplay what brings it in tests/wires/drive.rs, \
         or say in LAWFUL why nothing can"
    );
    assert_eq!(excused, met, "what is in LAWFUL is silent where it is met");
    let kinds = registry.kinds().iter().filter(|kind| kind.simulated.is_some());
    let kinds = kinds.filter(|kind| !matches!(kind.form, Form::Missing { .. }));
    let names = kinds.map(|kind| kind.description.name);
    let missing: Vec<_> = names.filter(|kind| !shown.contains(kind)).collect();
    assert!(missing.is_empty(), "no topology had {missing:?}");
}
