//! `bench graph`: the dataflow alone, without sockets and without a disk.

mod cast;
mod gateway;
mod handover;
mod launch;
mod load;
mod replies;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::histogram::show;
use crate::machine::{self, Threads};
use crate::report::{Report, grouped};
use cast::{Cast, Size};
use gateway::Gateway;
use launch::Graph;
use load::Load;

const WANTED: f64 = 1_500_000.0;
/// How long the machine's own hand-over is measured, before the open loop and after it.
const HANDOVER: Duration = Duration::from_secs(3);
const P99_WANTED: Duration = Duration::from_micros(100);

/// The dataflow alone: saturation, and latency at a modest rate
///
/// Runs the topology in this process with one worker. Only two kinds are replaced: `websocket` by a
/// source that sends messages made beforehand and counts what comes back, and `log` by its simulated
/// form, which commits to files in memory and indexes on the worker's own thread. Figures:
/// >= 1,500,000 messages/s, and p99 < 100 us at 10,000/s.
///
///   bench graph
///   bench graph --extra-operators 10
///   bench graph --conversations 100000 --members 3 --rounds 9
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct GraphArgs {
    /// Conversations
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,
    /// Members of each, all online
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..))]
    members: u32,
    /// Messages in one round; they are made before the clock runs
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Rounds before those that count: until tables and files have used memory once
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..1_000))]
    warm_up: u32,
    /// Rounds at full speed; the middle one counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Operators that let everything pass, put in a chain between `validate` and `dedup`
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..1_000))]
    extra_operators: u32,
    /// Messages a second of the open loop
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Length of the open loop
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

impl Default for GraphArgs {
    fn default() -> Self {
        Self {
            conversations: 10_000,
            members: 10,
            messages: 300_000,
            warm_up: 10,
            rounds: 5,
            extra_operators: 0,
            rate: 10_000,
            seconds: 10,
        }
    }
}

pub(crate) fn run(config: &Path, args: &GraphArgs) -> Result<Report, Failure> {
    let gateway = Arc::new(Gateway::default());
    let graph = Graph::launch(config, args.extra_operators, &gateway)?;
    let size = Size { conversations: args.conversations, members: args.members };
    let mut load = Load::new(Arc::clone(&gateway), Cast::new(size))?;
    load.populate()?;
    // Once each member in each conversation, so that every device is known.
    load.saturate(args.conversations * args.members)?;

    for _ in 0..args.warm_up {
        load.saturate(args.messages)?;
    }

    let mut rates = Vec::new();
    let mut threads = Threads::default();
    for _ in 0..args.rounds {
        let round = load.saturate(args.messages)?;
        rates.push(f64::from(args.messages) / round.elapsed.as_secs_f64());
        threads.add(&round.threads, round.elapsed);
    }
    rates.sort_by(f64::total_cmp);
    // Before and after: what else runs here comes and goes.
    let mut handover = handover::measure(args.rate, HANDOVER)?;
    let latencies = load.open_loop(args.rate, Duration::from_secs(args.seconds))?;
    handover.merge(&handover::measure(args.rate, HANDOVER)?);
    let broken = load.verify();
    graph.stop();

    let title = format!(
        "graph: {} conversations of {} members, all online, 256 B, one worker, {} extra operators",
        grouped(args.conversations.into()),
        args.members,
        args.extra_operators
    );
    let mut report = Report::new(title);
    let middle = rates[rates.len() / 2];
    let wanted = format!(">= {}/s", grouped(WANTED as u64));
    report.goal(
        "messages at full speed",
        format!("{}/s", grouped(middle as u64)),
        wanted,
        middle >= WANTED,
    );
    let spread =
        format!("{} to {}/s", grouped(rates[0] as u64), grouped(rates[rates.len() - 1] as u64));
    report.figure("  slowest and fastest round", spread);
    let p99 = latencies.p99();
    let what = format!("p99 at {}/s", grouped(args.rate));
    report.goal(&what, show(p99), format!("< {}", show(P99_WANTED)), p99 < P99_WANTED);
    report.figure("  latency", latencies.summary());
    report.figure("  a thread that only wakes up", handover.summary());
    report.figure("promises", load.summary());
    report.broken = broken;
    report.note(
        "an ack means",
        "the worker itself has put the record into a file in memory and indexed it",
    );
    report.note("CPU at full speed, in cores", threads.to_string());
    report.note("machine", machine::load());
    Ok(report)
}
