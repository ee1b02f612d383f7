//! Who hands records to whom in one stage: members inside sections, wires between them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use imflow_kind::{Form, StartError};

use super::ingest::{Door, Doors, Fed};
use super::levels::Levels;
use super::section::{Member, Outlets, Section, Target};
use super::{Parts, SharedIntake, SharedOperator, is_direct};
use crate::plan::{Edge, EdgeKind, Plan, Stage, is_collection};
use crate::resolve::NodeId;

/// An output port.
type From = (NodeId, usize);

/// Where a wire into a section comes from: a port may reach it in its own epoch and come back in a later
/// one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    Ingest(From),
    Node(From),
}

pub(super) struct Routes<'a> {
    plan: &'a Plan,
    stage: Stage,
    levels: &'a Levels,
    sections: Vec<Section>,
    /// By section: the wires into it, by where they come from.
    wires: Vec<HashMap<Origin, usize>>,
    /// By section: what leaves it.
    leaving: Vec<Leaving>,
    /// Operators by their section and place.
    places: HashMap<NodeId, (usize, usize)>,
}

/// What the instance keeps a hand on.
#[derive(Default)]
pub(super) struct Placed {
    /// The state machines, with their names.
    pub operators: Vec<(String, SharedOperator)>,
    /// The hands of sinks.
    pub intakes: Vec<SharedIntake>,
}

/// What leaves a section, in the order of its streams.
#[derive(Clone, Default)]
pub(super) struct Leaving {
    pub sections: Vec<usize>,
    pub collections: Vec<From>,
}

impl Leaving {
    pub(super) fn counts(&self) -> Outlets {
        Outlets { sections: self.sections.len(), collections: self.collections.len() }
    }
}

impl<'a> Routes<'a> {
    pub(super) fn new(plan: &'a Plan, stage: Stage, levels: &'a Levels) -> Self {
        let count = levels.last + 1;
        Self {
            plan,
            stage,
            levels,
            sections: (0..count).map(|_| Section::default()).collect(),
            wires: vec![HashMap::new(); count],
            leaving: vec![Leaving::default(); count],
            places: HashMap::new(),
        }
    }

    /// Makes all members and wires; gives what the instance keeps a hand on.
    pub(super) fn place(&mut self, parts: &dyn Parts) -> Result<Placed, StartError> {
        let (plan, stage, levels) = (self.plan, self.stage, self.levels);
        let mut placed = Placed::default();
        for &id in plan.order.iter().filter(|id| plan.stages[**id] == stage) {
            let node = &plan.nodes[id];
            if let Form::Operator(build) = &node.kind.form {
                let operator = parts.operator(id, build(&parts.context(id))?);
                let operator: SharedOperator = Rc::new(RefCell::new(operator));
                placed.operators.push((node.name.clone(), Rc::clone(&operator)));
                let member = Member::operator(operator, node.inputs.len(), node.outputs.len());
                let place = self.add(levels.of(id), member);
                self.places.insert(id, place);
                self.take_inputs(id, place);
            } else {
                self.feed_collection(id);
            }
        }
        for (id, node) in plan.nodes.iter().enumerate() {
            if matches!(node.kind.form, Form::Sink(_)) && plan.inputs_of(id, stage).next().is_some()
            {
                let intake: SharedIntake = Rc::new(RefCell::new(parts.intake(id)));
                placed.intakes.push(Rc::clone(&intake));
                let member = Member::intake(intake, node.inputs.len());
                let place = self.add(levels.last, member);
                self.take_inputs(id, place);
            }
        }
        let leaves = |e: &&Edge| {
            matches!(e.kind, EdgeKind::Feedback | EdgeKind::Stage) && plan.stages[e.from.0] == stage
        };
        for edge in plan.exits().iter().filter(leaves) {
            let exit = Rc::new(RefCell::new(parts.exit(edge)));
            let place = self.add(levels.last, Member::intake(exit, 1));
            self.connect(edge.from, place, 0);
        }
        Ok(placed)
    }

