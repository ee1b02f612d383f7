//! A picture as SVG: no program and no font beside the reader's browser is needed.
//!
//! Colours follow the reader's light or dark scheme. Every box and line has a title, which a screen reader
//! reads and a browser shows under the pointer.

use std::fmt::Write as _;

use imflow_kind::Family;
use unicode_width::UnicodeWidthStr as _;

use super::layout::{Layout, PORT_HEIGHT, Piece, Shape, Sized, TITLE_HEIGHT, layout};
use super::{Picture, escape};

/// Space between two layers.
const GAP: f64 = 64.0;
const LEGEND_HEIGHT: f64 = 30.0;

const STYLE: &str = "\
svg{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:12px}\
.page{fill:#fff}.lane{fill:#f6f8fa;stroke:#d0d7de}.lane-title{fill:#59636e;font-size:12px;font-weight:600}\
.box{stroke-width:1.4}.source{fill:#dafbe1;stroke:#2da44e}.operator{fill:#ddf4ff;stroke:#3b82c4}.sink{fill:#fff1d6;stroke:#bf8700}\
.name{fill:#1f2328;font-size:13px;font-weight:600}.kind,.port,.legend{fill:#59636e;font-size:11px}\
.type{fill:#59636e;font-size:10px;paint-order:stroke;stroke:#f6f8fa;stroke-width:3px}\
.rule{stroke:#8c959f;stroke-opacity:.35}.line{fill:none;stroke:#6e7781;stroke-width:1.5}\
.dotted{stroke:#8250df;stroke-dasharray:2 4;stroke-linecap:round;stroke-width:1.7}.tip{fill:#6e7781}.tip-dotted{fill:#8250df}\
@media(prefers-color-scheme:dark){.page{fill:#0d1117}.lane{fill:#151b23;stroke:#3d444d}\
.lane-title,.kind,.port,.legend,.type{fill:#9198a1}.type{stroke:#151b23}.name{fill:#f0f6fc}.source{fill:#12331d;stroke:#3fb950}\
.operator{fill:#11294a;stroke:#58a6ff}.sink{fill:#3a2a0b;stroke:#d29922}.line{stroke:#9198a1}.tip{fill:#9198a1}\
.dotted{stroke:#bc8cff}.tip-dotted{fill:#bc8cff}}";

impl Picture {
    /// The picture as an SVG document.
    pub fn svg(&self) -> String {
        let sizes: Vec<Sized> = (0..self.nodes.len()).map(|node| self.size(node)).collect();
        let gap = if self.types { GAP + self.longest_type() } else { GAP };
        let layout = layout(self, &sizes, gap);
        let (width, height) = (layout.width, layout.height + LEGEND_HEIGHT);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-labelledby=\"title\">\n\
             <title id=\"title\">A dataflow of {} nodes and {} wires</title>\n<style>{STYLE}</style>\n\
             <defs>{}{}</defs>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n",
            self.nodes.len(),
            self.wires.len(),
            marker("tip"),
            marker("tip-dotted"),
        );
        self.lanes(&layout, &mut text);
        layout.pieces.iter().for_each(|piece| self.piece(piece, &mut text));
        for (node, (size, place)) in sizes.iter().zip(&layout.boxes).enumerate() {
            self.node(node, size, *place, &mut text);
        }
        if self.types {
            self.types(&layout, &sizes, &mut text);
        }
        legend(height - LEGEND_HEIGHT / 2.0, &mut text);
        text.push_str("</svg>\n");
        text
    }

    /// A box as large as its texts; main ports stand beside the title.
    fn size(&self, node: usize) -> Sized {
        let (inputs, outputs) = self.wired(node);
        let node = &self.nodes[node];
        let rows = |wired: &[bool], names: &[String]| {
            let mut next = TITLE_HEIGHT + PORT_HEIGHT / 2.0;
            let mut heights = vec![TITLE_HEIGHT / 2.0; wired.len()];
            let mut widest: f64 = 0.0;
            for (port, height) in heights.iter_mut().enumerate().skip(1).filter(|(p, _)| wired[*p])
            {
                *height = next;
                next += PORT_HEIGHT;
                widest = widest.max(text_width(&names[port], 11.0));
            }
            (heights, widest, next - PORT_HEIGHT / 2.0)
        };
        let (inputs, left, left_end) = rows(&inputs, &node.inputs);
        let (outputs, right, right_end) = rows(&outputs, &node.outputs);
        let title = text_width(&node.name, 13.5).max(text_width(node.kind, 11.0));
        let pad = if left_end.max(right_end) > TITLE_HEIGHT { 5.0 } else { 0.0 };
        Sized {
            width: (title + 28.0).max(left + right + 30.0).max(84.0),
            height: left_end.max(right_end) + pad,
            inputs,
            outputs,
        }
    }

    fn longest_type(&self) -> f64 {
        self.wires.iter().map(|wire| text_width(&wire.record, 10.0)).fold(0.0, f64::max)
    }

    fn lanes(&self, layout: &Layout, text: &mut String) {
        for (lane, group) in layout.lanes.iter().zip(&self.groups) {
            let (y, height, width) = (lane.y, lane.height, layout.width - 16.0);
            let _ = writeln!(
                text,
                "<rect class=\"lane\" x=\"8\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"10\"/>\
                 <text class=\"lane-title\" x=\"22\" y=\"{:.1}\">{}</text>",
                y + 20.0,
                group.title
            );
        }
    }

    fn piece(&self, piece: &Piece, text: &mut String) {
        let sentences: Vec<_> =
            piece.wires.iter().map(|wire| escape(&self.sentence(&self.wires[*wire]))).collect();
        let (class, tip) =
            if piece.dotted { ("line dotted", "tip-dotted") } else { ("line", "tip") };
        let lead = if self.types && piece.leaves { self.longest_type() } else { 0.0 };
        let arrow =
            if piece.arrow { format!(" marker-end=\"url(#{tip})\"") } else { String::new() };
        let _ = writeln!(
            text,
            "<path class=\"{class}\" d=\"{}\"{arrow}><title>{}</title></path>",
            path(piece, lead),
            sentences.join("; ")
        );
    }

    fn node(&self, id: usize, size: &Sized, (x, y): (f64, f64), text: &mut String) {
        let node = &self.nodes[id];
        let (class, radius) = match node.family {
            Family::Source => ("source", 16.0),
            Family::Operator => ("operator", 6.0),
            Family::Sink => ("sink", 2.0),
        };
        let (name, width, height) = (escape(&node.name), size.width, size.height);
        let title = format!("{name}: {}, {}", node.kind, escape(node.summary));
        let middle = x + width / 2.0;
        let _ = write!(
            text,
            "<g><title>{title}</title><rect class=\"box {class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\"/>"
        );
        if node.family == Family::Sink {
            // A second edge, so that sinks differ by more than colour.
            let _ = write!(
                text,
                "<path class=\"box {class}\" d=\"M{:.1} {y:.1}V{:.1}M{:.1} {y:.1}V{:.1}\"/>",
                x + 4.0,
                y + height,
                x + width - 4.0,
                y + height
            );
        }
        let kind = if node.name == node.kind { "" } else { node.kind };
        let baseline = if kind.is_empty() { 24.5 } else { 17.0 };
        centred(text, "name", middle, y + baseline, &name);
        if !kind.is_empty() {
            centred(text, "kind", middle, y + 31.5, kind);
        }
        if height > TITLE_HEIGHT {
            let rule = y + TITLE_HEIGHT;
            let _ = write!(
                text,
                "<path class=\"rule\" d=\"M{:.1} {rule:.1}H{:.1}\"/>",
                x + 8.0,
                x + width - 8.0
            );
        }
        ports(text, &node.inputs, &size.inputs, (x + 9.0, y), "start");
        ports(text, &node.outputs, &size.outputs, (x + width - 9.0, y), "end");
        text.push_str("</g>\n");
    }

    /// The record type of each output port, over the line that leaves it.
    fn types(&self, layout: &Layout, sizes: &[Sized], text: &mut String) {
        let mut named: Vec<(usize, usize)> = Vec::new();
        for wire in &self.wires {
            let (node, port) = wire.from;
            if named.contains(&wire.from) {
                continue;
            }
            named.push(wire.from);
            let (x, y) = layout.boxes[node];
            let at = (x + sizes[node].width + 5.0, y + sizes[node].outputs[port] - 3.5);
            let _ = writeln!(
                text,
                "<text class=\"type\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                at.0, at.1, wire.record
            );
        }
    }
}

