//! `bench search`: how long finding messages by their words takes while others write.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use imflow_proto::frame::Format;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::fleet::{Fleet, FleetPlan};
use super::{finish, open_loop, within};
use crate::client::Window;
use crate::failure::{Context as _, Failure};
use crate::histogram::{Histogram, show};
use crate::http::Http;
use crate::names;
use crate::report::{Report, grouped};
use crate::server::ServerArgs;
use crate::text::{self, Text};

const WANTED: Duration = Duration::from_millis(50);
const MEMBERS: u32 = 2;
/// Texts that are said over and over.
const TEXTS: usize = 50_000;
/// How long the index may take to come to the end of the log.
const PATIENCE: Duration = Duration::from_secs(600);
/// Texts of a scan beside it.
const SCANNED: usize = 1_000_000;

/// How long a search takes in a million messages while others write (p99 <= 50 ms is the figure)
///
/// The texts are the fortunes of Debian where they are installed (apt-get install fortunes fortunes-zh), else
/// made up: Chinese and Latin words, the k-th as frequent as 1 / k. First all messages are sent; when they can
/// be found, searches come due on a fixed schedule beside further messages: one or two words of some text, as
/// some user, over the control API. Every answer must say that it holds what was asked for.
///
///   bench search
///   bench search --messages 100000 --searches 50 --rate 5000
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct SearchArgs {
    /// Messages that are searched
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Messages a second while they are sent first
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    load_rate: u64,
    /// Messages a second beside the searches
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Searches a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    searches: u64,
    /// Length of the measured load
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// WebSocket connections, each of another user
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
    /// Decides what is said and what is asked
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder of the fortunes
    #[arg(long, value_name = "DIR", default_value = "/usr/share/games/fortunes")]
    fortunes: PathBuf,
}

pub(crate) fn run(server: &ServerArgs, args: &SearchArgs) -> Result<Report, Failure> {
    let mut server = server.clone();
    if server.config == Path::new("dataflow.toml") {
        // The shipped topology, with an index.
        server.config = PathBuf::from("examples/search/dataflow.toml");
    }
    super::run(measure(&server, args))
}

async fn measure(server: &ServerArgs, args: &SearchArgs) -> Result<Report, Failure> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let (texts, source) = match text::fortunes(&args.fortunes, args.seed) {
        Ok(texts) => (texts, "fortunes"),
        Err(_) => (made(&mut random), "made up"),
    };
    let questions = Arc::new(questions(&texts, args, &mut random));
    let (scan, scanned) = scan(&texts, &questions);
    let count = texts.len() as u64;
    let fleet = Fleet::start(server, plan(args.connections, texts)).await?;
    let crowd = Rc::clone(&fleet.crowd);

    let begin = crowd.now_ns();
    *crowd.window.borrow_mut() = Window::new(u64::MAX - 1, u64::MAX);
    open_loop::in_turn(&fleet, begin, args.load_rate, args.messages).await?;
    fleet.answered().await?;
    let lag = caught_up(&fleet).await?;

    let begin = crowd.now_ns();
    *crowd.window.borrow_mut() = Window::new(begin, begin + args.seconds * 1_000_000_000);
    let asking = Asking::start(&fleet, args, questions)?;
    let cpu = fleet.cpu();
    open_loop::in_turn(&fleet, begin, args.rate, args.rate * args.seconds).await?;
    let asked = asking.stop()?;
    let cpu = cpu.end();
    fleet.answered().await?;
    fleet.delivered().await?;
    let lag_at_end = caught_up(&fleet).await?;
    let bytes = fleet.server().folder_bytes("search");

    let mut report = Report::new(format!(
        "search: {} messages, {} searches/s beside {} messages/s, {} s",
        grouped(args.messages),
        grouped(args.searches),
        grouped(args.rate),
        args.seconds
    ));
    {
        let (found, wanted, met) = within(asked.latencies.p99(), WANTED);
        report.goal("search p99", found, wanted, met);
        report.figure("a search", asked.latencies.summary());
        report.figure("messages in an answer", format!("{:.1}", asked.mean_items()));
        report.figure("without any", grouped(asked.empty));
        let scan = format!("{} for {} texts in memory", show(scan), grouped(scanned as u64));
        report.figure("a scan of all texts, one thread", scan);
        let (indexed, log) = (grouped(bytes >> 20), grouped(fleet.server().log_bytes() >> 20));
        report.figure("index", format!("{indexed} MiB, beside {log} MiB of log"));
        report.figure("texts", format!("{} {source}", grouped(count)));
        report.figure("index behind the last ack", format!("{} after the load", show(lag)));
        report.figure("and after the searches", show(lag_at_end));
        report.figure("durable ack beside searches", crowd.window.borrow().latencies.summary());
    }
    Ok(finish(report, fleet, cpu, &[]))
}