    /// What the ingest has to send to whom.
    pub(super) fn doors(&self) -> Doors {
        let entry = |from: &From| {
            let takers = self.wires.iter().enumerate();
            let takers = takers.filter_map(|(section, wires)| {
                Some((section, *wires.get(&Origin::Ingest(*from))?))
            });
            let collected =
                |e: &Edge| e.from == *from && !is_direct(e) && self.is_collection(e.to.0);
            let is_collected =
                self.plan.edges.iter().any(|e| e.stage == self.stage && collected(e));
            Door { sections: takers.collect(), collected: is_collected }
        };
        Doors {
            entries: self.plan.entries(self.stage).iter().map(entry).collect(),
            sections: self.sections.len(),
            fed: self.fed(),
        }
    }

    fn fed(&self) -> Fed {
        match self.leaving.iter().all(|leaving| leaving.collections.is_empty()) {
            true => Fed::default(),
            false => Fed::always(),
        }
    }

    /// A section and what leaves it; once each.
    pub(super) fn section(&mut self, level: usize) -> (Section, Leaving) {
        (std::mem::take(&mut self.sections[level]), self.leaving[level].clone())
    }

    /// The ports of collections that a section hears from, with their wires.
    pub(super) fn collections_into(&self, level: usize) -> Vec<(From, usize)> {
        let wires = self.wires[level].iter();
        let collected = wires.filter_map(|(origin, wire)| match origin {
            Origin::Node(from) if self.is_collection(from.0) => Some((*from, *wire)),
            _ => None,
        });
        collected.collect()
    }

    fn is_collection(&self, node: NodeId) -> bool {
        is_collection(&self.plan.nodes[node]) && self.plan.stages[node] == self.stage
    }

    fn add(&mut self, level: usize, member: Member) -> (usize, usize) {
        self.sections[level].members.push(member);
        (level, self.sections[level].members.len() - 1)
    }

    fn take_inputs(&mut self, id: NodeId, place: (usize, usize)) {
        let plan = self.plan;
        for edge in plan.inputs_of(id, self.stage) {
            if is_direct(edge) {
                self.connect(edge.from, place, edge.to.1);
            } else {
                self.wire(Origin::Ingest(edge.from), place, edge.to.1);
            }
        }
    }

    /// Leads an output port of this stage to a member.
    fn connect(&mut self, from: From, place: (usize, usize), port: usize) {
        let (level, member) = place;
        match self.places.get(&from.0).copied() {
            // A collection.
            None => self.wire(Origin::Node(from), place, port),
            Some((there, producer)) if there == level => {
                self.targets(there, producer, from.1).push(Target::Member(member, port));
            }
            Some((there, producer)) => {
                let origin = Origin::Node(from);
                let is_new = !self.wires[level].contains_key(&origin);
                self.wire(origin, place, port);
                if is_new {
                    let wire = self.wires[level][&origin];
                    let outlet = place_of(&mut self.leaving[there].sections, level);
                    self.targets(there, producer, from.1).push(Target::Section(outlet, wire));
                }
            }
        }
    }

    /// Leads what comes from outside the section to a member.
    fn wire(&mut self, from: Origin, (level, member): (usize, usize), port: usize) {
        let wires = &mut self.sections[level].wires;
        let wire = *self.wires[level].entry(from).or_insert_with(|| {
            wires.push(Vec::new());
            wires.len() - 1
        });
        wires[wire].push((member, port));
    }

    fn feed_collection(&mut self, id: NodeId) {
        let plan = self.plan;
        for edge in plan.inputs_of(id, self.stage).filter(|edge| is_direct(edge)) {
            let Some((there, producer)) = self.places.get(&edge.from.0).copied() else { continue };
            let leaving = &mut self.leaving[there].collections;
            if !leaving.contains(&edge.from) {
                let outlet = place_of(leaving, edge.from);
                self.targets(there, producer, edge.from.1).push(Target::Collection(outlet));
            }
        }
    }

    fn targets(&mut self, level: usize, member: usize, port: usize) -> &mut Vec<Target> {
        &mut self.sections[level].members[member].targets[port]
    }
}

/// The place of an item in a list, to which it is added if it is not there.
fn place_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    let place = list.iter().position(|other| *other == item);
    place.unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}
