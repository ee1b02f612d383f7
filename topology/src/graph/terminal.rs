//! A picture for a terminal: a box for each group, a line for each port, and rails that join them.
//!
//! It keeps to its width: rails that find no room are written out by name instead.

use std::collections::HashSet;
use std::fmt::Write as _;

use imflow_kind::Family;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Picture;
use super::rails::{self, Cell, Rail};

/// The widest list; longer texts are cut.
const MAX_LIST: usize = 56;
const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
/// Rails in turn: neighbours differ.
const RAIL_COLOURS: [&str; 6] =
    ["\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[31m"];

/// What a line of the list is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Top(usize),
    Node(usize),
    Input(usize, usize),
    Output(usize, usize),
    /// Wires whose rail found no room.
    Text,
    Bottom,
}

struct Line {
    place: Place,
    left: String,
    /// Dimmed.
    middle: String,
    right: String,
}

impl Picture {
    /// The picture in box-drawing characters, at most `width` columns wide.
    pub fn terminal(&self, width: usize, colour: bool) -> String {
        let mut written_out = HashSet::new();
        loop {
            let lines = self.lines(&written_out);
            let (ports, rails) = self.rails(&lines, &written_out);
            let columns = rails::columns(&rails);
            let list = list_width(&lines, width);
            let room = width.saturating_sub(list + 5) / 2;
            let before = written_out.len();
            let outside = ports.iter().zip(&columns).filter(|(_, column)| **column >= room);
            written_out.extend(outside.map(|(port, _)| *port));
            if written_out.len() == before {
                return draw(&lines, &rails, &columns, list, self, colour);
            }
        }
    }

    fn lines(&self, written_out: &HashSet<(usize, usize)>) -> Vec<Line> {
        let mut lines = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            lines.push(line(Place::Top(index), &format!(" {} ", group.title), "", ""));
            for &node in &group.nodes {
                self.node_lines(node, written_out, &mut lines);
            }
            lines.push(line(Place::Bottom, "", "", ""));
        }
        lines
    }

    fn node_lines(&self, id: usize, written_out: &HashSet<(usize, usize)>, lines: &mut Vec<Line>) {
        let node = &self.nodes[id];
        let kind = if node.kind == node.name { "" } else { node.kind };
        // Without inputs, the main output stands in the node's own line.
        let record = self.wires.iter().find(|w| w.from == (id, 0)).map(|w| w.record.as_str());
        let own_output = if node.inputs.is_empty() && self.types { record } else { None };
        lines.push(line(Place::Node(id), &node.name, kind, own_output.unwrap_or("")));
        let (inputs, outputs) = self.wired(id);
        for port in (0..inputs.len()).filter(|port| inputs[*port]) {
            if port > 0 {
                lines.push(line(Place::Input(id, port), "", "", &node.inputs[port]));
            }
            let from =
                self.wires.iter().filter(|w| w.to == (id, port) && written_out.contains(&w.from));
            for wire in from {
                let text = self.sentence(wire);
                let from = text.split(" -> ").next().unwrap_or_default();
                lines.push(line(Place::Text, "", &format!("  from {from}"), ""));
            }
        }
        for port in (0..outputs.len()).filter(|port| outputs[*port]) {
            let wires = || self.wires.iter().filter(|w| w.from == (id, port));
            if port > 0 || !node.inputs.is_empty() {
                let record = wires().next().map_or("", |w| w.record.as_str());
                let label = self.port_label(&node.outputs, port, record);
                lines.push(line(Place::Output(id, port), "", "", &label));
            }
            if written_out.contains(&(id, port)) {
                for wire in wires() {
                    let text = self.sentence(wire);
                    let to = text.split(" -> ").nth(1).unwrap_or_default();
                    lines.push(line(Place::Text, "", &format!("  to {to}"), ""));
                }
            }
        }
    }

    /// The output ports that have a rail, and the rails.
    fn rails(
        &self,
        lines: &[Line],
        written_out: &HashSet<(usize, usize)>,
    ) -> (Vec<(usize, usize)>, Vec<Rail>) {
        let row_of = |wanted: &dyn Fn(Place) -> bool| {
            lines.iter().position(|line| wanted(line.place)).unwrap_or_default()
        };
        let mut ports = Vec::new();
        let mut rails: Vec<Rail> = Vec::new();
        for wire in self.wires.iter().filter(|wire| !written_out.contains(&wire.from)) {
            let (node, port) = wire.to;
            let target = row_of(&|place| match port {
                0 => place == Place::Node(node),
                _ => place == Place::Input(node, port),
            });
            let target = (target, wire.kind.is_dotted());
            match ports.iter().position(|known| *known == wire.from) {
                Some(rail) => rails[rail].targets.push(target),
                None => {
                    let (node, port) = wire.from;
                    let own_line = port == 0 && self.nodes[node].inputs.is_empty();
                    let source = row_of(&|place| match own_line {
                        true => place == Place::Node(node),
                        false => place == Place::Output(node, port),
                    });
                    ports.push(wire.from);
                    rails.push(Rail { source, targets: vec![target] });
                }
            }
        }
        (ports, rails)
    }
}

