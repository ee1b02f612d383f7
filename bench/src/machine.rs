//! What the machine did meanwhile: who used the CPU, and how busy it was with other things.
//!
//! The driver shares the cores with the server, so a figure without the driver's share says little.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Lets this thread sleep as long as it asks for; else a sleep may last 50 us longer.
pub(crate) fn sleep_exactly() -> Result<(), Failure> {
    let slack = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
    slack.map(drop).map_err(|error| Failure::new(format!("setting the timer slack: {error}")))
}

/// `utime` and `stime` of /proc count in these; Linux fixes it for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// A stretch of time over which CPU use is measured.
pub(crate) struct CpuWindow {
    begin: Instant,
    server: u32,
    driver_ticks: u64,
    server_ticks: u64,
}

/// Cores in use, on average.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuUse {
    pub(crate) driver: f64,
    pub(crate) server: f64,
}

impl CpuWindow {
    /// Begins to count for this process and for the server.
    pub(crate) fn begin(server: u32) -> Self {
        let (driver_ticks, server_ticks) = (ticks_of("self"), ticks_of(&server.to_string()));
        Self { begin: Instant::now(), server, driver_ticks, server_ticks }
    }

    pub(crate) fn end(&self) -> CpuUse {
        let seconds = self.begin.elapsed().as_secs_f64().max(f64::EPSILON);
        let cores =
            |now: u64, before: u64| now.saturating_sub(before) as f64 / TICKS_PER_SECOND / seconds;
        CpuUse {
            driver: cores(ticks_of("self"), self.driver_ticks),
            server: cores(ticks_of(&self.server.to_string()), self.server_ticks),
        }
    }
}

impl std::fmt::Display for CpuUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.driver / (self.driver + self.server).max(f64::EPSILON);
        write!(
            f,
            "driver {:.2} cores, server {:.2} cores: the driver's share is {share:.0}%",
            self.driver, self.server
        )
    }
}

/// CPU ticks of this process's threads, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Threads {
    ticks: BTreeMap<String, u64>,
    elapsed: Duration,
}

impl Threads {
    pub(crate) fn now() -> Self {
        let mut ticks = BTreeMap::new();
        for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let name = stat.split(['(', ')']).nth(1).unwrap_or_default().to_owned();
            *ticks.entry(name).or_default() += ticks_in(&stat).unwrap_or(0);
        }
        Self { ticks, elapsed: Duration::ZERO }
    }

    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (name, ticks) in &mut self.ticks {
            *ticks = ticks.saturating_sub(before.ticks.get(name).copied().unwrap_or(0));
        }
        self
    }

    /// Adds what was used in a stretch of time.
    pub(crate) fn add(&mut self, used: &Self, elapsed: Duration) {
        used.ticks
            .iter()
            .for_each(|(name, ticks)| *self.ticks.entry(name.clone()).or_default() += ticks);
        self.elapsed += elapsed;
    }
}

impl std::fmt::Display for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cores = |ticks: u64| {
            ticks as f64 / TICKS_PER_SECOND / self.elapsed.as_secs_f64().max(f64::EPSILON)
        };
        let used = self.ticks.iter().filter(|(_, ticks)| cores(**ticks) >= 0.01);
        let texts: Vec<_> =
            used.map(|(name, ticks)| format!("{name} {:.2}", cores(*ticks))).collect();
        f.write_str(&texts.join(", "))
    }
}

/// Load averages and cores.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("load average {} on {cores} cores", averages.join(" "))
}

fn ticks_of(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    ticks_in(&stat).unwrap_or(0)
}

/// The name in parentheses may hold anything, so fields count from behind it.
fn ticks_in(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_shift_the_fields() {
        let stat = "7 (a) b 1) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 99 0 0";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in("garbage"), None);
    }
}
