//! A plan for people: what is added (+), removed (-) and changed (~), and what that means.

use std::fmt::Write as _;

use imflow_topology::diff::{Action, Changes, Fate, NodeChange, Setting};

pub(super) fn text(changes: &Changes, old: &str, new: &str, colour: bool) -> String {
    let paint = Paint(colour);
    if changes.is_empty() {
        return format!("{new} is the same as {old}: nothing to do\n");
    }
    let mut text = format!("{new} against {old}\n\n");
    for (table, settings) in [("service", &changes.service), ("listeners", &changes.listeners)] {
        if !settings.is_empty() {
            let _ = writeln!(text, "  {} [{table}]", paint.changed("~"));
            settings.iter().for_each(|setting| text += &line(setting, &paint));
        }
    }
    for node in &changes.nodes {
        text += &node_text(node, &paint);
    }
    for (title, sentences) in [("Clients", &changes.clients), ("Look at", &changes.warnings)] {
        if !sentences.is_empty() {
            let _ = writeln!(text, "\n{title}");
            sentences.iter().for_each(|sentence| text += &format!("  - {sentence}\n"));
        }
    }
    text + "\n" + &summary(changes)
}

fn node_text(node: &NodeChange, paint: &Paint) -> String {
    let sign = match node.action {
        Action::Added => paint.added("+"),
        Action::Removed => paint.removed("-"),
        Action::Changed | Action::Renamed => paint.changed("~"),
        Action::Replaced => paint.changed("±"),
    };
    let was = node.was.as_ref().map_or_else(String::new, |was| format!(", was `{was}`"));
    let state = match &node.state {
        Fate::None => String::new(),
        Fate::Kept => "  state kept".to_owned(),
        Fate::Rebuilt(why) => format!("  state rebuilt from the log: {why}"),
        Fate::Empty(why) => format!("  begins without state: {why}"),
        Fate::Lost(why) => paint.removed(&format!("  state lost: {why}")),
    };
    let mut text = format!("  {sign} [{}s.{}] {}{was}{state}\n", node.family, node.name, node.kind);
    if node.action != Action::Removed {
        node.settings.iter().for_each(|setting| text += &line(setting, paint));
        for wire in &node.wires {
            let sign = if wire.added { paint.added("+") } else { paint.removed("-") };
            let _ = writeln!(text, "      {sign} {} <- {} ({})", wire.port, wire.from, wire.record);
        }
    }
    text
}

fn line(setting: &Setting, paint: &Paint) -> String {
    let name = &setting.name;
    match (&setting.old, &setting.new) {
        (Some(old), Some(new)) => format!("      {} {name} = {old} -> {new}\n", paint.changed("~")),
        (None, Some(new)) => format!("      {} {name} = {new}\n", paint.added("+")),
        (Some(old), None) => format!("      {} {name} = {old}\n", paint.removed("-")),
        (None, None) => String::new(),
    }
}

fn summary(changes: &Changes) -> String {
    let count = |is: &dyn Fn(&NodeChange) -> bool| changes.nodes.iter().filter(|n| is(n)).count();
    let added = count(&|node| node.action == Action::Added);
    let removed = count(&|node| node.action == Action::Removed);
    let changed = changes.nodes.len() - added - removed;
    let lost = count(&|node| matches!(node.state, Fate::Lost(_)) && node.action != Action::Removed);
    format!(
        "{added} added, {changed} changed, {removed} removed; state lost by {lost}. A restart with the new file applies it.\n"
    )
}

/// Colours, on terminals only.
struct Paint(bool);

impl Paint {
    fn with(&self, code: u8, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn added(&self, text: &str) -> String {
        self.with(32, text)
    }

    fn removed(&self, text: &str) -> String {
        self.with(31, text)
    }

    fn changed(&self, text: &str) -> String {
        self.with(33, text)
    }
}
