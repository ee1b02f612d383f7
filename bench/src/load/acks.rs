//! `bench acks`: how long until a message is acked, at a steady rate.

use std::time::Duration;

use imflow_proto::frame::Format;

use super::fleet::{Fleet, FleetPlan};
use super::{WARM_UP, finish, open_loop, within};
use crate::client::Window;
use crate::failure::Failure;
use crate::fsync::RawFile;
use crate::machine::CpuUse;
use crate::report::{Report, grouped};
use crate::server::ServerArgs;
use crate::text;

/// Slower acks than this are too slow whatever the disk does.
const ALWAYS_ALLOWED: Duration = Duration::from_millis(10);
/// The raw loops run for so long before the load and after it.
const RAW: Duration = Duration::from_secs(3);
/// Bytes of text in a message, members of a conversation.
const TEXT_BYTES: usize = 256;
const MEMBERS: u32 = 5;

/// How long until a message is acked, at a steady rate (p99 is the figure)
///
/// Messages come due on a fixed schedule, whether or not earlier ones are acked, and a latency counts
/// from when its message was due: a server that stalls does not hide it. An ack means that fdatasync
/// has returned. Before and after the load, a loop without a server appends and syncs records at the
/// same rate to the same disk; the goal is p99 <= max(10 ms, 2 x its p99).
///
///   bench acks
///   bench acks --rate 20000 --seconds 60
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct AcksArgs {
    /// Messages a second
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Length of the measured load
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// WebSocket connections, each of another user
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(5..))]
    connections: u32,
}

impl Default for AcksArgs {
    fn default() -> Self {
        Self { rate: 5_000, seconds: 30, connections: 64 }
    }
}

pub(crate) fn run(server: &ServerArgs, args: &AcksArgs) -> Result<Report, Failure> {
    super::run(measure(server, args))
}

async fn measure(server: &ServerArgs, args: &AcksArgs) -> Result<Report, Failure> {
    let folder = server.folder()?;
    let mut file = RawFile::create(folder.path())?;
    let mut raw_rate = file.open_loop(args.rate, RAW)?;
    let mut raw_single = file.closed_loop(1, RAW / 2)?;

    let fleet = Fleet::start(server, plan(args.connections)).await?;
    let cpu = load(&fleet, args.rate, args.seconds).await?;
    fleet.delivered().await?;
    raw_rate.merge(&file.open_loop(args.rate, RAW)?);
    raw_single.merge(&file.closed_loop(1, RAW / 2)?);

    let title = format!(
        "acks: {} messages/s in an open loop, {} connections, {} s",
        grouped(args.rate),
        args.connections,
        args.seconds
    );
    let mut report = Report::new(title);
    {
        let window = fleet.crowd.window.borrow();
        let limit = ALWAYS_ALLOWED.max(2 * raw_rate.latencies.p99());
        let (found, wanted, met) = within(window.latencies.p99(), limit);
        report.goal("durable ack p99", found, format!("{wanted}, max(10 ms, 2 x raw)"), met);
        report.figure("durable ack", window.latencies.summary());
        report.figure(
            "acked",
            format!("{}/s", grouped((window.acked as f64 / window.seconds()) as u64)),
        );
    }
    let raw =
        [("raw append+fdatasync, same rate", &raw_rate), ("raw, one record a time", &raw_single)];
    Ok(finish(report, fleet, cpu, &raw))
}

/// Sends at a steady rate, first to warm up, until each message is acked.
pub(super) async fn load(fleet: &Fleet, rate: u64, seconds: u64) -> Result<CpuUse, Failure> {
    let begin = fleet.crowd.now_ns();
    let warm = begin + WARM_UP.as_nanos() as u64;
    *fleet.crowd.window.borrow_mut() = Window::new(warm, warm + seconds * 1_000_000_000);
    let cpu = fleet.cpu();
    let total = rate * (seconds + WARM_UP.as_secs());
    open_loop::in_turn(fleet, begin, rate, total).await?;
    let cpu = cpu.end();
    fleet.answered().await?;
    Ok(cpu)
}

/// Each session sends to five conversations and is pushed what its four fellows send.
pub(super) fn plan(connections: u32) -> FleetPlan {
    let circle = |first: u32| {
        (0..MEMBERS).map(|step| (first + step * step) % connections).collect::<Vec<_>>()
    };
    let distinct = |members: &Vec<u32>| {
        let mut sorted = members.clone();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == MEMBERS as usize
    };
    // Squares spread the fellows; with few connections they may meet, and neighbours will do.
    let members = |first: u32| {
        let spread = circle(first);
        if distinct(&spread) {
            spread
        } else {
            (0..MEMBERS).map(|step| (first + step) % connections).collect()
        }
    };
    FleetPlan {
        sessions: (0..connections).map(|user| (user, Format::Proto)).collect(),
        conversations: (0..connections).map(members).collect(),
        texts: text::plain(TEXT_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conversation_has_five_different_members() {
        for connections in [5, 6, 12, 16, 64, 1_000] {
            for mut members in plan(connections).conversations {
                members.sort_unstable();
                members.dedup();
                assert_eq!(members.len(), 5, "{connections}");
            }
        }
    }
}
