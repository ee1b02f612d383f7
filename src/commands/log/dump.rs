//! `imflow log dump`: records as JSON, one a line.

use std::io::{BufWriter, ErrorKind, Write as _};
use std::process::ExitCode;

use imflow_sinks::log::LogError;
use imflow_sinks::log::offline::{Dumped, Filter, OfflineLog};
use serde_json::Value;

use super::{DAMAGED, failed, line};
use crate::Failure;

/// Print records as JSON, one a line: messages and facts, and where they stand
#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// Only records of this conversation
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// Only records behind this one
    #[arg(long, value_name = "LSN", default_value_t = 0)]
    after: u64,
    /// Only records up to this one
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
}

pub(super) fn dump(log: &OfflineLog, args: &DumpArgs) -> Result<ExitCode, Failure> {
    let &DumpArgs { ref conversation, after, to, limit } = args;
    let filter = Filter { conversation: conversation.clone(), after, to, limit };
    print(|line| log.dump(&filter, line))
}

/// Prints JSON, one a line, and tells what could not be read.
pub(super) fn print(
    tell: impl FnOnce(&mut dyn FnMut(&Value) -> std::io::Result<()>) -> Result<Dumped, LogError>,
) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let dumped = tell(&mut |record| writeln!(out, "{record}"));
    let dumped = match dumped.map(|dumped| out.flush().map(|()| dumped)) {
        Ok(Ok(dumped)) => dumped,
        // Whoever reads has seen enough, as `head` has.
        Err(LogError::Io { source, .. }) | Ok(Err(source))
            if source.kind() == ErrorKind::BrokenPipe =>
        {
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Err(error)) => return Err(Failure::Other(format!("cannot write: {error}"))),
        Err(error) => return Err(failed(error)),
    };
    for problem in &dumped.problems {
        eprintln!("imflow: {}", line(problem));
    }
    Ok(if dumped.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) })
}
