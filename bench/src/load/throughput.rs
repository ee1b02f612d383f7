//! `bench throughput`: how many durable messages a second, and how far the index lags behind.

use std::rc::Rc;
use std::time::{Duration, Instant};

use imflow_proto::frame::Format;
use rand::seq::index::sample;
use rand::{SeedableRng as _, rngs::StdRng};

use super::fleet::{Fleet, FleetPlan};
use super::{WARM_UP, finish, within};
use crate::client::{Session, Window};
use crate::failure::Failure;
use crate::fsync::RawFile;
use crate::report::{Report, grouped};
use crate::server::ServerArgs;
use crate::text;

const WANTED: f64 = 40_000.0;
const LAG_WANTED: Duration = Duration::from_secs(1);
/// A history that is not there after this is not late but lost.
const LAG_LIMIT: Duration = Duration::from_secs(30);
const MEMBERS: usize = 5;
const TEXT_BYTES: usize = 256;
const RAW: Duration = Duration::from_secs(2);

/// How many durable messages a second (>= 40,000 is the figure)
///
/// A closed loop: each ack is followed by the next send. Every message has 256 B of text and four
/// online receivers. At the end, the index lag is the time from the last ack until the history of
/// every conversation shows its last message.
///
///   bench throughput
///   bench throughput --in-flight 64 --connections 16 --seconds 20
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct ThroughputArgs {
    /// Sends that wait for their ack, over all connections
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: u32,
    /// WebSocket connections, each of another user
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(5..))]
    connections: u32,
    /// Conversations, of five members each
    #[arg(long, default_value_t = 640, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,
    /// Length of the measured load
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

impl Default for ThroughputArgs {
    fn default() -> Self {
        Self { in_flight: 512, connections: 64, conversations: 640, seconds: 60 }
    }
}

pub(crate) fn run(server: &ServerArgs, args: &ThroughputArgs) -> Result<Report, Failure> {
    super::run(measure(server, args))
}

async fn measure(server: &ServerArgs, args: &ThroughputArgs) -> Result<Report, Failure> {
    let folder = server.folder()?;
    let mut file = RawFile::create(folder.path())?;
    let raw_single = file.closed_loop(1, RAW)?;
    let raw_group = file.closed_loop(args.in_flight as usize, RAW)?;

    let fleet = Fleet::start(server, plan(args)).await?;
    let crowd = Rc::clone(&fleet.crowd);
    let begin = crowd.now_ns();
    let warm = begin + WARM_UP.as_nanos() as u64;
    let end = warm + args.seconds * 1_000_000_000;
    *crowd.window.borrow_mut() = Window::new(warm, end);
    crowd.send_on_ack_until_ns.set(end);
    for number in 0..args.in_flight as usize {
        fleet.sessions[number % fleet.sessions.len()].send_next(begin);
    }
    fleet.sessions.iter().for_each(Session::flush);
    fleet.until(warm).await?;
    let cpu = fleet.cpu();
    fleet.until(end).await?;
    let cpu = cpu.end();
    fleet.answered().await?;
    let lag = index_lag(&fleet).await?;
    fleet.delivered().await?;

    let title = format!(
        "throughput: {} in flight, {} connections, 256 B, 4 receivers, {} s",
        args.in_flight, args.connections, args.seconds
    );
    let mut report = Report::new(title);
    {
        let window = crowd.window.borrow();
        let rate = window.acked as f64 / window.seconds();
        let wanted = format!(">= {}/s", grouped(WANTED as u64));
        report.goal("durable acks", format!("{}/s", grouped(rate as u64)), wanted, rate >= WANTED);
        report.figure(
            "pushes",
            format!("{}/s", grouped((window.pushed as f64 / window.seconds()) as u64)),
        );
        report.figure("durable ack", window.latencies.summary());
    }
    let (found, wanted, met) = within(lag, LAG_WANTED);
    report.goal("index lag at the end", found, wanted, met);
    let raw = [
        ("raw append+fdatasync, one record", &raw_single),
        ("raw, a group as large as in flight", &raw_group),
    ];
    Ok(finish(report, fleet, cpu, &raw))
}

/// From the last ack until the last message of each conversation can be read.
async fn index_lag(fleet: &Fleet) -> Result<Duration, Failure> {
    let asked = Instant::now();
    let mut seen_ns = fleet.crowd.last_ack_ns();
    for (conversation, members) in (0u32..).zip(&fleet.members) {
        let last = fleet.crowd.check.borrow().last_seq(conversation);
        let session = &fleet.sessions[members[0] as usize];
        let mut found = last == 0;
        while !found {
            // A page that was refused is asked for again.
            if let Ok(page) = session.history(conversation, last - 1, 1).await {
                for (seq, print) in page.items {
                    fleet.crowd.check.borrow_mut().read(conversation, seq, print);
                    found |= seq == last;
                }
            }
            if !found && asked.elapsed() > LAG_LIMIT {
                let text = format!(
                    "the history of g{conversation} has no seq {last} {LAG_LIMIT:?} after its ack"
                );
                return Err(Failure::new(text));
            }
            if !found {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        seen_ns = fleet.crowd.now_ns();
    }
    Ok(Duration::from_nanos(seen_ns - fleet.crowd.last_ack_ns()))
}

fn plan(args: &ThroughputArgs) -> FleetPlan {
    let mut random = StdRng::seed_from_u64(5);
    let mut members = |_| {
        sample(&mut random, args.connections as usize, MEMBERS)
            .iter()
            .map(|user| user as u32)
            .collect()
    };
    FleetPlan {
        sessions: (0..args.connections).map(|user| (user, Format::Proto)).collect(),
        conversations: (0..args.conversations).map(&mut members).collect(),
        texts: text::plain(TEXT_BYTES),
    }
}
