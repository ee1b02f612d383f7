//! Places for boxes and lines: layers from left to right, a lane for each group from top to bottom.
//!
//! A wire that passes layers bends in each of them. Wires into one input port share their bends, so that they
//! join to one line; a wire that goes back leaves to the right, turns, and runs back through the lane of its reader.

use std::collections::HashMap;

use super::order::{Link, Slot, arrange};
use super::{Picture, layers::layers};

pub(super) const TITLE_HEIGHT: f64 = 40.0;
pub(super) const PORT_HEIGHT: f64 = 17.0;
const LANE_TITLE: f64 = 26.0;
const LANE_PAD: f64 = 14.0;
const MARGIN: f64 = 16.0;

/// A box with the ports that it shows: the main ones beside its title, then a line for each other.
pub(super) struct Sized {
    pub width: f64,
    pub height: f64,
    /// Height of each input port inside the box, by port.
    pub inputs: Vec<f64>,
    pub outputs: Vec<f64>,
}

pub(super) struct Lane {
    pub y: f64,
    pub height: f64,
}

/// A piece of a line, from one layer to the next or around a turn.
pub(super) struct Piece {
    pub from: (f64, f64),
    pub to: (f64, f64),
    pub shape: Shape,
    pub dotted: bool,
    /// Begins at a box.
    pub leaves: bool,
    /// Ends at a box.
    pub arrow: bool,
    /// The wires that run here.
    pub wires: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Across the gap between two layers, to the right or to the left.
    Across,
    /// Straight through a layer.
    Through,
    /// Out to the right, and back.
    TurnRight,
    /// Out to the left, and back.
    TurnLeft,
}

pub(super) struct Layout {
    pub width: f64,
    pub height: f64,
    pub lanes: Vec<Lane>,
    /// Left upper corner of each node's box.
    pub boxes: Vec<(f64, f64)>,
    pub pieces: Vec<Piece>,
}

/// A line's way through the slots, and the wires on it.
struct Way {
    link: Link,
    dotted: bool,
    wires: Vec<usize>,
}

/// Lays a picture out; `gap` is the space between layers.
pub(super) fn layout(picture: &Picture, sizes: &[Sized], gap: f64) -> Layout {
    let mut lane_of = vec![0; picture.nodes.len()];
    for (lane, group) in picture.groups.iter().enumerate() {
        group.nodes.iter().for_each(|node| lane_of[*node] = lane);
    }
    let layers = layers(picture);
    let slot =
        |node: usize| Slot { layer: layers[node], lane: lane_of[node], height: sizes[node].height };
    let mut slots: Vec<Slot> = (0..picture.nodes.len()).map(slot).collect();
    let ways = ways(picture, sizes, &mut slots);
    let links: Vec<Link> = ways.iter().map(|way| way.link).collect();
    let arranged = arrange(&slots, &links, picture.groups.len());

    let mut lanes = Vec::new();
    let mut bottom = MARGIN;
    for height in &arranged.lanes {
        let height = height + LANE_TITLE + 2.0 * LANE_PAD;
        lanes.push(Lane { y: bottom, height });
        bottom += height + LANE_PAD;
    }
    let columns = columns(&layers, sizes, gap);
    let y = |slot: usize| lanes[slots[slot].lane].y + LANE_TITLE + LANE_PAD + arranged.y[slot];
    let boxes = (0..picture.nodes.len()).map(|node| {
        let (x, width) = columns[layers[node]];
        (x + (width - sizes[node].width) / 2.0, y(node))
    });
    let place = Place { slots: &slots, columns: &columns, sizes, y: &y };
    let (right, right_width) = columns.last().copied().unwrap_or_default();
    Layout {
        width: right + right_width + gap / 2.0 + MARGIN,
        height: bottom - LANE_PAD + MARGIN,
        boxes: boxes.collect(),
        pieces: pieces(&ways, &place),
        lanes,
    }
}

/// Left edge and width of each layer.
fn columns(layers: &[usize], sizes: &[Sized], gap: f64) -> Vec<(f64, f64)> {
    let count = layers.iter().max().map_or(0, |last| last + 1);
    let mut x = MARGIN + gap / 2.0;
    let column = |layer| {
        let inside = layers.iter().zip(sizes).filter(|(l, _)| **l == layer);
        let width = inside.map(|(_, size)| size.width).fold(0.0, f64::max);
        let left = x;
        x += width + gap;
        (left, width)
    };
    (0..count).map(column).collect()
}

