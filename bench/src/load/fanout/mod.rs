//! `bench fanout`: one message to everybody of a large group.

pub(crate) mod ceiling;
pub(crate) mod notify;

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use ceiling::Ceiling;

use crate::client::{Herd, upgrade};
use crate::failure::{Context as _, Failure};
use crate::http::Http;
use crate::machine::{self, CpuWindow};
use crate::names;
use crate::report::{Report, grouped};
use crate::server::{Server, ServerArgs};

/// Of the ceiling.
const WANTED_RATIO: f64 = 0.70;
const WANTED_MICROS: f64 = 2.0;
/// Bytes of text in a message: about 400 on the wire.
const TEXT_BYTES: usize = 200;
/// Messages of a burst.
const BURST: u64 = 20;
const GROUP: &str = "everybody";
const SENDER: &str = "sender";

/// One message to everybody of a large group that is pinned to pushes (0.70 of the ceiling is the figure)
///
/// Each round, one message is sent and all of the group read it before the next. The ceiling is a process that
/// only does one send(2) of the same bytes for each connection, to the same reader, before and after. Then
/// come bursts, of which each connection gets one write: the figure is the server's CPU time a delivery, all of
/// it, from the frame that is read to the socket.
///
///   bench fanout
///   bench fanout --connections 2000 --rounds 50
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct FanoutArgs {
    /// Members of the group, each connected
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=18_000))]
    connections: u32,
    /// Messages, one at a time; and bursts
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

impl Default for FanoutArgs {
    fn default() -> Self {
        Self { connections: 10_000, rounds: 20 }
    }
}

pub(crate) fn run(args: &ServerArgs, fanout: &FanoutArgs) -> Result<Report, Failure> {
    let FanoutArgs { connections, rounds } = *fanout;
    let server = Server::start(args)?;
    let mut group = Group::gather(&server, connections)?;
    let bytes = group.warm_up()?;
    // In turns, so that both meet the same machine; only one of them is connected at a time.
    let single = group.rounds(rounds, 1)?;
    let cpu = CpuWindow::begin(server.pid());
    let bursts = group.rounds(rounds, BURST)?;
    let used = cpu.end();
    drop(group);
    drop(server);
    let mut ceiling = Ceiling::start(connections as usize, bytes)?;
    ceiling.rounds(2)?;
    let limit = ceiling.rounds(rounds)?;
    drop(ceiling);

    let deliveries = (rounds * u64::from(connections)) as f64;
    let rate = |took: Duration, times: u64| deliveries * times as f64 / took.as_secs_f64();
    let ratio = limit.as_secs_f64() / single.as_secs_f64();
    let burst_deliveries = deliveries * BURST as f64;
    let micros = used.server * bursts.as_secs_f64() * 1e6 / burst_deliveries;
    let mut report = Report::new(format!(
        "fanout: a message of {bytes} bytes to {} connections, {rounds} times",
        grouped(u64::from(connections))
    ));
    report.goal(
        "one message at a time, of the ceiling",
        format!("{ratio:.2}"),
        format!(">= {WANTED_RATIO:.2}"),
        ratio >= WANTED_RATIO,
    );
    report.figure("one message at a time", format!("{}/s", grouped(rate(single, 1) as u64)));
    report.figure("ceiling: send(2) for each", format!("{}/s", grouped(rate(limit, 1) as u64)));
    report.goal(
        "bursts, server CPU a delivery",
        format!("{micros:.2} us"),
        format!("<= {WANTED_MICROS} us"),
        micros <= WANTED_MICROS,
    );
    report.figure(
        &format!("bursts of {BURST}"),
        format!("{}/s", grouped(rate(bursts, BURST) as u64)),
    );
    report.note("CPU in bursts", used.to_string());
    report.note("machine", machine::load());
    Ok(report)
}

/// A group, all of it connected, and one who sends.
pub(super) struct Group {
    pub(super) herd: Herd,
    sender: std::net::TcpStream,
    sent: u64,
    base_ms: u64,
}

impl Group {
    fn gather(server: &Server, connections: u32) -> Result<Self, Failure> {
        let herd = gather(server, connections, "DIRECT")?;
        let token = server.tokens()?.client(SENDER, "d")?;
        let sender = upgrade(server.address, &token)?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(Self { herd, sender, sent: 0, base_ms: now_ms() })
    }

    /// Gives the bytes of a push on the wire.
    fn warm_up(&mut self) -> Result<usize, Failure> {
        let mut bytes = 0;
        self.say(1)?;
        let (begin, wanted) = (Instant::now(), self.herd.frames + self.herd.len() as u64);
        while self.herd.frames < wanted && begin.elapsed() < Duration::from_secs(10) {
            self.herd.read(Duration::from_millis(100), |_, data| bytes = data.len() + 4)?;
        }
        self.rounds(2, 1)?;
        Ok(bytes)
    }

    /// Rounds of so many messages, each when all have the round before.
    fn rounds(&mut self, rounds: u64, messages: u64) -> Result<Duration, Failure> {
        let mut took = Duration::ZERO;
        for _ in 0..rounds {
            let wanted = self.herd.frames + messages * self.herd.len() as u64;
            let begin = Instant::now();
            self.say(messages)?;
            self.herd.read_until(wanted)?;
            took += begin.elapsed();
        }
        Ok(took)
    }

    fn say(&mut self, messages: u64) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        for _ in 0..messages {
            self.sent += 1;
            let (id, base) = (self.sent, self.base_ms);
            let line = json!({"id": id, "send": {
                "conversationId": GROUP, "clientMsgId": format!("{SENDER}-d-{id}-{base}"),
                "type": "TEXT", "text": "x".repeat(TEXT_BYTES),
            }});
            crate::client::text_frame(&line.to_string(), &mut bytes);
        }
        self.sender.write_all(&bytes).context(|| "sending to the group".to_owned())
    }
}

/// Makes the group with this way of fan-out, and connects its members.
pub(super) fn gather(server: &Server, connections: u32, mode: &str) -> Result<Herd, Failure> {
    let tokens = server.tokens()?;
    let admin = tokens.admin()?;
    let mut http = Http::connect(server.address)?;
    let mut members = vec![json!({"userId": SENDER, "role": "OWNER"})];
    members.extend((0..connections).map(|user| json!({"userId": names::herd_user(user)})));
    let body = json!({"id": GROUP, "type": "GROUP", "members": members}).to_string();
    http.post("/v1/conversations", &admin, body.as_bytes())?
        .expect_success("creating the group")?;
    let (path, body) = (format!("/v1/conversations/{GROUP}/fanout"), json!({ "mode": mode }));
    let pinned = http.put(&path, &admin, body.to_string().as_bytes())?;
    pinned.expect_success("pinning the group")?;
    let mut herd = Herd::new()?;
    for user in 0..connections {
        herd.join(server.address, &tokens.client(&names::herd_user(user), "d")?)?;
    }
    Ok(herd)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}
