//! `bench history`: how long a page of a conversation, the latest or an old one, takes while others write.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use imflow_proto::frame::Format;

use super::fleet::{Fleet, FleetPlan};
use super::{WARM_UP, finish, open_loop, within};
use crate::client::{Crowd, Session, Window};
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::report::{Report, grouped};
use crate::server::ServerArgs;
use crate::text;

const WANTED: Duration = Duration::from_millis(5);
const WANTED_COLD: Duration = Duration::from_millis(50);
/// Messages in the page.
const PAGE: u32 = 100;
const MEMBERS: u32 = 2;
const TEXT_BYTES: usize = 256;

/// How long the latest 100 messages take to read while others write (p99 <= 5 ms is the figure)
///
/// Messages come due on a fixed schedule, and so do reads: each asks for the latest 100 messages of the
/// next conversation, and its latency counts from when it was due. Every page is checked against what was
/// acked.
///
/// With `--cold` so many messages are sent first, and each read begins at any of them: p99 <= 50 ms then.
///
///   bench history
///   bench history --cold 2000000
///   bench history --rate 5000 --reads 1000 --seconds 60
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct HistoryArgs {
    /// Messages a second
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Reads a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    reads: u64,
    /// Length of the measured load
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// WebSocket connections, each of another user
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
    /// Messages that are sent before, and read instead of the latest
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    cold: Option<u64>,
}

impl Default for HistoryArgs {
    fn default() -> Self {
        Self { rate: 20_000, reads: 200, seconds: 30, connections: 64, cold: None }
    }
}

pub(crate) fn run(server: &ServerArgs, args: &HistoryArgs) -> Result<Report, Failure> {
    super::run(measure(server, args))
}

async fn measure(server: &ServerArgs, args: &HistoryArgs) -> Result<Report, Failure> {
    let fleet = Fleet::start(server, plan(args.connections)).await?;
    let crowd = Rc::clone(&fleet.crowd);
    if let Some(messages) = args.cold {
        *crowd.window.borrow_mut() = Window::new(u64::MAX - 1, u64::MAX);
        open_loop::in_turn(&fleet, crowd.now_ns(), args.rate, messages).await?;
        fleet.answered().await?;
    }
    let begin = crowd.now_ns();
    let warm = begin + WARM_UP.as_nanos() as u64;
    *crowd.window.borrow_mut() = Window::new(warm, warm + args.seconds * 1_000_000_000);
    let reads = Rc::new(Reads::default());
    let readers = readers(&fleet, args.cold.is_some());
    let every = Duration::from_secs(1) / args.reads as u32;
    let reader =
        tokio::task::spawn_local(read_on(Rc::clone(&reads), Rc::clone(&crowd), readers, every));
    let cpu = fleet.cpu();
    let total = args.rate * (args.seconds + WARM_UP.as_secs());
    open_loop::in_turn(&fleet, begin, args.rate, total).await?;
    reader.abort();
    let cpu = cpu.end();
    fleet.answered().await?;
    fleet.delivered().await?;

    let mut report = Report::new(format!(
        "{}, {} reads/s beside {} messages/s, {} s",
        title(args.cold),
        grouped(args.reads),
        grouped(args.rate),
        args.seconds
    ));
    {
        let (window, latencies) = (crowd.window.borrow(), reads.latencies.borrow());
        let (what, wanted) = match args.cold {
            None => ("latest 100 p99", WANTED),
            Some(_) => ("cold page of 100, p99", WANTED_COLD),
        };
        let (found, wanted, met) = within(latencies.p99(), wanted);
        report.goal(what, found, wanted, met);
        report.figure("a page", latencies.summary());
        report.figure("messages in a page", format!("{:.1}", reads.mean_items()));
        report.figure("refused reads", grouped(*reads.refused.borrow()));
        report.figure(
            "acked",
            format!("{}/s", grouped((window.acked as f64 / window.seconds()) as u64)),
        );
        report.figure("durable ack", window.latencies.summary());
    }
    Ok(finish(report, fleet, cpu, &[]))
}

fn title(cold: Option<u64>) -> String {
    match cold {
        None => format!("history: the latest {PAGE} messages"),
        Some(messages) => format!("history: {PAGE} messages from any of {}", grouped(messages)),
    }
}

/// What the reads have come to.
#[derive(Default)]
struct Reads {
    latencies: RefCell<Histogram>,
    pages: RefCell<u64>,
    items: RefCell<u64>,
    refused: RefCell<u64>,
}

impl Reads {
    fn mean_items(&self) -> f64 {
        *self.items.borrow() as f64 / (*self.pages.borrow()).max(1) as f64
    }
}

/// Who reads a conversation.
struct Reader {
    session: Rc<Session>,
    /// Reads begin before this seq; `None`: at the latest page.
    cold: Option<u64>,
}

/// One session of each conversation.
fn readers(fleet: &Fleet, is_cold: bool) -> Vec<Rc<Reader>> {
    let check = fleet.crowd.check.borrow();
    let reader = |(conversation, of): (u32, &Vec<u32>)| {
        let session = Rc::clone(&fleet.sessions[of[0] as usize]);
        Rc::new(Reader { session, cold: is_cold.then(|| check.last_seq(conversation)) })
    };
    (0..).zip(&fleet.members).map(reader).collect()
}

/// Begins one read each `every`, whether or not earlier ones are answered.
async fn read_on(reads: Rc<Reads>, crowd: Rc<Crowd>, readers: Vec<Rc<Reader>>, every: Duration) {
    let mut due = tokio::time::interval(every);
    for turn in 0u32.. {
        let due = due.tick().await.into_std();
        let conversation = turn % readers.len() as u32;
        let reader = Rc::clone(&readers[conversation as usize]);
        let read = read(Rc::clone(&reads), Rc::clone(&crowd), reader, conversation, due);
        tokio::task::spawn_local(read);
    }
}

async fn read(
    reads: Rc<Reads>,
    crowd: Rc<Crowd>,
    reader: Rc<Reader>,
    conversation: u32,
    due: Instant,
) {
    let last = crowd.check.borrow().last_seq(conversation);
    let newest = last.saturating_sub(u64::from(PAGE));
    let after = match reader.cold {
        None => newest,
        Some(before) => rand::random_range(0..before.max(1)).min(newest),
    };
    let in_window = crowd.now_ns() >= crowd.window.borrow().from_ns;
    match reader.session.history(conversation, after, PAGE).await {
        Ok(page) => {
            if in_window {
                reads.latencies.borrow_mut().record(due.elapsed().as_nanos() as u64);
                *reads.pages.borrow_mut() += 1;
                *reads.items.borrow_mut() += page.items.len() as u64;
            }
            for (seq, print) in page.items {
                crowd.check.borrow_mut().read(conversation, seq, print);
            }
        }
        Err(_) => *reads.refused.borrow_mut() += 1,
    }
}

/// Pairs of neighbours: the load is the writing and the reading, not the fan-out.
fn plan(connections: u32) -> FleetPlan {
    let pair = |first: u32| (0..MEMBERS).map(|step| (first + step) % connections).collect();
    FleetPlan {
        sessions: (0..connections).map(|user| (user, Format::Proto)).collect(),
        conversations: (0..connections).map(pair).collect(),
        texts: text::plain(TEXT_BYTES),
    }
}
