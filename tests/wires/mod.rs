//! Every wire of an accepted file carries records.
//!
//! Topologies are generated so that each has some general operators on ports of the shipped file, of an
//! example or of each other, and a file on whatever is left open. Each runs in virtual time with a probe
//! on every wire while devices, callers and injections play everything that the kinds react to. What
//! stays silent then must be one of [`LAWFUL`], and each of those must really be silent somewhere.

mod drive;
mod generate;

use std::collections::BTreeSet;

use imflow_topology::{Plan, Probe, compile};

use crate::{Dice, data, first_seed, kinds};
pub(crate) use drive::drive;

/// Wires that may carry nothing: the kind and the port that they come from, and why.
const LAWFUL: [(&str, &str, &str); 0] = [];

/// Compiles with probes: a name and a probe for each wire.
fn probed(mut plan: Plan) -> (Plan, Vec<Wire>) {
    let wires = 0..plan.edges.len();
    let wires = wires.map(|edge| {
        let (from, to) = (plan.edges[edge].from, plan.edges[edge].to);
        let node = &plan.nodes[from.0];
        Wire {
            kind: node.kind.description.name,
            port: node.outputs[from.1].name.clone(),
            name: format!("{} -> {}", node.output_name(from.1), plan.nodes[to.0].name),
            probe: plan.add_probe_on(edge),
        }
    });
    let wires = wires.collect();
    (plan, wires)
}

struct Wire {
    kind: &'static str,
    port: String,
    /// As in `a.port -> b`.
    name: String,
    probe: Probe,
}

#[test]
fn every_wire_of_an_accepted_file_carries_records() {
    let folder = tempfile::tempdir().unwrap();
    let registry = kinds::registry();
    let mut silent = BTreeSet::new();
    let mut shown = BTreeSet::new();
    for seed in first_seed()..first_seed() + 24 {
        let text = generate::topology(&mut Dice(seed), &registry);
        let path = generate::path();
        let plan = compile(&path, &text, &data(folder.path()), &registry);
        let plan = plan.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        shown.extend(plan.nodes.iter().map(|node| node.kind.description.name));
        let (plan, wires) = probed(plan);
        let driven = drive(plan);
        let simulation = driven.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        for wire in wires.iter().filter(|wire| wire.probe.take().is_empty()) {
            let lawful =
                LAWFUL.iter().position(|(kind, port, _)| *kind == wire.kind && *port == wire.port);
            match lawful {
                Some(at) => drop(silent.insert(at)),
                None => panic!("seed {seed}: nothing came over {}\n{text}", wire.name),
            }
        }
        drop(simulation);
    }
    let idle: Vec<_> = (0..LAWFUL.len()).filter(|at| !silent.contains(at)).collect();
    assert!(idle.is_empty(), "these wires may stay silent, and never did: {idle:?}");
    for kind in registry.kinds() {
        assert!(
            shown.contains(kind.description.name),
            "no topology had a `{}`",
            kind.description.name
        );
    }
}
