//! `bench restart`: how long a start takes after kill -9, with so many messages in the log.

use std::rc::Rc;

use imflow_proto::frame::Format;

use super::fleet::{Fleet, FleetPlan};
use crate::client::{Session, Window};
use crate::failure::Failure;
use crate::machine;
use crate::report::{Report, grouped};
use crate::server::ServerArgs;
use crate::text;

const WANTED_S: f64 = 5.0;
const CONNECTIONS: u32 = 64;
const CONVERSATIONS: u32 = 6_400;
const TEXT_BYTES: usize = 256;
const IN_FLIGHT: usize = 2_048;
const STEP_NS: u64 = 200_000_000;

/// How long a start takes after kill -9, until the service is ready (<= 5 s with 10 M messages)
///
/// Sends so many messages of 256 B as fast as they are acked, nobody else being online, kills the server
/// while it works on more, and starts it again on the same data, three times.
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct RestartArgs {
    /// Messages in the log
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
}

pub(crate) fn run(server: &ServerArgs, args: &RestartArgs) -> Result<Report, Failure> {
    super::run(measure(server, args))
}

async fn measure(server: &ServerArgs, args: &RestartArgs) -> Result<Report, Failure> {
    let fleet = Fleet::start(server, plan()).await?;
    let crowd = Rc::clone(&fleet.crowd);
    let begin = crowd.now_ns();
    *crowd.window.borrow_mut() = Window::new(begin, u64::MAX);
    crowd.send_on_ack_until_ns.set(u64::MAX);
    for number in 0..IN_FLIGHT {
        fleet.sessions[number % fleet.sessions.len()].send_next(begin);
    }
    fleet.sessions.iter().for_each(Session::flush);
    while crowd.window.borrow().acked < args.messages {
        fleet.until(crowd.now_ns() + STEP_NS).await?;
    }
    let acked = crowd.window.borrow().acked;
    let mut server = fleet.into_server();
    let mut starts = Vec::new();
    for _ in 0..3 {
        starts.push(server.crash_and_start()?.as_secs_f64());
    }
    let mut report = Report::new("restart: after kill -9 under load");
    let shown: Vec<_> = starts.iter().map(|seconds| format!("{seconds:.2}")).collect();
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    report.goal(
        &format!("{} messages, until ready", grouped(acked)),
        format!("{} s", shown.join(", ")),
        format!("<= {WANTED_S} s"),
        slowest <= WANTED_S,
    );
    report.note("log", format!("{} MiB", server.log_bytes() >> 20));
    report.note("machine", machine::load());
    Ok(report)
}

/// Conversations of one member, so that no push costs the driver's time.
fn plan() -> FleetPlan {
    FleetPlan {
        sessions: (0..CONNECTIONS).map(|user| (user, Format::Proto)).collect(),
        conversations: (0..CONVERSATIONS).map(|number| vec![number % CONNECTIONS]).collect(),
        texts: text::plain(TEXT_BYTES),
    }
}
