//! `bench notify`: a large, busy group beside one-to-one chats.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use imflow_proto::frame::Format;
use rand::Rng as _;
use serde::Deserialize;
use serde_json::json;

use super::{GROUP, SENDER, gather, now_ms};
use crate::client::{Herd, Window, text_frame, upgrade};
use crate::failure::{Context as _, Failure};
use crate::histogram::show;
use crate::load::fleet::{Fleet, FleetPlan};
use crate::load::{finish, open_loop};
use crate::report::{Report, grouped};
use crate::server::ServerArgs;
use crate::text;

const WANTED_RATIO: f64 = 2.0;
/// A pull is put off by a random part of this.
const JITTER: Duration = Duration::from_secs(1);
const TEXT_BYTES: usize = 256;
/// What the group says at a time, and the load takes to settle.
const SETTLE: Duration = Duration::from_secs(1);

/// A large group that is told of, beside one-to-one chats (ack p99 within 2 x of quiet is the figure)
///
/// The members of the group are told of its messages by notices, at most one a second each, and every one of
/// them really pulls, after a random part of a second, and checks that the page reaches the seq that it was told
/// of. Beside them one-to-one chats go on at a steady rate. Stretches in which the group talks and in which it
/// does not take turns; the figure is the median of the ratios of the chats' ack p99.
///
///   bench notify
///   bench notify --members 2000 --pairs 3
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct NotifyArgs {
    /// Members of the group, each connected
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=18_000))]
    members: u32,
    /// Messages a second in the group
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    group_rate: u64,
    /// Messages a second in the chats
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Length of each stretch
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// Stretches of either sort
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pairs: u64,
}

pub(crate) fn run(args: &ServerArgs, notify: &NotifyArgs) -> Result<Report, Failure> {
    crate::load::run(measure(args, notify))
}

