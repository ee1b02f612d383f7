//! A picture in DOT, the language of Graphviz: `imflow graph --format dot | dot -Tpng`.

use std::fmt::Write as _;

use imflow_kind::Family;

use super::Picture;

impl Picture {
    /// The picture as DOT.
    pub fn dot(&self) -> String {
        let mut text = String::from(
            "digraph dataflow {\n  rankdir=LR; fontname=Helvetica; compound=true;\n  \
             node [fontname=Helvetica, shape=box, style=\"rounded,filled\", fillcolor=white];\n  \
             edge [fontname=Helvetica, fontsize=10];\n",
        );
        let (groups, nodes) = self.identifiers();
        for (group, id) in self.groups.iter().zip(groups) {
            let _ = writeln!(text, "  subgraph cluster_{id} {{");
            let _ =
                writeln!(text, "    label={}; style=rounded; color=gray;", quoted(&group.title));
            for &node in &group.nodes {
                let _ = writeln!(text, "    {} [{}];", nodes[node], self.attributes(node));
            }
            text.push_str("  }\n");
        }
        for wire in &self.wires {
            let mut attributes = Vec::new();
            let label = self.label(wire);
            if !label.is_empty() {
                attributes.push(format!("label={}", quoted(&label)));
            }
            if wire.kind.is_dotted() {
                // Not also `constraint=false`: with it Graphviz fails on some graphs ("trouble in init_rank").
                attributes.push("style=dotted".to_owned());
            }
            attributes.push(format!("tooltip={}", quoted(&self.sentence(wire))));
            let (from, to) = (&nodes[wire.from.0], &nodes[wire.to.0]);
            let _ = writeln!(text, "  {from} -> {to} [{}];", attributes.join(", "));
        }
        text.push_str("}\n");
        text
    }

    fn attributes(&self, node: usize) -> String {
        let node = &self.nodes[node];
        let label = if node.name == node.kind {
            node.name.clone()
        } else {
            format!("{}\n{}", node.name, node.kind)
        };
        let shape = match node.family {
            Family::Source => "shape=oval, style=filled, fillcolor=\"#e6f4ea\"",
            Family::Operator => "fillcolor=\"#e8f0fe\"",
            Family::Sink => "shape=cylinder, style=filled, fillcolor=\"#fef3e0\"",
        };
        format!("label={}, {shape}, tooltip={}", quoted(&label), quoted(node.summary))
    }
}

/// A text in DOT's quotes.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{text}\"")
}