fn line(place: Place, left: &str, middle: &str, right: &str) -> Line {
    Line { place, left: left.to_owned(), middle: middle.to_owned(), right: right.to_owned() }
}

/// The inner width of the boxes.
fn list_width(lines: &[Line], width: usize) -> usize {
    let of = |line: &Line| {
        let parts = [&line.left, &line.middle, &line.right];
        parts.iter().filter(|part| !part.is_empty()).map(|part| part.width() + 2).sum::<usize>()
    };
    let widest = lines.iter().map(of).max().unwrap_or(0);
    widest.clamp(24, MAX_LIST).min(width.saturating_sub(4))
}

fn draw(
    lines: &[Line],
    rails: &[Rail],
    columns: &[usize],
    list: usize,
    picture: &Picture,
    colour: bool,
) -> String {
    let paint = Paint { colour };
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells = rails::row(rails, columns, index);
        let (left_border, fill, right_border) = match line.place {
            Place::Top(_) => ("╭", '─', "╮"),
            Place::Bottom => ("╰", '─', "╯"),
            _ => ("│", ' ', if rails.iter().any(|r| r.source == index) { "├" } else { "│" }),
        };
        let into = rails.iter().any(|rail| rail.targets.iter().any(|(row, _)| *row == index));
        let mut row = paint.with(DIM, left_border);
        row += &body(line, list, fill, picture, &paint);
        row += &paint.with(DIM, right_border);
        let begins = rails.iter().any(|rail| rail.source == index);
        row.push(if into { '◄' } else { cells.first().filter(|_| begins).map_or(' ', |c| c.0) });
        row += &paint.cells(&cells);
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text += "\n◄ reads   ┄ comes back later: what is durable, answers, declared feedback\n";
    text
}

/// The inside of a box's line: left, middle, and right-aligned.
fn body(line: &Line, list: usize, fill: char, picture: &Picture, paint: &Paint) -> String {
    let family = |node: usize| match picture.nodes[node].family {
        Family::Source => "\x1b[1;32m",
        Family::Operator => BOLD,
        Family::Sink => "\x1b[1;33m",
    };
    let style = match line.place {
        Place::Node(node) => family(node),
        _ => DIM,
    };
    let right = cut(&line.right, list.saturating_sub(2));
    let mut room = list.saturating_sub(2 + if right.is_empty() { 0 } else { right.width() + 1 });
    let left = cut(&line.left, room);
    room -= left.width();
    let middle = match (line.middle.is_empty(), left.is_empty()) {
        (true, _) => String::new(),
        (false, true) => cut(&line.middle, room),
        (false, false) => format!("  {}", cut(&line.middle, room.saturating_sub(2))),
    };
    let used = left.width() + middle.width() + right.width();
    let pad: String = std::iter::repeat_n(fill, list.saturating_sub(2 + used)).collect();
    let pad = if fill == ' ' { pad } else { paint.with(DIM, &pad) };
    let end = paint.with(DIM, &fill.to_string());
    format!("{end}{}{}{pad}{right}{end}", paint.with(style, &left), paint.with(DIM, &middle))
}

/// A text in at most this many columns.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let taken = c.width().unwrap_or(0);
        let fits = taken <= room;
        room = room.saturating_sub(taken);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }

    fn cells(&self, cells: &[Cell]) -> String {
        let used = cells.iter().rposition(|(c, _)| *c != ' ').map_or(0, |last| last + 1);
        let mut text = String::new();
        for (c, rail) in &cells[..used] {
            match rail.filter(|_| self.colour) {
                Some(rail) => {
                    let _ = write!(text, "{}{c}{RESET}", RAIL_COLOURS[rail % RAIL_COLOURS.len()]);
                }
                None => text.push(*c),
            }
        }
        text
    }
}
