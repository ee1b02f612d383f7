//! An open loop: messages come due at a fixed rate, whatever the server does.
//!
//! A thread of its own keeps the time, because the runtime's timers are good to a millisecond only; the
//! driver's thread sends all that is due and has each message remember when it was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::fleet::Fleet;
use crate::failure::{Context as _, Failure};

/// The driver is not woken more often than this.
const SHORTEST_TICK: Duration = Duration::from_micros(250);

/// Sends `total` messages at `rate` a second from `begin_ns` on; `send` is told the number of the
/// message and when it is due, and gives the session that sends it.
pub(super) async fn run(
    fleet: &Fleet,
    begin_ns: u64,
    rate: u64,
    total: u64,
    mut send: impl FnMut(u64, u64) -> usize,
) -> Result<(), Failure> {
    let due_at = |message: u64| {
        begin_ns + (u128::from(message) * 1_000_000_000 / u128::from(rate.max(1))) as u64
    };
    let metronome =
        Metronome::start(SHORTEST_TICK.max(Duration::from_secs(1) / rate.max(1) as u32))?;
    let mut touched = Vec::new();
    let mut next = 0;
    while next < total {
        metronome.tick.notified().await;
        let now = fleet.crowd.now_ns();
        while next < total && due_at(next) <= now {
            touched.push(send(next, due_at(next)));
            next += 1;
        }
        touched.sort_unstable();
        touched.dedup();
        touched.drain(..).for_each(|session| fleet.sessions[session].flush());
        fleet.crowd.take_failure()?;
    }
    Ok(())
}

/// The same, each session in its turn.
pub(super) async fn in_turn(
    fleet: &Fleet,
    begin_ns: u64,
    rate: u64,
    total: u64,
) -> Result<(), Failure> {
    run(fleet, begin_ns, rate, total, |message, due| {
        let session = message as usize % fleet.sessions.len();
        fleet.sessions[session].send_next(due);
        session
    })
    .await
}

/// Ticks until it is dropped. A tick that is not heard is no second one: what is due is sent at once.
struct Metronome {
    tick: Arc<Notify>,
    stop: Arc<AtomicBool>,
}

impl Metronome {
    fn start(period: Duration) -> Result<Self, Failure> {
        let metronome = Self { tick: Arc::default(), stop: Arc::default() };
        let (tick, stop) = (Arc::clone(&metronome.tick), Arc::clone(&metronome.stop));
        let beat = move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(period);
                tick.notify_one();
            }
        };
        let thread = std::thread::Builder::new().name("metronome".to_owned()).spawn(beat);
        thread.context(|| "starting the metronome".to_owned())?;
        Ok(metronome)
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