/// Names of the ports that have a line of their own.
fn ports(text: &mut String, names: &[String], heights: &[f64], (x, y): (f64, f64), anchor: &str) {
    for (name, height) in names.iter().zip(heights).filter(|(_, height)| **height > TITLE_HEIGHT) {
        let _ = write!(
            text,
            "<text class=\"port\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            y + height + 4.0,
            escape(name)
        );
    }
}

fn centred(text: &mut String, class: &str, x: f64, y: f64, content: &str) {
    let _ = write!(
        text,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{content}</text>"
    );
}

/// `lead`: how far the line runs straight at first.
fn path(piece: &Piece, lead: f64) -> String {
    let ((start, y), (to_x, to_y)) = (piece.from, piece.to);
    let x = start + lead;
    // The tip of an arrow ends at the edge of the box.
    let end = if piece.arrow { to_x - 6.0 } else { to_x };
    match piece.shape {
        Shape::Through => format!("M{start:.1} {y:.1}H{to_x:.1}"),
        Shape::Across => {
            let (near, far) = (x + 0.65 * (end - x), x + 0.35 * (end - x));
            format!(
                "M{start:.1} {y:.1}H{x:.1}C{near:.1} {y:.1} {far:.1} {to_y:.1} {end:.1} {to_y:.1}"
            )
        }
        Shape::TurnRight => {
            let out = x.max(to_x) + 26.0;
            format!(
                "M{start:.1} {y:.1}H{x:.1}C{out:.1} {y:.1} {out:.1} {to_y:.1} {to_x:.1} {to_y:.1}"
            )
        }
        Shape::TurnLeft => {
            let out = x.min(to_x) - 26.0;
            format!(
                "M{start:.1} {y:.1}H{x:.1}C{out:.1} {y:.1} {out:.1} {to_y:.1} {end:.1} {to_y:.1}"
            )
        }
    }
}

fn marker(class: &str) -> String {
    format!(
        "<marker id=\"{class}\" viewBox=\"0 0 8 8\" refX=\"2\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"{class}\" d=\"M0 0.5L8 4L0 7.5z\"/></marker>"
    )
}

fn legend(y: f64, text: &mut String) {
    let mut x = 22.0;
    for (class, words) in [
        ("line", "flows at once"),
        ("line dotted", "comes back later: what is durable, answers, declared feedback"),
    ] {
        let _ = writeln!(
            text,
            "<path class=\"{class}\" d=\"M{x:.0} {y:.1}h34\"/>\
             <text class=\"legend\" x=\"{:.0}\" y=\"{:.1}\">{words}</text>",
            x + 42.0,
            y + 4.0
        );
        x += 42.0 + text_width(words, 11.0) + 28.0;
    }
}

/// A generous guess: fonts differ from reader to reader.
fn text_width(text: &str, size: f64) -> f64 {
    text.width() as f64 * size * 0.58
}