async fn measure(args: &ServerArgs, notify: &NotifyArgs) -> Result<Report, Failure> {
    let chats = 32;
    let plan = FleetPlan {
        sessions: (0..2 * chats).map(|user| (user, Format::Proto)).collect(),
        conversations: (0..chats).map(|chat| vec![2 * chat, 2 * chat + 1]).collect(),
        texts: text::plain(TEXT_BYTES),
    };
    let fleet = Fleet::start(args, plan).await?;
    let herd = gather(fleet.server(), notify.members, "AUTO")?;
    let token = fleet.server().tokens()?.client(SENDER, "d")?;
    let sender = upgrade(fleet.server().address, &token)?;
    let shared = Arc::new(Shared::default());
    let thread = {
        let (shared, rate) = (Arc::clone(&shared), notify.group_rate);
        std::thread::spawn(move || pull(herd, sender, rate, &shared))
    };
    std::thread::sleep(SETTLE);
    let cpu = fleet.cpu();
    let (mut pairs, mut quiet_p99, mut busy_p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..notify.pairs {
        let quiet = stretch(&fleet, notify, &shared, false).await?;
        let busy = stretch(&fleet, notify, &shared, true).await?;
        pairs.push(busy.as_secs_f64() / quiet.as_secs_f64());
        quiet_p99.push(quiet);
        busy_p99.push(busy);
    }
    let cpu = cpu.end();
    shared.stops.store(true, Ordering::Release);
    let pulled = thread.join().map_err(|_| Failure::new("the herd's thread has panicked"))??;
    fleet.delivered().await?;
    let mut report = Report::new(format!(
        "notify: a group of {} at {} messages/s beside {} chats at {}/s",
        grouped(u64::from(notify.members)),
        notify.group_rate,
        chats,
        grouped(notify.rate)
    ));
    pairs.sort_by(f64::total_cmp);
    quiet_p99.sort_unstable();
    busy_p99.sort_unstable();
    let ratio = pairs[pairs.len() / 2];
    report.goal(
        "chats' ack p99, busy / quiet",
        format!("{ratio:.2} ({:.2} to {:.2})", pairs[0], pairs[pairs.len() - 1]),
        format!("<= {WANTED_RATIO:.1}"),
        ratio <= WANTED_RATIO,
    );
    let noise = quiet_p99[quiet_p99.len() - 1].as_secs_f64() / quiet_p99[0].as_secs_f64();
    let median = |all: &[Duration]| show(all[all.len() / 2]);
    report.figure(
        "ack p99, quiet and busy",
        format!("{} and {}", median(&quiet_p99), median(&busy_p99)),
    );
    report.figure("noise: quiet p99, most / least", format!("{noise:.2}"));
    report.figure(
        "notices, pulls, messages pulled",
        format!(
            "{}, {}, {}",
            grouped(pulled.notices),
            grouped(pulled.pulls),
            grouped(pulled.messages)
        ),
    );
    report.figure("pulls behind, most members", grouped(pulled.most_behind));
    let mut report = finish(report, fleet, cpu, &[]);
    report.broken.extend(pulled.broken);
    Ok(report)
}

/// One stretch of the chats; their ack p99.
async fn stretch(
    fleet: &Fleet,
    notify: &NotifyArgs,
    shared: &Shared,
    busy: bool,
) -> Result<Duration, Failure> {
    shared.talks.store(busy, Ordering::Release);
    let settle = SETTLE.as_secs() * notify.rate;
    open_loop::in_turn(fleet, fleet.crowd.now_ns(), notify.rate, settle).await?;
    let begin = fleet.crowd.now_ns();
    *fleet.crowd.window.borrow_mut() = Window::new(begin, begin + notify.seconds * 1_000_000_000);
    open_loop::in_turn(fleet, begin, notify.rate, notify.rate * notify.seconds).await?;
    fleet.answered().await?;
    let p99 = fleet.crowd.window.borrow().latencies.p99();
    Ok(p99)
}

/// Between the driver's thread and the herd's.
#[derive(Default)]
struct Shared {
    talks: AtomicBool,
    stops: AtomicBool,
    said: AtomicU64,
}

/// What the herd did.
#[derive(Default)]
struct Pulled {
    notices: u64,
    pulls: u64,
    messages: u64,
    most_behind: u64,
    broken: Vec<String>,
}

/// One member of the herd.
#[derive(Clone, Default)]
struct Member {
    /// The last seq that it has, and that it was told of.
    seq: u64,
    told: u64,
    pulls_at: Option<Instant>,
    /// A pull without an answer.
    asked: bool,
}

#[derive(Deserialize)]
struct Line {
    push: Option<PushLine>,
    messages: Option<PageLine>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct PushLine {
    notify: Option<NotifyLine>,
    message: Option<SeqLine>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NotifyLine {
    up_to_seq: u64,
}

#[derive(Deserialize)]
struct SeqLine {
    seq: u64,
}

#[derive(Deserialize)]
struct PageLine {
    items: Vec<SeqLine>,
}

/// The group talks, and its members pull, until the run is over.
fn pull(
    mut herd: Herd,
    mut sender: std::net::TcpStream,
    rate: u64,
    shared: &Shared,
) -> Result<Pulled, Failure> {
    let mut members = vec![Member::default(); herd.len()];
    let (mut pulled, base) = (Pulled::default(), now_ms());
    let (mut next, mut said) = (Instant::now(), 0_u64);
    let mut due: std::collections::BinaryHeap<std::cmp::Reverse<(Instant, usize)>> =
        std::collections::BinaryHeap::new();
    while !shared.stops.load(Ordering::Acquire) {
        let now = Instant::now();
        if shared.talks.load(Ordering::Acquire) && now >= next {
            next = now.max(next + Duration::from_secs(1) / rate as u32);
            said += 1;
            say(&mut sender, said, base)?;
            shared.said.store(said, Ordering::Relaxed);
        }
        let mut told = Vec::new();
        herd.read(Duration::from_millis(1), |number, data| {
            told.push((number, serde_json::from_slice::<Line>(data)));
        })?;
        for (number, line) in told {
            let line = line.context(|| "reading what a member was sent".to_owned())?;
            hear(&mut members[number], number, line, &mut pulled, &mut due);
        }
        while due.peek().is_some_and(|first| first.0.0 <= now) {
            let Some(std::cmp::Reverse((_, number))) = due.pop() else { break };
            let member = &mut members[number];
            (member.pulls_at, member.asked) = (None, true);
            let ask = json!({"id": 1, "history": {"conversationId": GROUP, "afterSeq": member.seq, "limit": 200}});
            herd.send(number, &ask.to_string())?;
            pulled.pulls += 1;
        }
    }
    pulled.most_behind =
        members.iter().map(|member| said.saturating_sub(member.seq)).max().unwrap_or(0);
    Ok(pulled)
}

fn hear(
    member: &mut Member,
    number: usize,
    line: Line,
    pulled: &mut Pulled,
    due: &mut std::collections::BinaryHeap<std::cmp::Reverse<(Instant, usize)>>,
) {
    let mut broken = |text: String| {
        if pulled.broken.len() < 10 {
            pulled.broken.push(text);
        }
    };
    if let Some(error) = line.error {
        broken(format!("a pull of member {number} was refused: {error}"));
    }
    if let Some(page) = line.messages {
        member.asked = false;
        for item in &page.items {
            if item.seq != member.seq + 1 {
                broken(format!(
                    "member {number} has seq {} and was given {}",
                    member.seq, item.seq
                ));
            }
            member.seq = item.seq;
        }
        pulled.messages += page.items.len() as u64;
    }
    if let Some(push) = line.push {
        if let Some(notify) = push.notify {
            pulled.notices += 1;
            member.told = member.told.max(notify.up_to_seq);
        }
        if let Some(message) = push.message {
            // Pushed while fewer were online, or none was missing.
            if message.seq == member.seq + 1 {
                member.seq = message.seq;
            }
        }
    }
    if member.told > member.seq && member.pulls_at.is_none() && !member.asked {
        let at = Instant::now() + JITTER.mul_f64(rand::rng().random());
        member.pulls_at = Some(at);
        due.push(std::cmp::Reverse((at, number)));
    }
}

fn say(sender: &mut std::net::TcpStream, number: u64, base_ms: u64) -> Result<(), Failure> {
    let line = json!({"id": number, "send": {
        "conversationId": GROUP, "clientMsgId": format!("{SENDER}-d-{number}-{base_ms}"),
        "type": "TEXT", "text": "x".repeat(TEXT_BYTES),
    }});
    let mut bytes = Vec::new();
    text_frame(&line.to_string(), &mut bytes);
    std::io::Write::write_all(sender, &bytes).context(|| "talking in the group".to_owned())
}
