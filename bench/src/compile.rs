//! `bench check`: how long it takes to find every mistake in a large topology.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use imflow_topology::{Registry, compile};

use crate::failure::{Context as _, Failure};
use crate::registry::registry;
use crate::report::{Report, grouped};

/// Nodes beside those of the shipped file, and the longest that a check may take.
const SIZES: [(u32, Duration); 2] =
    [(1_000, Duration::from_millis(50)), (10_000, Duration::from_secs(1))];

/// Checks of large generated topologies
///
/// Adds filters, chained and side by side, and files to the topology, and compiles it as `imflow check`
/// does. Figures: 1,000 nodes <= 50 ms, 10,000 nodes <= 1 s (p50).
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// Checks of each size
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

impl Default for CheckArgs {
    fn default() -> Self {
        Self { runs: 20 }
    }
}

pub(crate) fn run(config: &Path, args: &CheckArgs) -> Result<Report, Failure> {
    let base = std::fs::read_to_string(config)
        .context(|| format!("reading {}; name a topology with --config FILE", config.display()))?;
    let registry = registry();
    let mut report = Report::new("check: large generated topologies");
    for (nodes, wanted) in SIZES {
        let right = generated(&base, nodes, "1 < 2");
        // Each node with a mistake is the worst that a check meets.
        let wrong = generated(&base, nodes, "1 < ");
        let what = format!("{} nodes, p50 of {}", grouped(nodes.into()), args.runs);
        let p50 = p50(&right, true, args.runs, &registry)?;
        let bound = format!("<= {} ms", wanted.as_millis());
        report.goal(&what, show(p50), bound, p50 <= wanted);
        let p50 = self::p50(&wrong, false, args.runs, &registry)?;
        report.figure(&format!("{} nodes with mistakes", grouped(nodes.into())), show(p50));
    }
    Ok(report)
}

fn show(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// Four of five are filters, in chains of a hundred; the fifth is a file.
fn generated(base: &str, nodes: u32, predicate: &str) -> String {
    let mut text = base.to_owned();
    for n in 0..nodes {
        let input = match n.checked_sub(1) {
            Some(before) if n % 100 > 0 && before % 5 != 4 => format!("n{before}"),
            _ => "fanout.stats".to_owned(),
        };
        let _ = if n % 5 == 4 {
            let table = format!("[sinks.n{n}]\nkind = \"file\"\npath = \"{n}.ndjson\"");
            writeln!(text, "\n{table}\ninputs = [\"{input}\"]")
        } else {
            let table = format!("[operators.n{n}]\nkind = \"filter\"\nwhere = \"{predicate}\"");
            writeln!(text, "\n{table}\ninputs = [\"{input}\"]")
        };
    }
    text
}

fn p50(text: &str, is_right: bool, runs: u32, registry: &Registry) -> Result<Duration, Failure> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let begin = Instant::now();
        let compiled = compile("generated.toml", text, &[], registry);
        let report = compiled.as_ref().err().map(|mistakes| mistakes.render(false));
        times.push(begin.elapsed());
        if let (Some(report), true) = (&report, is_right) {
            return Err(Failure::new(format!("the generated topology has mistakes:\n{report}")));
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
