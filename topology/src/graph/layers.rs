//! The layer of each node: every wire that flows goes at least one layer to the right.
//!
//! Feedback decides nothing. What comes out of a sink counts as long as it closes no circle, so that a message
//! reads from left to right: in, ordered, stored, fanned out, pushed.

use super::{Picture, WireKind};

pub(super) fn layers(picture: &Picture) -> Vec<usize> {
    let count = picture.nodes.len();
    let mut readers = vec![Vec::new(); count];
    for wire in picture.wires.iter().filter(|wire| wire.kind == WireKind::Flow) {
        readers[wire.from.0].push(wire.to.0);
    }
    for wire in picture.wires.iter().filter(|wire| wire.kind == WireKind::Completion) {
        if !reaches(&readers, wire.to.0, wire.from.0) {
            readers[wire.from.0].push(wire.to.0);
        }
    }
    let order = producers_first(&readers);
    let mut layers = vec![0usize; count];
    let mut fed = vec![false; count];
    for &node in &order {
        for &reader in &readers[node] {
            layers[reader] = layers[reader].max(layers[node] + 1);
            fed[reader] = true;
        }
    }
    // A node that nothing feeds stands just before its first reader.
    for &node in order.iter().rev().filter(|node| !fed[**node]) {
        if let Some(first) = readers[node].iter().map(|reader| layers[*reader]).min() {
            layers[node] = first.saturating_sub(1);
        }
    }
    layers
}

fn reaches(readers: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = vec![false; readers.len()];
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        if node == to {
            return true;
        }
        if !std::mem::replace(&mut seen[node], true) {
            open.extend(&readers[node]);
        }
    }
    false
}

/// Kahn's order. What is in a circle, which `check` rules out, is left out.
fn producers_first(readers: &[Vec<usize>]) -> Vec<usize> {
    let mut waits_for = vec![0; readers.len()];
    readers.iter().flatten().for_each(|reader| waits_for[*reader] += 1);
    let mut order: Vec<usize> = (0..readers.len()).filter(|node| waits_for[*node] == 0).collect();
    let mut next = 0;
    while let Some(&node) = order.get(next) {
        next += 1;
        for &reader in &readers[node] {
            waits_for[reader] -= 1;
            if waits_for[reader] == 0 {
                order.push(reader);
            }
        }
    }
    order
}
