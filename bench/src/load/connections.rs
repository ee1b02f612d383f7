//! `bench connections`: what connections cost that do nothing, and how fast they come.

use std::time::{Duration, Instant};

use crate::client::{Herd, upgrade};
use crate::failure::{Context as _, Failure};
use crate::machine::{self, CpuWindow};
use crate::names;
use crate::report::{Report, grouped};
use crate::server::{Server, ServerArgs};

const WANTED_BYTES: u64 = 10 << 10;
const WANTED_HANDSHAKES: f64 = 12_000.0;
const WANTED_CORES: f64 = 0.06;
/// 100,000 connections that are pinged each 30 s.
const PINGS: f64 = 100_000.0 / 30.0;
/// Connections that are opened before the memory is looked at for the first time: tables have grown by then.
const FIRST: u32 = 500;
const OPENERS: u32 = 4;

/// What connections cost that do nothing, and how fast they come (10 KiB each, 12,000/s are the figures)
///
/// All are authenticated and sit in JSON sessions. Memory is the server's resident set, a connection, between the first
/// 500 and all. They are pinged as often as 100,000 would be each 30 s, and answer. Handshakes are
/// counted while all others stay connected: TCP, HTTP, the token's signature, the session, up to its welcome.
///
///   bench connections
///   bench connections --connections 5000 --seconds 5
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct ConnectionsArgs {
    /// Connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..=18_000))]
    connections: u32,
    /// Length of the stretch of pings, and of that of handshakes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

pub(crate) fn run(args: &ServerArgs, wanted: &ConnectionsArgs) -> Result<Report, Failure> {
    let ConnectionsArgs { connections, seconds } = *wanted;
    let interval_ms = (f64::from(connections) / PINGS * 1_000.0) as u64;
    let mut args = args.clone();
    args.sets.push(format!("sources.clients.ping_interval=\"{interval_ms}ms\""));
    let server = Server::start(&args)?;
    let tokens = server.tokens()?;
    let mut herd = Herd::new()?;
    let mut before = 0;
    for user in 0..connections {
        if user == FIRST {
            before = resident(server.pid())?;
        }
        herd.join(server.address, &tokens.client(&names::herd_user(user), "d")?)?;
    }
    listen(&mut herd, Duration::from_secs(1))?;
    let bytes = resident(server.pid())?.saturating_sub(before) / u64::from(connections - FIRST);

    let cpu = CpuWindow::begin(server.pid());
    let pongs = herd.pongs;
    listen(&mut herd, Duration::from_secs(seconds))?;
    let cores = cpu.end().server;
    let pings = (herd.pongs - pongs) as f64 / seconds as f64;
    drop(herd);
    std::thread::sleep(Duration::from_secs(1));
    let handshakes = handshakes(&server, Duration::from_secs(seconds))?;

    let mut report =
        Report::new(format!("connections: {} that do nothing", grouped(u64::from(connections))));
    report.goal(
        "resident memory a connection",
        format!("{} B", grouped(bytes)),
        format!("<= {} B", grouped(WANTED_BYTES)),
        bytes <= WANTED_BYTES,
    );
    let scaled = cores * PINGS / pings.max(1.0);
    report.goal(
        "100,000 pinged each 30 s",
        format!("{:.1} % of a core", scaled * 100.0),
        format!("<= {:.0} %", WANTED_CORES * 100.0),
        scaled <= WANTED_CORES,
    );
    report.figure("pings answered", format!("{}/s", grouped(pings as u64)));
    report.goal(
        "handshakes with a token",
        format!("{}/s", grouped(handshakes as u64)),
        format!(">= {}/s", grouped(WANTED_HANDSHAKES as u64)),
        handshakes >= WANTED_HANDSHAKES,
    );
    report.note("driver of the handshakes", format!("{OPENERS} threads, on the same cores"));
    report.note("machine", machine::load());
    Ok(report)
}

/// Reads, and answers pings, for a while.
fn listen(herd: &mut Herd, time: Duration) -> Result<(), Failure> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        herd.read(Duration::from_millis(20), |_, _| {})?;
    }
    Ok(())
}

/// Sessions that were opened a second, by threads that each open and close one after another.
fn handshakes(server: &Server, time: Duration) -> Result<f64, Failure> {
    let tokens = server.tokens()?;
    let open = |thread: u32| -> Result<_, Failure> {
        let token = tokens.client(&names::herd_user(thread), "d")?;
        let address = server.address;
        Ok(std::thread::spawn(move || {
            let (begin, mut opened) = (Instant::now(), 0_u64);
            while begin.elapsed() < time {
                let stream = upgrade(address, &token)?;
                // Reset, so that no port waits for a minute: there are few.
                let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
                opened += 1;
            }
            Ok::<u64, Failure>(opened)
        }))
    };
    let threads: Vec<_> = (0..OPENERS).map(open).collect::<Result<_, _>>()?;
    let mut opened = 0;
    for thread in threads {
        opened += thread.join().map_err(|_| Failure::new("an opener has panicked"))??;
    }
    Ok(opened as f64 / time.as_secs_f64())
}

/// Bytes of a process that are in memory.
fn resident(pid: u32) -> Result<u64, Failure> {
    let doing = || "reading the server's memory".to_owned();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context(doing)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| Failure::new("the server's memory is not told"))
}
