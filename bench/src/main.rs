//! Load driver and benchmarks of imflow.
//!
//! Each command starts a server of its own (`graph` runs the dataflow in this process), loads it, holds it to its promises from the outside, and
//! prints its figures with what is needed to judge them. It exits with 1 when a promise was broken, and
//! with 2 when there are no figures. Figures that miss their goal are said so, but fail nothing: they
//! depend on the machine.

mod check;
mod client;
mod compile;
mod failure;
mod fsync;
mod graph;
mod histogram;
mod http;
mod load;
mod log;
mod machine;
mod names;
mod operators;
mod registry;
mod report;
mod server;
mod text;
mod tokens;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use load::{acks, connections, fanout, history, mongo, replay, restart, search, throughput};
use report::Report;
use server::ServerArgs;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure imflow, and hold it to its promises while doing so.
///
/// Every run checks from the outside that each acked message reached each online member once and in
/// order, that seqs have no gap, and that a message sent again got the first one's answer. The driver
/// shares the machine with the server, so each report says how much of the CPU it took.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples (build the server first: cargo build --release):
  cargo run --release -p bench -- all
  cargo run --release -p bench -- acks --rate 5000 --seconds 30
  cargo run --release -p bench -- throughput --data /mnt/disk

Exit codes: 0 every promise kept, 1 a promise broken, 2 no figures.";

#[derive(Subcommand)]
enum Command {
    Acks(acks::AcksArgs),
    Throughput(throughput::ThroughputArgs),
    Replay(replay::ReplayArgs),
    Restart(restart::RestartArgs),
    History(history::HistoryArgs),
    Search(search::SearchArgs),
    Connections(connections::ConnectionsArgs),
    Fanout(fanout::FanoutArgs),
    Notify(fanout::notify::NotifyArgs),
    #[command(hide = true)]
    Ceiling(fanout::ceiling::CeilingArgs),
    Mongo(mongo::MongoArgs),
    Graph(graph::GraphArgs),
    Check(compile::CheckArgs),
    Operators(operators::OperatorsArgs),
    Log(log::LogArgs),
    /// Run all of them but `restart`, `search` and `mongo`, and print the figures that have a goal as a table
    All,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let server = &cli.server;
    let reports = match &cli.command {
        Command::Acks(args) => show(acks::run(server, args)),
        Command::Throughput(args) => show(throughput::run(server, args)),
        Command::Replay(args) => show(replay::run(server, args)),
        Command::Restart(args) => show(restart::run(server, args)),
        Command::History(args) => show(history::run(server, args)),
        Command::Search(args) => show(search::run(server, args)),
        Command::Connections(args) => show(connections::run(server, args)),
        Command::Notify(args) => show(fanout::notify::run(server, args)),
        Command::Fanout(args) => show(fanout::run(server, args)),
        Command::Ceiling(args) => fanout::ceiling::serve(args).map(|()| Vec::new()),
        Command::Mongo(args) => show(mongo::run(server, args)),
        Command::Graph(args) => show(graph::run(&server.config, args)),
        Command::Check(args) => show(compile::run(&server.config, args)),
        Command::Operators(args) => show(operators::run(&server.config, args)),
        Command::Log(args) => show(log::run(args)),
        Command::All => all(server),
    };
    match reports {
        Ok(reports) if reports.iter().all(|report| report.broken.is_empty()) => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("bench: promises were broken; see BROKEN above");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Prints a report as soon as it is there.
fn show(report: Result<Report, Failure>) -> Result<Vec<Report>, Failure> {
    let report = report?;
    println!("{report}");
    Ok(vec![report])
}

fn all(server: &ServerArgs) -> Result<Vec<Report>, Failure> {
    let mut reports = show(compile::run(&server.config, &compile::CheckArgs::default()))?;
    reports.extend(show(graph::run(&server.config, &graph::GraphArgs::default()))?);
    reports.extend(show(operators::run(&server.config, &operators::OperatorsArgs::default()))?);
    reports.extend(show(log::run(&log::LogArgs::default()))?);
    reports.extend(show(acks::run(server, &acks::AcksArgs::default()))?);
    reports.extend(show(throughput::run(server, &throughput::ThroughputArgs::default()))?);
    reports.extend(show(replay::run(server, &replay::ReplayArgs::default()))?);
    reports.extend(show(history::run(server, &history::HistoryArgs::default()))?);
    let rows: Vec<_> = reports.iter().flat_map(Report::rows).collect();
    println!("{}", report::table(&rows));
    Ok(reports)
}
