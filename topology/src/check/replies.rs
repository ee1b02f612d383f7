//! One reply: what still owes one goes exactly one way, and that way ends where it is answered.
//!
//! A *route* is a wire that leads to an answer: into a port that pays, or into an operator one of whose
//! outputs has a route. From each source and sink, every output that owes replies needs one route and
//! has at most one; so does every owing output of the operators on it. Operators beside all routes only
//! look at the records, and owe nothing.

use std::collections::VecDeque;

use imflow_kind::{Debt, Family};

use super::wiring::{Out, Wiring};
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, quoted};
use crate::resolve::NodeId;

pub(super) fn check(wiring: &Wiring<'_>, diagnostics: &mut Diagnostics) {
    let leads = leading(wiring);
    let mut owed = vec![false; wiring.nodes.len()];
    let mut queue: VecDeque<NodeId> = (0..wiring.nodes.len())
        .filter(|id| wiring.nodes[*id].kind.description.family != Family::Operator)
        .collect();
    while let Some(id) = queue.pop_front() {
        for output in wiring.owing(id) {
            let outs = wiring.outs(id, output).iter();
            let routes: Vec<_> = outs.filter(|out| is_route(wiring, out, &leads)).collect();
            match routes.as_slice() {
                [] => unanswered(wiring, id, output, diagnostics),
                [_] => {}
                [first, others @ ..] => {
                    others.iter().for_each(|o| twice(wiring, (id, output), first, o, diagnostics));
                }
            }
            for route in routes.iter().filter(|route| wiring.passes(route)) {
                if !std::mem::replace(&mut owed[route.to], true) {
                    queue.push_back(route.to);
                }
            }
        }
    }
}

fn is_route(wiring: &Wiring<'_>, out: &Out<'_>, leads: &[bool]) -> bool {
    out.port.reply == Debt::Paid || wiring.passes(out) && leads[out.to]
}

/// The operators with an output from which a route leads on.
fn leading(wiring: &Wiring<'_>) -> Vec<bool> {
    let count = wiring.nodes.len();
    let mut producers: Vec<Vec<NodeId>> = vec![Vec::new(); count];
    let mut leads = vec![false; count];
    let mut queue = VecDeque::new();
    for (id, leads) in leads.iter_mut().enumerate() {
        for out in wiring.owing(id).flat_map(|output| wiring.outs(id, output)) {
            if out.port.reply == Debt::Paid && !std::mem::replace(leads, true) {
                queue.push_back(id);
            }
            if wiring.passes(out) {
                producers[out.to].push(id);
            }
        }
    }
    while let Some(id) = queue.pop_front() {
        for &producer in &producers[id] {
            if !std::mem::replace(&mut leads[producer], true) {
                queue.push_back(producer);
            }
        }
    }
    leads
}

fn unanswered(wiring: &Wiring<'_>, id: NodeId, output: usize, diagnostics: &mut Diagnostics) {
    let node = &wiring.nodes[id];
    let name = node.output_name(output);
    let record = wiring.carries(id, output);
    let message = format!(
        "`{name}` carries {record}, whose senders wait for a reply, and leads to nobody who answers"
    );
    let help = format!("wire `{name}` to {}", takers(wiring, id, output));
    diagnostics
        .error(Code::Unanswered, &node.span, message, "its senders would meet TIMEOUT")
        .help(help);
}

/// The ports that answer such records, or else the operators that take them.
fn takers(wiring: &Wiring<'_>, id: NodeId, output: usize) -> String {
    let record = wiring.carries(id, output);
    let names = |debt: Debt| {
        let ports = wiring.nodes.iter().filter(|node| node.name != wiring.nodes[id].name);
        let ports = ports
            .flat_map(|node| node.kind.description.inputs.iter().map(move |port| (node, port)));
        let fits = ports.filter(|(_, port)| {
            port.reply == debt && port.types.iter().any(|taken| format!("{taken:?}") == record)
        });
        fits.map(|(node, _)| node.name.clone()).collect::<Vec<_>>()
    };
    let mut names_of = names(Debt::Paid);
    if names_of.is_empty() {
        names_of = names(Debt::Passed);
    }
    names_of.dedup();
    if names_of.is_empty() {
        return format!("a node that takes {record}: none in this file does");
    }
    quoted(names_of.iter().map(String::as_str))
}

fn twice(
    wiring: &Wiring<'_>,
    (id, output): (NodeId, usize),
    first: &Out<'_>,
    second: &Out<'_>,
    diagnostics: &mut Diagnostics,
) {
    let name = wiring.nodes[id].output_name(output);
    let [one, other] = [first, second].map(|out| wiring.nodes[out.to].name.as_str());
    let to = if one == other {
        format!("reaches `{one}` twice")
    } else {
        format!("goes two ways that lead to a reply: to `{one}` and to `{other}`")
    };
    let record = wiring.carries(id, output);
    let message = format!("each {record} of `{name}` {to}");
    diagnostics
        .error(Code::AnsweredTwice, second.span, message, "the second way")
        .also(first.span, "the first way")
        .help(
            "let each record take one way: part them with a `filter`, or wire only one of the two",
        );
}
