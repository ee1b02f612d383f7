//! Generated topologies: `check` never panics, what is valid by construction is accepted, what is
//! accepted starts, and every wire of it carries records.
//!
//! `IMFLOW_FUZZ_SECONDS` says how long texts are mutated (2 by default), `IMFLOW_FUZZ_SEED` begins with a
//! seed; a failure prints the seed that shows it again.

#![allow(clippy::unwrap_used, reason = "a failure is a verdict here")]

mod kinds;
mod wires;

use std::fmt::Write as _;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imflow_kind::{
    Clock, Family, Form, Injector, IoContext, Outboxes, RoleName, Roles, Source, StartError,
    SystemClock,
};
use imflow_proto::Record;
use imflow_topology::{Format, Plan, Registry, compile, start};

const SHIPPED: &str = include_str!("../dataflow.toml");

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }
}

/// The first seed, which a failing run printed.
fn first_seed() -> u64 {
    std::env::var("IMFLOW_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// The shipped topology and nodes that watch any of its outputs, or each other's.
fn generated(seed: u64) -> String {
    let mut dice = Dice(seed);
    let plan = compile("shipped.toml", SHIPPED, &[], &kinds::registry()).unwrap();
    let outputs = plan.nodes.iter().flat_map(|node| {
        (0..node.outputs.len()).map(|port| node.output_name(port)).collect::<Vec<_>>()
    });
    let mut outputs: Vec<_> = outputs.collect();
    let mut text = format!("{SHIPPED}\n");
    for number in 0..dice.roll(12) {
        let input = dice.pick(&outputs).clone();
        if dice.roll(3) == 0 {
            let table =
                format!("[sinks.file{number}]\nkind = \"file\"\npath = \"{number}.ndjson\"");
            let _ = writeln!(text, "{table}\ninputs = [\"{input}\"]\n");
        } else {
            let table = format!("[operators.filter{number}]\nkind = \"filter\"\nwhere = \"1 < 2\"");
            let _ = writeln!(text, "{table}\ninputs = [\"{input}\"]\n");
            outputs.extend([format!("filter{number}"), format!("filter{number}.dropped")]);
        }
    }
    text
}

#[test]
fn what_is_valid_by_construction_is_accepted_and_starts() {
    let folder = tempfile::tempdir().unwrap();
    for seed in first_seed()..first_seed() + 200 {
        let text = generated(seed);
        let registry = quiet_registry();
        let compiled = compile("generated.toml", &text, &data(folder.path()), &registry);
        let plan = compiled.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        if seed % 20 == 0 {
            run(plan, seed);
        }
    }
}

fn data(folder: &Path) -> [String; 2] {
    [format!("service.data={:?}", folder.display().to_string()), "service.workers=1".to_owned()]
}

/// Starts a plan and stops it.
fn run(plan: Plan, seed: u64) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match start(plan, &Roles::default(), &clock) {
        Ok(running) => running.stop(),
        Err(error) => panic!("seed {seed}: accepted by check, refused at start: {error}"),
    }
}

/// The texts that are mutated: good ones, and one for each code.
fn corpus() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/check");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut paths: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    paths.sort();
    // Includes would be looked for on the disk at mutated paths: the shipped file is put in their place.
    let text = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.replace("include = [\"../../../dataflow.toml\"]\n", "") + SHIPPED
    };
    paths.iter().map(text).chain([SHIPPED.to_owned()]).collect()
}

fn mutated(corpus: &[String], words: &[&str], seed: u64) -> String {
    let mut dice = Dice(seed);
    let mut text = dice.pick(corpus).clone();
    for _ in 0..=dice.roll(4) {
        mutate(&mut text, words, &mut dice);
    }
    text
}

fn mutate(text: &mut String, words: &[&str], dice: &mut Dice) {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let at = dice.roll(lines.len());
    let Some(line) = lines.get(at).cloned() else { return };
    match dice.roll(6) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(dice.roll(lines.len()), line),
        2 => {
            let other = dice.roll(lines.len());
            lines.swap(at, other);
        }
        3 | 4 => {
            // One word by another one of the corpus.
            let parts: Vec<_> = line.split_inclusive([' ', '"', '.', ',', '[', ']']).collect();
            let index = dice.roll(parts.len());
            let Some(part) = parts.get(index) else { return };
            let end = part.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            let word = format!("{}{end}", dice.pick(words));
            let parts = parts.iter().enumerate();
            lines[at] = parts.map(|(i, p)| if i == index { word.as_str() } else { p }).collect();
        }
        _ => {
            let mut characters: Vec<_> = line.chars().collect();
            let index = dice.roll(characters.len() + 1);
            characters
                .insert(index, *dice.pick(&['"', '[', ']', '{', '=', '$', '.', 'ü', '\\', '9']));
            lines[at] = characters.into_iter().collect();
        }
    }
    *text = lines.join("\n");
}

/// Compiles a text and writes each report. What is accepted is returned.
fn survive(text: &str, overrides: &[String], registry: &Registry) -> Option<Plan> {
    match compile("fuzz.toml", text, overrides, registry) {
        Ok(plan) => Some(plan),
        Err(mistakes) => {
            for format in [Format::Text, Format::Json, Format::Sarif, Format::Github] {
                mistakes.report(format, false);
            }
            None
        }
    }
}

#[test]
fn no_text_makes_check_panic_and_what_it_accepts_starts() {
    let seconds = std::env::var("IMFLOW_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(2));
    let folder = tempfile::tempdir().unwrap();
    let (corpus, registry) = (corpus(), quiet_registry());
    let words: Vec<_> = corpus
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| !word.is_empty())
        .collect();
    let (mut seed, mut accepted) = (first_seed(), 0);
    while Instant::now() < until {
        let text = mutated(&corpus, &words, seed);
        let overrides = data(folder.path());
        let survived =
            std::panic::catch_unwind(AssertUnwindSafe(|| survive(&text, &overrides, &registry)));
        let Ok(plan) = survived else { panic!("seed {seed} makes check panic:\n{text}") };
        if let Some(plan) = plan {
            accepted += 1;
            // Starting takes threads and files: a sample is enough.
            if accepted % 25 == 1 {
                run(plan, seed);
            }
        }
        seed += 1;
    }
    println!("seeds {} to {seed}, {accepted} accepted", first_seed());
    assert!(accepted > 0, "no mutated text was accepted: the mutations are too harsh");
}

/// The same kinds; sources bring nothing, and the log keeps its files in memory.
fn quiet_registry() -> Registry {
    let mut registry = kinds::registry();
    for mut kind in registry.kinds().to_vec() {
        if kind.description.family == Family::Source {
            kind.form = Form::Source(Arc::new(quiet));
            registry.replace(kind);
        } else if kind.description.provides.contains(&RoleName::Journal) {
            registry.replace(imflow_sinks::log::simulated_log());
        }
    }
    registry
}

fn quiet(context: &IoContext) -> Result<Box<dyn Source>, StartError> {
    context.roles.offer(&context.name, Arc::new(Quiet) as Arc<dyn Outboxes>);
    Ok(Box::new(Quiet))
}

struct Quiet;

impl Source for Quiet {
    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        Ok(())
    }
}

impl Outboxes for Quiet {
    fn deliver(&self, _records: Vec<Record>) {}
}
