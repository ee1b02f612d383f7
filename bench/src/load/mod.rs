//! The loads: what is sent to the server, and the figures that are taken of it.

pub(crate) mod acks;
mod background;
pub(crate) mod connections;
pub(crate) mod fanout;
mod fleet;
pub(crate) mod history;
pub(crate) mod mongo;
mod open_loop;
pub(crate) mod replay;
pub(crate) mod restart;
pub(crate) mod search;
pub(crate) mod throughput;

use std::time::Duration;

use fleet::Fleet;

use crate::failure::{Context as _, Failure};
use crate::fsync::RawLoop;
use crate::histogram::show;
use crate::machine::{self, CpuUse};
use crate::report::Report;

/// Messages before this are checked, but not in the figures.
const WARM_UP: Duration = Duration::from_secs(2);

/// Runs a load on this thread alone: a second one would take its core from the server.
fn run<F: Future<Output = Result<Report, Failure>>>(load: F) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context(|| "starting the driver's runtime".to_owned())?;
    tokio::task::LocalSet::new().block_on(&runtime, load)
}

/// Takes the verdict and stops the server; adds what stands beside every figure.
fn finish(mut report: Report, fleet: Fleet, cpu: CpuUse, raw: &[(&str, &RawLoop)]) -> Report {
    let verdict = fleet.finish();
    report.figure("promises", verdict.summary);
    report.broken = verdict.broken;
    report.note("an ack means", "the record is on disk: fdatasync has returned");
    for (what, raw) in raw {
        report.note(what, raw.summary());
    }
    report.note("CPU", cpu.to_string());
    report.note("machine", machine::load());
    report
}

/// `p99 2.10 ms` of a distribution is what most goals are about.
fn within(found: Duration, limit: Duration) -> (String, String, bool) {
    (show(found), format!("<= {}", show(limit)), found <= limit)
}
