//! The log over a disk that fails in every way that it may, held against a model.
//!
//! Each seed is the life of one log over several processes: commits, restarts, kills, power cuts that keep
//! any sectors of what was not synced, full disks, failed and short writes, failed syncs and reads, in the
//! end one flipped bit. After each start the log must hold every acked record exactly once, in order, and
//! of the one commit that was under way a prefix. A failure prints its seed; `IMFLOW_LOG_SEED=n` plays it
//! alone, `IMFLOW_LOG_SEEDS=n` plays so many.

mod dice;
mod disk;
mod flips;
mod life;

pub(super) use disk::FaultyDisk;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds played in CI.
const SEEDS: u64 = 10_000;

#[test]
fn acked_records_outlive_every_failure_of_the_disk() {
    play(life::play);
}

#[test]
fn a_flipped_bit_is_told_with_its_place_and_never_served() {
    play(flips::play);
}

/// Plays the seeds on all cores.
fn play(one: fn(u64)) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    if let Some(seed) = number("IMFLOW_LOG_SEED") {
        return one(seed);
    }
    let seeds = number("IMFLOW_LOG_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let seed @ 0.. = next.fetch_add(1, Ordering::Relaxed)
                    && seed < seeds
                {
                    let played = std::panic::catch_unwind(AssertUnwindSafe(|| one(seed)));
                    if let Err(panic) = played {
                        eprintln!(
                            "replay it: IMFLOW_LOG_SEED={seed} cargo test -p imflow-sinks faults"
                        );
                        next.store(seeds, Ordering::Relaxed);
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}
