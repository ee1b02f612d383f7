//! Runs one test: its steps at their times, in a simulation with a probe on each port that it looks at.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::construct::{Making, construct};
use imflow_kind::{Outside, Roles, Seen, Shape, VirtualClock};
use imflow_proto::Record;
use imflow_proto::record::GrantSubject;
use serde_json::{Map, Value};

use super::case::Case;
use super::expect::View;
use super::steps::{Fields, What};
use super::value::of_scalar;
use crate::probe::{Injection, Probe};
use crate::resolve::NodeId;
use crate::{Plan, Simulation};

/// What came out in a test.
pub(super) struct Played {
    pub(super) came: BTreeMap<View, Vec<Came>>,
    pub(super) end_ms: u64,
}

/// Something that came out.
pub(super) struct Came {
    /// Since the start of the test.
    pub(super) at_ms: u64,
    pub(super) value: Value,
    /// Takes back what an earlier one said.
    pub(super) retracts: bool,
    pub(super) refusal: bool,
}

type Port = (NodeId, usize);

/// A test under way.
struct Stage {
    simulation: Simulation,
    start_ms: u64,
    outsides: BTreeMap<NodeId, Arc<dyn Outside>>,
    probes: Vec<(Port, Shape, Probe)>,
    injections: BTreeMap<Port, Injection>,
    /// Records made so far.
    made: u64,
}

/// Plays a test.
///
/// # Errors
/// A sentence, when the topology cannot be simulated or does not come to rest.
pub(super) fn play(case: &Case, plan: Plan, start_ms: u64) -> Result<Played, String> {
    let mut stage = Stage::set(case, plan, start_ms).map_err(|error| error.to_string())?;
    for step in &case.steps {
        let advanced = stage.simulation.advance_to(start_ms + step.at_ms);
        advanced.map_err(|error| error.to_string())?;
        match &step.what {
            What::Act { node, act } => stage.outsides[node].act(act),
            What::Inject { port, records } => stage.inject(*port, records)?,
        }
        stage.simulation.settle().map_err(|error| error.to_string())?;
    }
    let advanced = stage.simulation.advance_to(start_ms + case.end_ms());
    advanced.map_err(|error| error.to_string())?;
    Ok(stage.played(case.end_ms()))
}

impl Stage {
    fn set(case: &Case, mut plan: Plan, start_ms: u64) -> Result<Self, imflow_kind::StartError> {
        let mut probes = Vec::new();
        for port in case.ports() {
            let shape = plan.outputs[port.0][port.1].clone();
            let probe = plan.add_probe(port).zip(shape);
            probes.extend(probe.map(|(probe, shape)| (port, shape, probe)));
        }
        let mut injections = BTreeMap::new();
        for step in &case.steps {
            if let What::Inject { port, .. } = step.what
                && !injections.contains_key(&port)
                && let Some(injection) = plan.add_injection(port)
            {
                injections.insert(port, injection);
            }
        }
        let roles = Roles::default();
        let names: Vec<String> = plan.nodes.iter().map(|node| node.name.clone()).collect();
        let simulation = Simulation::start(plan, &roles, Arc::new(VirtualClock::at(start_ms)))?;
        let outsides = names.iter().enumerate();
        let outsides = outsides.filter_map(|(id, name)| Some((id, roles.find(name)?))).collect();
        Ok(Self { simulation, start_ms, outsides, probes, injections, made: 0 })
    }

    fn inject(&mut self, port: Port, records: &[Fields]) -> Result<(), String> {
        let injection = &self.injections[&port];
        for fields in records {
            self.made += 1;
            let making = Making { now_ms: self.simulation.now_ms(), number: self.made };
            let record = construct(&injection.shape, fields, making);
            injection.send(&record.map_err(|unfit| format!("{unfit:?}"))?);
        }
        Ok(())
    }

    fn played(self, end_ms: u64) -> Played {
        let since = |ms: u64| ms.saturating_sub(self.start_ms);
        let mut came: BTreeMap<View, Vec<Came>> = BTreeMap::new();
        for ((node, port), shape, probe) in &self.probes {
            let records = probe.take();
            let records = records.iter().map(|(time, record)| Came {
                at_ms: since(time.ms()),
                value: fields(shape, record),
                retracts: retracts(record),
                refusal: false,
            });
            came.insert(View::Port(*node, *port), records.collect());
        }
        for (node, outside) in &self.outsides {
            for Seen { at_ms, actor, body, refusal } in outside.take_seen() {
                let value = serde_json::from_str(&body).unwrap_or(Value::String(body));
                let view = View::Outside { node: *node, actor };
                let one = Came { at_ms: since(at_ms), value, retracts: false, refusal };
                came.entry(view).or_default().push(one);
            }
        }
        Played { came, end_ms }
    }
}

/// A record as a table of its fields.
fn fields(shape: &Shape, record: &Record) -> Value {
    let field = |(name, slot): (&str, imflow_kind::fields::Slot)| {
        (name.to_owned(), of_scalar(&slot.value(record)))
    };
    Value::Object(shape.fields().into_iter().map(field).collect::<Map<_, _>>())
}

/// Whether a record takes back what an earlier one of its type said.
fn retracts(record: &Record) -> bool {
    match record {
        Record::Grant(change) => {
            matches!(change.subject, GrantSubject::User { grant: None, .. })
        }
        Record::Online(change) => !change.online,
        Record::Row(row) => row.retracted,
        _ => false,
    }
}
