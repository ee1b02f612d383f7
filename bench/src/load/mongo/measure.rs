//! The loads, and what they say.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::MongoArgs;
use super::copy::Copy;
use crate::failure::Failure;
use crate::histogram::show;
use crate::load::acks;
use crate::load::finish;
use crate::load::fleet::Fleet;
use crate::report::{Report, grouped};
use crate::server::ServerArgs;

/// Messages a second, or the ceiling of the server.
const WANTED: f64 = 5_000.0;
const RATIO: f64 = 1.2;
const COPY: &str = "bench_copy";
const CEILING: &str = "bench_ceiling";

pub(super) async fn measure(server: &ServerArgs, args: &MongoArgs) -> Result<Report, Failure> {
    let with = with_copy(server, args);
    let copy = Copy::connect(&args.uri, COPY).await?;
    copy.drop().await?;

    let fleet = Fleet::start(&with, acks::plan(args.connections)).await?;
    let begin = Instant::now();
    let cpu = acks::load(&fleet, args.rate, args.seconds).await?;
    let acked = Instant::now();
    let sent = fleet.crowd.check.borrow().acked;
    let there = copy.has(sent).await?;
    let sustained = sent as f64 / (there - begin).as_secs_f64();
    let behind = there.saturating_duration_since(acked);
    fleet.delivered().await?;

    let ceiling = Copy::connect(&args.uri, CEILING).await?;
    ceiling.drop().await?;
    let most = ceiling.fill_from(&copy).await?;
    ceiling.drop().await?;
    let pairs = pairs(server, &with, &copy, args).await?;
    copy.drop().await?;

    let mut report = Report::new(format!(
        "mongo: a copy of {} messages at {}/s, and {} pairs of {} s at {}/s",
        grouped(sent),
        grouped(args.rate),
        args.pairs,
        args.seconds,
        grouped(args.ack_rate)
    ));
    let wanted = WANTED.min(most);
    report.goal(
        "the copy sustains",
        format!("{}/s", grouped(sustained as u64)),
        format!(">= {}/s, min(5,000, the server's ceiling)", grouped(wanted as u64)),
        sustained >= wanted,
    );
    report.figure("the server's ceiling", format!("{}/s", grouped(most as u64)));
    report.figure("ratio of the two", format!("{:.2}", sustained / most));
    report.figure("behind the last ack", show(behind));
    let ratios: Vec<f64> = pairs.iter().map(Pair::ratio).collect();
    let median = median(ratios.clone());
    report.goal(
        "ack p99 with / without the copy",
        format!("{median:.2}"),
        format!("<= {RATIO}"),
        median <= RATIO,
    );
    let all: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    report.figure("each pair", all.join(" "));
    let shown = |of: fn(&Pair) -> Duration| {
        pairs.iter().map(|pair| show(of(pair))).collect::<Vec<_>>().join(" ")
    };
    report.figure("ack p99 with", shown(|pair| pair.with));
    report.figure("ack p99 without", shown(|pair| pair.without));
    let noise: Vec<f64> = pairs.iter().map(|pair| pair.without.as_secs_f64()).collect();
    let most = noise.iter().copied().fold(f64::MIN, f64::max);
    let least = noise.iter().copied().fold(f64::MAX, f64::min);
    report.figure("noise: largest / smallest without", format!("{:.2}", most / least));
    Ok(finish(report, fleet, cpu, &[]))
}

fn with_copy(server: &ServerArgs, args: &MongoArgs) -> ServerArgs {
    let mut with = server.clone();
    if with.config == Path::new("dataflow.toml") {
        // The shipped topology, with a copy.
        with.config = PathBuf::from("examples/mongodb/dataflow.toml");
    }
    with.sets.push(format!("sinks.archive.uri={:?}", args.uri));
    with.sets.push(format!("sinks.archive.database={COPY:?}"));
    with
}

struct Pair {
    with: Duration,
    without: Duration,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.with.as_secs_f64() / self.without.as_secs_f64()
    }
}

async fn pairs(
    server: &ServerArgs,
    with: &ServerArgs,
    copy: &Copy,
    args: &MongoArgs,
) -> Result<Vec<Pair>, Failure> {
    let mut pairs = Vec::new();
    for number in 0..args.pairs {
        copy.drop().await?;
        // In turns, so that what drifts touches both.
        let (first, second) = if number % 2 == 0 { (with, server) } else { (server, with) };
        let (first, second) = (p99(first, args).await?, p99(second, args).await?);
        let (with, without) = if number % 2 == 0 { (first, second) } else { (second, first) };
        pairs.push(Pair { with, without });
    }
    Ok(pairs)
}

/// The p99 of acks of one run.
async fn p99(server: &ServerArgs, args: &MongoArgs) -> Result<Duration, Failure> {
    let fleet = Fleet::start(server, acks::plan(args.connections)).await?;
    acks::load(&fleet, args.ack_rate, args.seconds).await?;
    fleet.delivered().await?;
    let p99 = fleet.crowd.window.borrow().latencies.p99();
    let broken = fleet.finish().broken;
    match broken.first() {
        None => Ok(p99),
        Some(broken) => Err(Failure::new(format!("a promise was broken in a pair: {broken}"))),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