/// Splits wires at the layers that they pass; adds the slots of their bends.
fn ways(picture: &Picture, sizes: &[Sized], slots: &mut Vec<Slot>) -> Vec<Way> {
    let mut bends: HashMap<((usize, usize), bool, bool, usize), usize> = HashMap::new();
    // By slot and port at both ends; a bend has one port.
    let mut known: HashMap<[(usize, usize); 2], usize> = HashMap::new();
    let mut ways: Vec<Way> = Vec::new();
    for (index, wire) in picture.wires.iter().enumerate() {
        let (first, last) = (slots[wire.from.0].layer, slots[wire.to.0].layer);
        let back = first >= last;
        let through: Vec<usize> =
            if back { (last..=first).rev().collect() } else { (first + 1..last).collect() };
        let dotted = wire.kind.is_dotted();
        let lane = slots[wire.to.0].lane;
        let mut stops = vec![(wire.from, sizes[wire.from.0].outputs[wire.from.1])];
        for layer in through {
            let bend = bends.entry((wire.to, dotted, back, layer)).or_insert_with(|| {
                slots.push(Slot { layer, lane, height: 0.0 });
                slots.len() - 1
            });
            stops.push(((*bend, 0), 0.0));
        }
        stops.push((wire.to, sizes[wire.to.0].inputs[wire.to.1]));
        for pair in stops.windows(2) {
            let way = *known.entry([pair[0].0, pair[1].0]).or_insert_with(|| {
                let [from, to] = [pair[0], pair[1]].map(|((slot, _), height)| (slot, height));
                ways.push(Way { link: Link { from, to }, dotted, wires: Vec::new() });
                ways.len() - 1
            });
            ways[way].wires.push(index);
            // Two wires of a kind each from one port to another: solid wins.
            ways[way].dotted &= dotted;
        }
    }
    ways
}

/// What turns slots into points.
struct Place<'a> {
    slots: &'a [Slot],
    columns: &'a [(f64, f64)],
    sizes: &'a [Sized],
    y: &'a dyn Fn(usize) -> f64,
}

impl Place<'_> {
    fn is_bend(&self, slot: usize) -> bool {
        slot >= self.sizes.len()
    }

    /// Left and right end of what stands in a slot.
    fn sides(&self, slot: usize) -> (f64, f64) {
        let (x, width) = self.columns[self.slots[slot].layer];
        let own = if self.is_bend(slot) { width } else { self.sizes[slot].width };
        (x + (width - own) / 2.0, x + (width + own) / 2.0)
    }
}

fn pieces(ways: &[Way], place: &Place<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut crossed = HashMap::new();
    for way in ways {
        let Link { from, to } = way.link;
        let (from_y, to_y) = ((place.y)(from.0) + from.1, (place.y)(to.0) + to.1);
        let (from_sides, to_sides) = (place.sides(from.0), place.sides(to.0));
        let (from_layer, to_layer) = (place.slots[from.0].layer, place.slots[to.0].layer);
        let (shape, from_x, to_x) = match (from_layer.cmp(&to_layer), place.is_bend(from.0)) {
            (std::cmp::Ordering::Less, _) => (Shape::Across, from_sides.1, to_sides.0),
            (std::cmp::Ordering::Greater, _) => (Shape::Across, from_sides.0, to_sides.1),
            (std::cmp::Ordering::Equal, false) => (Shape::TurnRight, from_sides.1, to_sides.1),
            (std::cmp::Ordering::Equal, true) => (Shape::TurnLeft, from_sides.0, to_sides.0),
        };
        let piece = |from, to, shape| Piece {
            from,
            to,
            shape,
            dotted: way.dotted,
            leaves: shape != Shape::Through && !place.is_bend(way.link.from.0),
            arrow: shape != Shape::Through && !place.is_bend(way.link.to.0),
            wires: way.wires.clone(),
        };
        pieces.push(piece((from_x, from_y), (to_x, to_y), shape));
        if place.is_bend(from.0) {
            let (left, right) = from_sides;
            let through = crossed.entry(from.0).or_insert_with(|| {
                pieces.push(piece((left, from_y), (right, from_y), Shape::Through));
                pieces.len() - 1
            });
            let missing: Vec<_> =
                way.wires.iter().filter(|w| !pieces[*through].wires.contains(w)).copied().collect();
            pieces[*through].wires.extend(missing);
        }
    }
    pieces
}
