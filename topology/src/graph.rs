//! A picture of a plan, as Mermaid.

use std::fmt::Write as _;

use imflow_kind::Family;

use crate::plan::{EdgeKind, Plan, Stage};

/// The graph as a Mermaid flowchart: stages as boxes, feedback and completions as dotted arrows.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    for (title, family) in [("sources", Family::Source), ("sinks", Family::Sink)] {
        let nodes = plan.nodes.iter().filter(|n| n.kind.description.family == family);
        group(&mut text, title, nodes.map(|n| (n.name.as_str(), n.kind.description.name, family)));
    }
    for stage in Stage::ALL {
        let operators =
            plan.order.iter().filter(|id| plan.stages[**id] == stage).map(|id| &plan.nodes[*id]);
        let mut operators = operators.peekable();
        if operators.peek().is_none() {
            continue;
        }
        group(
            &mut text,
            &format!("{} stage", stage.name()),
            operators.map(|n| (n.name.as_str(), n.kind.description.name, Family::Operator)),
        );
    }
    for edge in &plan.edges {
        let (from, to) = (&plan.nodes[edge.from.0], &plan.nodes[edge.to.0]);
        let from_sink = from.kind.description.family == Family::Sink;
        let arrow = if edge.kind == EdgeKind::Feedback || from_sink { "-.->" } else { "-->" };
        let port = if edge.from.1 == 0 {
            String::new()
        } else {
            format!("|{}|", from.outputs[edge.from.1].name)
        };
        let _ = writeln!(text, "  {} {arrow}{port} {}", from.name, to.name);
    }
    text
}

fn group<'a>(
    text: &mut String,
    title: &str,
    nodes: impl Iterator<Item = (&'a str, &'a str, Family)>,
) {
    let _ = writeln!(text, "  subgraph {}[\"{title}\"]", title.replace(' ', "_"));
    for (name, kind, family) in nodes {
        let label = if name == kind {
            name.to_owned()
        } else {
            format!("{name}<br/><small>{kind}</small>")
        };
        let (open, close) = match family {
            Family::Source => ("([", "])"),
            Family::Operator => ("[", "]"),
            Family::Sink => ("[(", ")]"),
        };
        let _ = writeln!(text, "    {name}{open}\"{label}\"{close}");
    }
    text.push_str("  end\n");
}
