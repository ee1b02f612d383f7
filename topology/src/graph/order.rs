//! Who stands above whom in a layer, and how high: few crossings, straight lines.
//!
//! Sweeps sort each layer by the mean height of its neighbours in the layer before (barycentres); the order with
//! the fewest crossings is kept. Then everything moves as near to its neighbours as that order allows.

/// A place in a layer: a box, or a bend of a line (no height).
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub layer: usize,
    pub lane: usize,
    pub height: f64,
}

/// A line between two slots, and how far below their upper edges it meets them.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub from: (usize, f64),
    pub to: (usize, f64),
}

pub(super) struct Arranged {
    /// The upper edge of each slot inside its lane.
    pub y: Vec<f64>,
    /// The height of each lane.
    pub lanes: Vec<f64>,
}

const SWEEPS: usize = 12;
const RELAXATIONS: usize = 40;
const BETWEEN_BOXES: f64 = 20.0;
const BETWEEN_LINES: f64 = 11.0;
const BESIDE_BOX: f64 = 15.0;

pub(super) fn arrange(slots: &[Slot], links: &[Link], lanes: usize) -> Arranged {
    let mut cells = cells(slots, lanes);
    let neighbours = neighbours(slots, links);
    let mut y = stacked(slots, &cells);
    let mut best = (crossings(slots, links, &y, lanes), cells.clone());
    for sweep in 0..SWEEPS {
        let rightward = sweep % 2 == 0;
        let layers = cells.len();
        for step in 0..layers {
            let layer = if rightward { step } else { layers - 1 - step };
            for cell in &mut cells[layer] {
                sort_cell(cell, slots, &neighbours, &y, rightward);
            }
            y = stacked(slots, &cells);
        }
        let found = crossings(slots, links, &y, lanes);
        if found < best.0 {
            best = (found, cells.clone());
        }
    }
    relax(slots, &best.1, &neighbours, lanes)
}

/// Slots by layer and lane, from top to bottom.
type Cells = Vec<Vec<Vec<usize>>>;

fn cells(slots: &[Slot], lanes: usize) -> Cells {
    let layers = slots.iter().map(|slot| slot.layer + 1).max().unwrap_or(0);
    let mut cells = vec![vec![Vec::new(); lanes]; layers];
    for (index, slot) in slots.iter().enumerate() {
        cells[slot.layer][slot.lane].push(index);
    }
    cells
}

/// A slot at the other end of a line: which, where the line meets it, and where it meets this one.
#[derive(Clone, Copy)]
struct Neighbour {
    slot: usize,
    there: f64,
    here: f64,
}

fn neighbours(slots: &[Slot], links: &[Link]) -> Vec<Vec<Neighbour>> {
    let mut all = vec![Vec::new(); slots.len()];
    for link in links {
        let (from, to) = (link.from, link.to);
        all[from.0].push(Neighbour { slot: to.0, there: to.1, here: from.1 });
        all[to.0].push(Neighbour { slot: from.0, there: from.1, here: to.1 });
    }
    all
}

/// Heights if every cell is stacked from the top of its lane, as if lanes were far apart.
fn stacked(slots: &[Slot], cells: &Cells) -> Vec<f64> {
    const LANE: f64 = 100_000.0;
    let mut y = vec![0.0; slots.len()];
    for layer in cells {
        for (lane, cell) in layer.iter().enumerate() {
            let offsets = offsets(slots, cell);
            let middle = offsets.1 / 2.0;
            for (slot, offset) in cell.iter().zip(&offsets.0) {
                y[*slot] = lane as f64 * LANE + offset - middle;
            }
        }
    }
    y
}

/// Where each slot of a stack stands, and the height of the whole.
fn offsets(slots: &[Slot], cell: &[usize]) -> (Vec<f64>, f64) {
    let mut offsets = Vec::with_capacity(cell.len());
    let mut bottom = 0.0;
    for (index, slot) in cell.iter().enumerate() {
        if index > 0 {
            let boxes = [cell[index - 1], *slot].iter().filter(|s| slots[**s].height > 0.0).count();
            bottom += [BETWEEN_LINES, BESIDE_BOX, BETWEEN_BOXES][boxes];
        }
        offsets.push(bottom);
        bottom += slots[*slot].height;
    }
    (offsets, bottom)
}

