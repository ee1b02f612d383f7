//! Who may speak, and who orders: no way around permission, one order for each sink.

use std::collections::{HashMap, VecDeque};

use imflow_kind::{Debt, Duty, Family};

use super::cycles::path_text;
use super::wiring::{Out, Wiring};
use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::resolve::NodeId;

pub(super) fn check(wiring: &Wiring<'_>, diagnostics: &mut Diagnostics) {
    check_permission(wiring, diagnostics);
    check_orders(wiring, diagnostics);
}

fn has_duty(wiring: &Wiring<'_>, id: NodeId, duty: Duty) -> bool {
    wiring.nodes[id].kind.description.duties.contains(&duty)
}

/// The wires by which what owes a reply goes on from a node.
fn onward<'w>(wiring: &'w Wiring<'_>, id: NodeId) -> impl Iterator<Item = &'w Out<'w>> {
    wiring
        .owing(id)
        .flat_map(move |output| wiring.outs(id, output))
        .filter(|o| o.port.reply != Debt::Observed)
}

/// Walks from all sources at once, through whatever neither authorises nor is declared unsafe.
fn check_permission(wiring: &Wiring<'_>, diagnostics: &mut Diagnostics) {
    let mut from: Vec<Option<NodeId>> = vec![None; wiring.nodes.len()];
    let mut queue: VecDeque<NodeId> = VecDeque::new();
    for (id, node) in wiring.nodes.iter().enumerate() {
        if node.kind.description.family == Family::Source && !node.is_unsafe {
            queue.push_back(id);
        }
    }
    while let Some(id) = queue.pop_front() {
        for out in onward(wiring, id) {
            let known = from[out.to].is_some();
            let closed =
                wiring.nodes[out.to].is_unsafe || has_duty(wiring, out.to, Duty::Authorises);
            if closed || known || !wiring.passes(out) {
                continue;
            }
            from[out.to] = Some(id);
            if has_duty(wiring, out.to, Duty::Orders) {
                around(wiring, &from, out, diagnostics);
            } else {
                queue.push_back(out.to);
            }
        }
    }
}

fn around(
    wiring: &Wiring<'_>,
    from: &[Option<NodeId>],
    last: &Out<'_>,
    diagnostics: &mut Diagnostics,
) {
    let mut path = vec![last.to];
    while let Some(before) = path.last().and_then(|id| from[*id]) {
        path.push(before);
    }
    path.reverse();
    let source = &wiring.nodes[path[0]];
    let names: Vec<_> = path.iter().map(|id| wiring.nodes[*id].name.as_str()).collect();
    let message = format!("messages pass no permission check on the way {}", path_text(&names));
    diagnostics
        .error(Code::Unauthorised, last.span, message, "here they are ordered")
        .also(&source.span, "here they come in")
        .help(format!(
            "lead them through a `permission`, or say that this is meant: unsafe = true in `{}`",
            source.name
        ));
}

/// Follows each order to the sinks that it reaches.
fn check_orders(wiring: &Wiring<'_>, diagnostics: &mut Diagnostics) {
    let orders = (0..wiring.nodes.len()).filter(|id| has_duty(wiring, *id, Duty::Orders));
    let mut ordered_by: HashMap<NodeId, NodeId> = HashMap::new();
    // Who came through an operator first; another order there is told once and followed no further.
    for order in orders {
        let mut queue = VecDeque::from([order]);
        while let Some(id) = queue.pop_front() {
            for out in onward(wiring, id) {
                match ordered_by.get(&out.to) {
                    Some(first) if *first != order => two(wiring, *first, order, out, diagnostics),
                    Some(_) => {}
                    None => {
                        ordered_by.insert(out.to, order);
                        if wiring.passes(out) {
                            queue.push_back(out.to);
                        }
                    }
                }
            }
        }
    }
}

fn two(
    wiring: &Wiring<'_>,
    first: NodeId,
    second: NodeId,
    out: &Out<'_>,
    diagnostics: &mut Diagnostics,
) {
    let [first, second] = [first, second].map(|id| &wiring.nodes[id]);
    let message = format!(
        "`{}` and `{}` both order messages for `{}`",
        first.name, second.name, wiring.nodes[out.to].name
    );
    diagnostics
        .error(Code::TwoOrders, out.span, message, "the second order comes in here")
        .also(&first.span, "the first order")
        .also(&second.span, "the second order")
        .help(format!("feed `{}` with the inputs of both", first.name));
}
