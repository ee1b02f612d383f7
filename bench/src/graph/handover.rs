//! The limit of the open loop: the same rate, with a thread in place of the graph that only wakes up.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::machine;

/// Hands instants to another thread at a fixed rate; each is timed from when it was due until that
/// thread has it.
pub(super) fn measure(rate: u64, length: Duration) -> Result<Histogram, Failure> {
    machine::sleep_exactly()?;
    let (sender, inbox) = mpsc::channel::<Instant>();
    let other = thread::spawn(move || {
        let mut latencies = Histogram::default();
        while let Ok(due) = inbox.recv() {
            latencies.record(due.elapsed().as_nanos() as u64);
        }
        latencies
    });
    let every = Duration::from_nanos(1_000_000_000 / rate);
    let mut due = Instant::now() + Duration::from_millis(10);
    for _ in 0..rate * length.as_secs() {
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        // It ends when the sender is dropped, so that somebody takes it.
        let _ = sender.send(due);
        due += every;
    }
    drop(sender);
    other.join().map_err(|_| Failure::new("the thread that wakes up has panicked"))
}
