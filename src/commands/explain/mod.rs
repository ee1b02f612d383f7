//! `imflow explain`: what a kind does and takes, and what a record type holds.
//!
//! A topic becomes a [`Page`](page::Page), and a page becomes text for a terminal or Markdown. The reference pages
//! of `docs/` are these pages.

mod code;
mod json;
mod kind;
mod markdown;
mod page;
mod record;
mod screen;
#[cfg(test)]
mod tests;

use clap::{Args, ValueEnum};
use imflow_kind::{Description, Family, Metric, RECORD_TYPES, did_you_mean};
use imflow_proto::RecordType;
use imflow_sources::LISTENER_METRICS;
use imflow_topology::{Code, Registry};

use crate::{Failure, assembly, terminal};
use page::{Block, Page};

/// Tell all there is to know of a kind, a record type or a code of `imflow check`
///
/// A kind: its options with their ranges and defaults, its ports with their record types, where
/// it runs, what it keeps, its limits and metrics, and an example. A record type: its fields, and who makes
/// and takes it.
///
///   imflow explain                             all that can be explained
///   imflow explain filter
///   imflow explain Committed                   a record type
///   imflow explain E017                        a code of `imflow check`
///   imflow explain operators                   all operators
///   imflow explain metrics                     what `GET /metrics` shows
///   imflow explain websocket --format json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct ExplainArgs {
    /// A kind, a record type, a code, or one of: sources, operators, sinks, records, metrics
    topic: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value = "terminal")]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Text, as wide as the terminal
    Terminal,
    Markdown,
    Json,
}

/// The families in the order of the file.
pub const FAMILIES: [Family; 3] = [Family::Source, Family::Operator, Family::Sink];

/// What can be explained.
enum Topic {
    Kind(&'static Description),
    Record(RecordType),
    /// All metrics of a kind.
    Metrics(String, &'static [Metric]),
}

pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let registry = assembly::registry();
    let Some(word) = &args.topic else { return terminal::print(&contents(&registry)) };
    if let Some(code) = Code::find(word) {
        return terminal::print(&code::page(code, args.format));
    }
    let (title, topics) = find(word, &registry)?;
    let text = match args.format {
        Format::Json => {
            let topics: Vec<_> = topics.iter().map(|topic| json::topic(topic, &registry)).collect();
            // One topic is an object; a group is a list, however long.
            match (&title, &topics[..]) {
                (None, [only]) => format!("{only:#}\n"),
                _ => format!("{:#}\n", serde_json::Value::from(topics)),
            }
        }
        Format::Markdown => markdown::show(&pages(title, &topics, &registry)),
        Format::Terminal => {
            let pages = pages(title, &topics, &registry);
            screen::show(&pages, terminal::width().min(110), terminal::colour())
        }
    };
    terminal::print(&text)
}

/// The topics of a word; of a group with its title.
fn find(word: &str, registry: &Registry) -> Result<(Option<String>, Vec<Topic>), Failure> {
    let kinds = || registry.kinds().iter().map(|kind| kind.description);
    if word == "records" {
        let records = RECORD_TYPES.iter().copied().map(Topic::Record).collect();
        return Ok((Some("Record types".to_owned()), records));
    }
    if word == "metrics" {
        let measuring = kinds().filter(|kind| !kind.metrics.is_empty());
        let of_kind = |kind: &'static Description| {
            let title = format!("The {} `{}`", kind.family.word(), kind.name);
            Topic::Metrics(title, kind.metrics)
        };
        let listeners = Topic::Metrics("Listeners".to_owned(), LISTENER_METRICS);
        let topics = [listeners].into_iter().chain(measuring.map(of_kind)).collect();
        return Ok((Some("Metrics".to_owned()), topics));
    }
    if let Some(family) = FAMILIES.into_iter().find(|family| format!("{}s", family.word()) == word)
    {
        let members = kinds().filter(|kind| kind.family == family).map(Topic::Kind).collect();
        return Ok((Some(family_title(family).to_owned()), members));
    }
    let mut topics: Vec<_> = kinds().filter(|kind| kind.name == word).map(Topic::Kind).collect();
    let records = RECORD_TYPES.iter().copied();
    topics.extend(records.filter(|record| format!("{record:?}") == word).map(Topic::Record));
    if topics.is_empty() { Err(unknown(word, registry)) } else { Ok((None, topics)) }
}

fn unknown(word: &str, registry: &Registry) -> Failure {
    let names = names(registry);
    // A record type in small letters is near enough, however short.
    let same = names.iter().find(|name| name.eq_ignore_ascii_case(word));
    let called = registry.kinds().iter().map(|k| k.description).find(|d| d.also.contains(&word));
    let help = match (same, called) {
        (Some(name), _) => Some(format!("did you mean `{name}`?")),
        (None, Some(kind)) => Some(format!("perhaps `{}`: it {}", kind.name, kind.summary)),
        (None, None) => did_you_mean(word, names.iter().map(String::as_str)),
    };
    let help = help.unwrap_or_else(|| "`imflow explain` lists what there is".to_owned());
    Failure::Usage(format!("`{word}` is no kind, no record type and no code; {help}"))
}

fn names(registry: &Registry) -> Vec<String> {
    let groups = FAMILIES.into_iter().map(|family| format!("{}s", family.word()));
    let kinds = registry.kinds().iter().map(|kind| kind.description.name.to_owned());
    let records = RECORD_TYPES.iter().map(|record| format!("{record:?}"));
    groups.chain(["records".to_owned(), "metrics".to_owned()]).chain(kinds).chain(records).collect()
}

/// What `imflow explain` says without a topic.
fn contents(registry: &Registry) -> String {
    let mut blocks = Vec::new();
    for family in FAMILIES {
        let kinds = registry.kinds().iter().map(|kind| kind.description);
        let names: Vec<_> =
            kinds.filter(|kind| kind.family == family).map(|kind| kind.name).collect();
        blocks.push(Block::Heading(format!("Kinds of {}s", family.word())));
        blocks.push(Block::Text(names.join(", ")));
    }
    let records: Vec<_> = RECORD_TYPES.iter().map(|record| format!("{record:?}")).collect();
    blocks.push(Block::Heading("Record types".to_owned()));
    blocks.push(Block::Text(records.join(", ")));
    blocks.push(Block::Heading("Groups".to_owned()));
    blocks.push(Block::Text("sources, operators, sinks, records, metrics".to_owned()));
    blocks.push(Block::Heading("Codes of mistakes".to_owned()));
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.id()).collect();
    blocks.push(Block::Text(codes.join(", ")));
    let title = "`imflow explain WORD` explains".to_owned();
    let page = Page { title, blocks };
    screen::show(&[page], terminal::width().min(110), terminal::colour())
}

fn pages(title: Option<String>, topics: &[Topic], registry: &Registry) -> Vec<Page> {
    let cover = title.map(|title| Page { title, blocks: Vec::new() });
    let page = |topic: &Topic| match topic {
        Topic::Kind(description) => kind::page(description),
        Topic::Record(record) => record::page(*record, registry),
        Topic::Metrics(title, metrics) => kind::metrics(title, metrics),
    };
    cover.into_iter().chain(topics.iter().map(page)).collect()
}

/// As a heading.
pub fn family_title(family: Family) -> &'static str {
    match family {
        Family::Source => "Sources",
        Family::Operator => "Operators",
        Family::Sink => "Sinks",
    }
}