fn sort_cell(
    cell: &mut [usize],
    slots: &[Slot],
    neighbours: &[Vec<Neighbour>],
    y: &[f64],
    rightward: bool,
) {
    let centre = |slot: usize| {
        let before = neighbours[slot].iter().filter(|n| {
            let layer = slots[n.slot].layer;
            layer == slots[slot].layer || (layer < slots[slot].layer) == rightward
        });
        let heights: Vec<f64> = before.map(|n| y[n.slot] + n.there).collect();
        if heights.is_empty() { y[slot] } else { mean(&heights) }
    };
    cell.sort_by(|a, b| centre(*a).total_cmp(&centre(*b)));
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// How often lines between the same two layers cross.
fn crossings(slots: &[Slot], links: &[Link], y: &[f64], lanes: usize) -> usize {
    debug_assert!(slots.iter().all(|slot| slot.lane < lanes));
    let layers = slots.iter().map(|slot| slot.layer + 1).max().unwrap_or(0);
    let mut between: Vec<Vec<(f64, f64)>> = vec![Vec::new(); layers];
    for link in links {
        let ends = [link.from, link.to].map(|(slot, at)| (slots[slot].layer, y[slot] + at));
        let (left, right) =
            if ends[0].0 < ends[1].0 { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
        if left.0 != right.0 {
            between[left.0].push((left.1, right.1));
        }
    }
    between.iter_mut().map(|lines| inversions(lines)).sum()
}

fn inversions(lines: &mut [(f64, f64)]) -> usize {
    lines.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut seen: Vec<f64> = Vec::with_capacity(lines.len());
    let mut count = 0;
    for (_, right) in lines {
        let at = seen.partition_point(|other| *other <= *right);
        count += seen.len() - at;
        seen.insert(at, *right);
    }
    count
}

/// Moves each slot towards its neighbours, in order and inside its lane.
fn relax(slots: &[Slot], cells: &Cells, neighbours: &[Vec<Neighbour>], lanes: usize) -> Arranged {
    let tallest =
        |lane: usize| cells.iter().map(|layer| offsets(slots, &layer[lane]).1).fold(0.0, f64::max);
    let heights: Vec<f64> = (0..lanes).map(tallest).collect();
    let top: Vec<f64> = heights
        .iter()
        .scan(0.0, |top, height| {
            let own = *top;
            *top += height + 2.0 * BETWEEN_BOXES;
            Some(own)
        })
        .collect();
    let mut y: Vec<f64> = vec![0.0; slots.len()];
    for layer in cells {
        for (lane, cell) in layer.iter().enumerate() {
            let (offsets, height) = offsets(slots, cell);
            for (slot, offset) in cell.iter().zip(offsets) {
                y[*slot] = top[lane] + (heights[lane] - height) / 2.0 + offset;
            }
        }
    }
    for round in 0..RELAXATIONS {
        for step in 0..cells.len() {
            let layer = if round % 2 == 0 { step } else { cells.len() - 1 - step };
            for (lane, cell) in cells[layer].iter().enumerate() {
                settle(cell, slots, neighbours, &mut y, (top[lane], heights[lane]));
            }
        }
    }
    let y = y.iter().zip(slots).map(|(y, slot)| y - top[slot.lane]).collect();
    Arranged { y, lanes: heights }
}

/// Puts the slots of one cell as near as possible to where their lines pull them (pool adjacent violators).
fn settle(
    cell: &[usize],
    slots: &[Slot],
    neighbours: &[Vec<Neighbour>],
    y: &mut [f64],
    (top, room): (f64, f64),
) {
    let (offsets, height) = offsets(slots, cell);
    // Blocks that move as one: sum of wishes, weight, members.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (slot, offset) in cell.iter().zip(&offsets) {
        let (wish, weight) = pull(*slot, slots, neighbours, y);
        blocks.push(((wish - offset) * weight, weight, 1));
        while let [.., above, below] = blocks[..]
            && above.0 / above.1 > below.0 / below.1
        {
            blocks.truncate(blocks.len() - 2);
            blocks.push((above.0 + below.0, above.1 + below.1, above.2 + below.2));
        }
    }
    let mut members = cell.iter().zip(&offsets);
    for (sum, weight, count) in blocks {
        let start = (sum / weight).clamp(top, top + room - height);
        for (slot, offset) in members.by_ref().take(count) {
            y[*slot] = start + offset;
        }
    }
}

/// Where a slot's lines would have it, and how strongly. Lines that are long pull more: they shall be straight.
fn pull(slot: usize, slots: &[Slot], neighbours: &[Vec<Neighbour>], y: &[f64]) -> (f64, f64) {
    let is_bend = |slot: usize| slots[slot].height == 0.0;
    let (mut sum, mut weight) = (0.0, 0.0);
    for n in neighbours[slot].iter().filter(|n| slots[n.slot].layer != slots[slot].layer) {
        let strength = if is_bend(slot) && is_bend(n.slot) { 16.0 } else { 1.0 };
        sum += strength * (y[n.slot] + n.there - n.here);
        weight += strength;
    }
    if weight == 0.0 { (y[slot], 0.1) } else { (sum / weight, weight) }
}
