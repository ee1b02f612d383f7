//! A picture as a Mermaid flowchart: groups as boxes, what comes back as dotted arrows.

use std::fmt::Write as _;

use imflow_kind::Family;

use super::{Picture, escape};

impl Picture {
    /// The picture as Mermaid.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let (groups, nodes) = self.identifiers();
        for (group, id) in self.groups.iter().zip(groups) {
            let _ = writeln!(text, "  subgraph {id}[\"{}\"]", group.title);
            for &node in &group.nodes {
                let _ = writeln!(text, "    {}{}", nodes[node], self.shape(node));
            }
            text.push_str("  end\n");
        }
        for wire in &self.wires {
            let arrow = if wire.kind.is_dotted() { "-.->" } else { "-->" };
            let label = match self.label(wire) {
                label if label.is_empty() => label,
                label => format!("|{}|", label_text(&label)),
            };
            let _ = writeln!(text, "  {} {arrow}{label} {}", nodes[wire.from.0], nodes[wire.to.0]);
        }
        text
    }

    fn shape(&self, node: usize) -> String {
        let node = &self.nodes[node];
        let name = escape(&node.name);
        let label = if node.name == node.kind {
            name
        } else {
            format!("{name}<br/><small>{}</small>", node.kind)
        };
        let (open, close) = match node.family {
            Family::Source => ("([", "])"),
            Family::Operator => ("[", "]"),
            Family::Sink => ("[(", ")]"),
        };
        format!("{open}\"{label}\"{close}")
    }
}

/// Plain words stand as they are; all else in quotes.
fn label_text(label: &str) -> String {
    if label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && label != "end" {
        label.to_owned()
    } else {
        format!("\"{}\"", escape(label))
    }
}