/// Waits until everything that was acked can be found; how long after the last ack.
async fn caught_up(fleet: &Fleet) -> Result<Duration, Failure> {
    let begin = Instant::now();
    let (key, mut http) =
        (fleet.server().tokens()?.admin()?, Http::connect(fleet.server().address)?);
    loop {
        let answer = http.get_as("/v1/search?query=zz&user=u0", &key)?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 {
            return Err(Failure::new(format!("a search was answered {}: {text}", answer.status)));
        }
        if text.contains("\"complete\":true") {
            return Ok(Duration::from_nanos(fleet.crowd.now_ns() - fleet.crowd.last_ack_ns()));
        }
        if begin.elapsed() > PATIENCE {
            return Err(Failure::new(format!("the index is not complete after {PATIENCE:?}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A thread that asks.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<Asked, Failure>>,
}

#[derive(Default)]
struct Asked {
    latencies: Histogram,
    items: u64,
    empty: u64,
}

impl Asked {
    fn mean_items(&self) -> f64 {
        self.items as f64 / self.latencies.count().max(1) as f64
    }
}

impl Asking {
    fn start(
        fleet: &Fleet,
        args: &SearchArgs,
        questions: Arc<Vec<String>>,
    ) -> Result<Self, Failure> {
        let stop = Arc::<AtomicBool>::default();
        let (key, address) = (fleet.server().tokens()?.admin()?, fleet.server().address);
        let (every, users) = (Duration::from_secs(1) / args.searches as u32, args.connections);
        let is_over = Arc::clone(&stop);
        let ask = move || {
            let (mut http, mut asked) = (Http::connect(address)?, Asked::default());
            let mut due = Instant::now();
            for (turn, query) in (0u32..).zip(questions.iter().cycle()) {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                due += every;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let user = names::user(turn % users);
                let answer = http.get_as(&format!("/v1/search?user={user}&query={query}"), &key)?;
                asked.latencies.record(due.elapsed().as_nanos() as u64);
                let text = String::from_utf8_lossy(&answer.body);
                if answer.status != 200 {
                    return Err(Failure::new(format!(
                        "a search was answered {}: {text}",
                        answer.status
                    )));
                }
                let items = text.matches("\"snippet\":").count() as u64;
                asked.items += items;
                asked.empty += u64::from(items == 0);
            }
            Ok(asked)
        };
        let thread = std::thread::Builder::new().name("searches".to_owned()).spawn(ask);
        Ok(Self { stop, thread: thread.context(|| "starting the searches".to_owned())? })
    }

    fn stop(self) -> Result<Asked, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Failure::new("the searches ended with a panic"))?
    }
}

/// One or two words of some text each, as they stand in an address.
fn questions(texts: &[Text], args: &SearchArgs, random: &mut StdRng) -> Vec<String> {
    let mut questions = Vec::new();
    while questions.len() < (args.searches * args.seconds) as usize {
        let Some(Text { text, .. }) = texts.choose(random) else { break };
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| word.len() > 2).collect();
        let some = words.choose_multiple(random, 1 + questions.len() % 2);
        // Two characters where there are no spaces.
        let part = |word: &&str| match text::is_chinese(word) {
            true => word.chars().take(2).collect(),
            false => (*word).to_owned(),
        };
        let question: Vec<String> = some.map(part).collect();
        if !question.is_empty() {
            questions.push(escaped(&question.join(" ")));
        }
    }
    questions
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte.is_ascii_alphanumeric() {
            true => escaped.push(byte.into()),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}

/// The limit of whoever keeps no index: looking for a few letters in every text, all of them in memory.
fn scan(texts: &[Text], questions: &[String]) -> (Duration, usize) {
    let begin = Instant::now();
    let word = questions.first().map_or("zz", String::as_str);
    let found = texts.iter().cycle().take(SCANNED).filter(|text| text.text.contains(word)).count();
    std::hint::black_box(found);
    (begin.elapsed(), SCANNED)
}

/// Texts of made-up words in either script, the k-th as frequent as 1 / k.
fn made(random: &mut StdRng) -> Vec<Text> {
    const WORDS: usize = 20_000;
    let latin = |random: &mut StdRng| -> String {
        let syllables = ["ka", "to", "mi", "re", "sol", "an", "der", "vi", "lu", "pe"];
        (0..random.random_range(2..5)).map(|_| *syllables.choose(random).unwrap_or(&"ka")).collect()
    };
    let chinese = |random: &mut StdRng| -> String {
        // The two thousand characters that come first are the frequent ones here.
        let one = |random: &mut StdRng| char::from_u32(0x4e00 + random.random_range(0..2_000));
        (0..random.random_range(1..4)).filter_map(|_| one(random)).collect()
    };
    let vocabulary: Vec<(String, String)> =
        (0..WORDS).map(|_| (latin(random), chinese(random))).collect();
    let frequent = |random: &mut StdRng| {
        let place = (WORDS as f64).powf(random.random::<f64>()) as usize;
        &vocabulary[place.min(WORDS - 1)]
    };
    let text = |random: &mut StdRng| match random.random_bool(0.5) {
        true => (0..random.random_range(4..20)).map(|_| frequent(random).0.clone() + " ").collect(),
        false => (0..random.random_range(4..20)).map(|_| frequent(random).1.clone()).collect(),
    };
    (0..TEXTS).map(|_| Text::new(text(random))).collect()
}

/// Pairs of neighbours: the load is the writing and the searching, not the fan-out.
fn plan(connections: u32, texts: Vec<Text>) -> FleetPlan {
    let pair = |first: u32| (0..MEMBERS).map(|step| (first + step) % connections).collect();
    FleetPlan {
        sessions: (0..connections).map(|user| (user, Format::Proto)).collect(),
        conversations: (0..connections).map(pair).collect(),
        texts,
    }
}
