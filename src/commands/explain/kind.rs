//! The page of a kind, from its description alone.

use imflow_kind::{ActionValue, Description, Key, Limit, Metric, Opt, Port, State};
use imflow_topology::{expected, role_phrase};

use super::page::{Block, Entry, Page};

pub fn page(kind: &Description) -> Page {
    let summary = format!("This kind of {} {}.", kind.family.word(), kind.summary);
    let mut blocks = vec![Block::Text(format!("{summary}\n\n{}", kind.doc.trim()))];
    section(&mut blocks, "Inputs", &["port", "records", "meaning"], ports(kind.inputs, true));
    let mut outputs = ports(kind.outputs, false);
    outputs.extend(kind.outputs_from.map(|option| Entry {
        name: "…".to_owned(),
        note: "as the main input".to_owned(),
        meaning: format!("one for each key of the option `{option}`"),
    }));
    section(&mut blocks, "Outputs", &["port", "records", "meaning"], outputs);
    let options = kind.options.iter().map(option).collect();
    section(&mut blocks, "Options", &["option", "takes", "meaning"], options);
    let limits = kind.limits.iter().map(|limit| Entry {
        name: limit.what.to_owned(),
        note: limit.bound.to_owned(),
        meaning: limit.policy.to_owned() + &told_by(kind, limit),
    });
    section(
        &mut blocks,
        "Limits, and what happens at them",
        &["of", "limit", "at the limit"],
        limits.collect(),
    );
    section(
        &mut blocks,
        "Metrics, with the label `node_name`",
        METRIC_COLUMNS,
        kind.metrics.iter().map(metric).collect(),
    );
    section(&mut blocks, "In a test", &["key", "takes", "meaning"], acts(kind));
    blocks.push(Block::Heading("Where it runs, what it keeps".to_owned()));
    blocks.push(Block::Text(standing(kind)));
    if !kind.example.is_empty() {
        blocks.push(Block::Heading("Example".to_owned()));
        blocks.push(Block::Example(kind.example.trim().to_owned()));
    }
    Page { title: kind.name.to_owned(), blocks }
}

fn section(
    blocks: &mut Vec<Block>,
    title: &str,
    columns: &'static [&'static str],
    rows: Vec<Entry>,
) {
    if !rows.is_empty() {
        blocks.push(Block::Heading(title.to_owned()));
        blocks.push(Block::Entries { columns, rows });
    }
}

fn ports(ports: &[Port], inputs: bool) -> Vec<Entry> {
    let entry = |(index, port): (usize, &Port)| {
        let types: Vec<_> = port.types.iter().map(|record| format!("{record:?}")).collect();
        let types = match (types.is_empty(), inputs) {
            (true, true) => "any".to_owned(),
            (true, false) => "as the main input".to_owned(),
            (false, _) => types.join(" or "),
        };
        let marks = [
            (index == 0, "main"),
            (inputs && !port.required, "optional"),
            (port.feedback, "may be fed from downstream"),
            (port.faults, "counted in the log"),
        ];
        let marks = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| format!(", {mark}"));
        Entry {
            name: format!("`{}`", port.name),
            note: types + &marks.collect::<String>(),
            meaning: port.doc.trim_end_matches('.').to_owned(),
        }
    };
    ports.iter().enumerate().map(entry).collect()
}

fn option(option: &Opt) -> Entry {
    let default = match option.default {
        None => "required".to_owned(),
        Some("") => "default: none".to_owned(),
        Some(default) => format!("default {default}"),
    };
    Entry {
        name: format!("`{}`", option.name),
        note: format!("{}; {default}", expected(option.kind)),
        meaning: option.doc.trim_end_matches('.').to_owned(),
    }
}

/// The metrics that tell how near a limit is, or how often it was met.
fn told_by(kind: &Description, limit: &Limit) -> String {
    let metrics = kind.metrics.iter().filter(|metric| metric.tells.contains(&limit.what));
    let names: Vec<_> = metrics.map(|metric| format!("`{}`", metric.shown())).collect();
    if names.is_empty() { String::new() } else { format!(" (see {})", names.join(", ")) }
}

/// Metrics alone.
pub fn metrics(title: &str, metrics: &[Metric]) -> Page {
    let rows = metrics.iter().map(metric).collect();
    Page { title: title.to_owned(), blocks: vec![Block::Entries { columns: METRIC_COLUMNS, rows }] }
}

const METRIC_COLUMNS: &[&str] = &["metric", "shape", "meaning"];

fn metric(metric: &Metric) -> Entry {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!(" by {}", labels.join(", ")) };
    Entry {
        name: format!("`{}`", metric.shown()),
        note: metric.shape.word().to_owned() + &labels,
        meaning: metric.doc.to_owned(),
    }
}

/// What a step of a test does at it, and what an expectation sees.
fn acts(kind: &Description) -> Vec<Entry> {
    let Some(script) = kind.script else { return Vec::new() };
    let entry = |name: &str, note: &str, meaning: &str| Entry {
        name: format!("`{name}`"),
        note: note.to_owned(),
        meaning: meaning.to_owned(),
    };
    let acts = script.actions.iter().map(|action| {
        let takes = match action.value {
            ActionValue::Text => "a text",
            ActionValue::Table => "a table",
            ActionValue::Flag => "`true`",
        };
        let body = if action.body { ", and `body`" } else { "" };
        entry(action.name, &format!("{takes}{body}"), action.doc)
    });
    let actor = script.actor.map(|actor| entry("as", actor.form, "who acts, or whose eyes see"));
    let sees = entry(script.sees, "a list of tables", "what an expectation sees");
    actor.into_iter().chain(acts).chain([sees]).collect()
}

/// The stage, the state and the roles, as sentences.
fn standing(kind: &Description) -> String {
    let key = match kind.key {
        Key::Conversation => {
            "Runs in the conversation stage: one worker owns all records of a conversation."
                .to_owned()
        }
        Key::User => "Runs in the user stage: one worker owns all records of a user.".to_owned(),
        Key::Inherit => "Runs in the stage of its inputs.".to_owned(),
        Key::Grouped(option) => format!(
            "Keeps state for each group of `{option}`: in the stage of its inputs where no group spans two of \
             its workers, else in the global stage."
        ),
    };
    let state = match kind.state {
        State::None => "It keeps no state.",
        State::Log => "Its state is rebuilt from the log after a restart.",
        State::Volatile => "Its state describes the present and ends with the process.",
    };
    let roles: Vec<_> = kind.provides.iter().map(|role| role_phrase(*role)).collect();
    let roles = if roles.is_empty() {
        String::new()
    } else {
        format!(" Other nodes may name it where they want {}.", roles.join(" or "))
    };
    format!("{key} {state}{roles}")
}
