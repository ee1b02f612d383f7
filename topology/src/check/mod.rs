//! Edges, references, options and promises of a resolved graph. A `Checked` graph can be planned and run.
//!
//! The promises of the message path (one reply, one order, no way around permission) and stages are
//! judged once all wires are sound: a missing wire would break them too, and has been told.

mod authority;
mod claims;
mod cycles;
mod holding;
mod references;
mod replies;
mod types;
mod wiring;

pub(crate) use types::input_shapes;

use imflow_kind::{Description, Family, Form, Port, Shape};
use imflow_proto::RecordType;

use crate::Registry;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, quoted};
use crate::resolve::{Listener, Node, NodeId, Resolved, Service};
use crate::stages::{self, Edge, Stage};
use wiring::Wiring;

/// A graph whose every wire carries what its ends expect.
pub struct Checked {
    pub service: Service,
    pub listeners: Vec<Listener>,
    pub nodes: Vec<Node>,
    /// What each output port of each node carries.
    pub shapes: Vec<Vec<Option<Shape>>>,
    /// Nodes such that every producer comes before its consumers, feedback and sink outputs aside.
    pub order: Vec<NodeId>,
    /// The stage of each node, and one edge for each wire; empty where a mistake leaves them open.
    pub stages: Vec<Stage>,
    pub edges: Vec<Edge>,
}

pub(crate) fn check(
    resolved: Resolved,
    registry: &Registry,
    diagnostics: &mut Diagnostics,
) -> Checked {
    let Resolved { service, listeners, nodes, broken } = resolved;
    claims::check(&listeners, &nodes, diagnostics);
    for node in &nodes {
        check_simulated(node, diagnostics);
        check_required(node, &nodes, registry, diagnostics);
    }
    references::check(&nodes, &listeners, &broken, diagnostics);
    let order = cycles::order(&nodes, diagnostics);
    let fixed = |types: &[RecordType]| types.first().map(|record| Shape::Native(*record));
    let mut shapes: Vec<Vec<Option<Shape>>> =
        nodes.iter().map(|n| n.outputs.iter().map(|p| fixed(p.types)).collect()).collect();
    for &id in &order {
        types::check(id, &nodes, &mut shapes, diagnostics);
    }
    let (mut stages, mut edges) = (Vec::new(), Vec::new());
    let is_typed = shapes.iter().flatten().all(Option::is_some);
    if is_typed && !diagnostics.list().iter().any(|d| d.code.breaks_wires()) {
        let wiring = Wiring::new(&nodes, &shapes);
        replies::check(&wiring, diagnostics);
        authority::check(&wiring, diagnostics);
        stages = stages::assign(&nodes, &shapes, &order);
        edges = stages::edges(&nodes, &shapes, &stages);
        holding::check(&nodes, &stages, &edges, diagnostics);
    }
    Checked { service, listeners, nodes, shapes, order, stages, edges }
}

/// Tests run every source and sink in virtual time, so one that cannot would make the file untestable.
fn check_simulated(node: &Node, diagnostics: &mut Diagnostics) {
    let Description { name, family, .. } = node.kind.description;
    let is_built = !matches!(node.kind.form, Form::Missing { .. });
    if *family != Family::Operator && is_built && node.kind.simulated.is_none() {
        let message = format!("the {} kind `{name}` has no simulated form", family.word());
        diagnostics
            .error(Code::NoSimulation, &node.span, message, "cannot run in `imflow test`")
            .help("its author adds one with `Kind::simulated_by`");
    }
}

fn check_required(node: &Node, nodes: &[Node], registry: &Registry, diagnostics: &mut Diagnostics) {
    for (port, given) in node.kind.description.inputs.iter().zip(&node.given) {
        if !port.required || *given {
            continue;
        }
        let help = help_for(node, port, nodes, registry, diagnostics.is_crowded());
        let message = format!(
            "{} `{}` has no input for its port `{}` ({})",
            node.kind.description.family.word(),
            node.name,
            port.name,
            type_names(port.types)
        );
        diagnostics
            .error(
                Code::MissingInput,
                &node.span,
                message,
                format!("`{}` is not wired here", port.name),
            )
            .help_if(help);
    }
}

/// What carries the type that a port wants: in the file or, if nothing there does, of the kinds.
fn help_for(
    node: &Node,
    port: &Port,
    nodes: &[Node],
    registry: &Registry,
    is_crowded: bool,
) -> Option<String> {
    if is_crowded {
        return None;
    }
    if port.types.is_empty() {
        return Some("any output of a node can feed it: `\"NAME\"`, or `\"NAME.PORT\"`".to_owned());
    }
    let fits = |types: &[RecordType]| types.iter().any(|record| port.types.contains(record));
    let producers = nodes.iter().filter(|other| other.name != node.name).flat_map(|n| {
        let outputs = n.outputs.iter().enumerate().filter(|(_, output)| fits(output.types));
        outputs.map(|(index, _)| n.output_name(index))
    });
    let producers: Vec<_> = producers.collect();
    if !producers.is_empty() {
        let producers = quoted(producers.iter().map(String::as_str));
        return Some(format!("what carries that type: {producers}"));
    }
    let kinds = registry.kinds().iter().map(|kind| kind.description);
    let kinds = kinds.filter(|kind| kind.outputs.iter().any(|output| fits(output.types)));
    let kinds = quoted(kinds.map(|kind| kind.name));
    Some(format!("nothing in this file carries that type; kinds that do: {kinds}"))
}

fn type_names(types: &[RecordType]) -> String {
    if types.is_empty() {
        return "any record type".to_owned();
    }
    let names: Vec<_> = types.iter().map(|t| format!("{t:?}")).collect();
    format!("record type {}", names.join(" or "))
}
