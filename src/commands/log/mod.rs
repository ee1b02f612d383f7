//! `imflow log`: looks into the log of a data directory, and mends it.

mod dump;
mod erase;
mod export;
mod repair;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use imflow_sinks::log::LogError;
use imflow_sinks::log::offline::{OfflineLog, Problem};

use crate::{Failure, FileArgs, assembly};

/// Look into the log of a data directory, check it, and mend it
///
/// `verify`, `dump` and `export` change nothing and may be run beside a service; `repair`, `erase` and
/// `rebuild-index` want it stopped. Examples:
///
///   imflow log verify
///   imflow log dump --conversation lobby --after 1000
///   imflow log repair --to 182034            tells what it would do; --yes does it
///   imflow log export --user alice           all that the log holds about a user
///   imflow log erase --user alice            tells what it would do; --yes does it
///   imflow log rebuild-index --data /var/lib/imflow
///
/// Exit codes: 0 fine, 1 failed, 3 the log is damaged, 78 the topology has mistakes.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    mut_arg("config", |arg| arg.global(true)),
    mut_arg("overrides", |arg| arg.global(true)),
    mut_arg("profile", |arg| arg.global(true))
)]
pub(crate) struct LogArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The data directory; by default that of the topology
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LogCommand {
    /// Read every record, and tell what is wrong and where
    Verify,
    Dump(dump::DumpArgs),
    Repair(repair::RepairArgs),
    Erase(erase::EraseArgs),
    Export(export::ExportArgs),
    /// Make the index anew from the log, as a start without one does
    RebuildIndex,
}

/// The exit code for a log that is damaged.
pub(crate) const DAMAGED: u8 = 3;

pub(crate) fn log(args: &LogArgs) -> Result<ExitCode, Failure> {
    let data = data_directory(args.data.as_ref(), &args.file)?;
    let log = OfflineLog::open(&data).map_err(failed)?;
    match &args.command {
        LogCommand::Verify => verify::verify(&log),
        LogCommand::Dump(args) => dump::dump(&log, args),
        LogCommand::Repair(args) => repair::repair(&log, args),
        LogCommand::Erase(args) => erase::erase(&log, args),
        LogCommand::Export(args) => export::export(&log, args),
        LogCommand::RebuildIndex => {
            let rebuilt = log.rebuild_index().map_err(failed)?;
            println!(
                "the index was made anew from {} records in {} segments",
                rebuilt.records, rebuilt.segments
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The directory that was named, or that of the topology.
pub(crate) fn data_directory(named: Option<&PathBuf>, file: &FileArgs) -> Result<PathBuf, Failure> {
    match named {
        Some(data) => Ok(data.clone()),
        None => Ok(assembly::load(file)?.service.data.into()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: LogError) -> Failure {
    Failure::Other(error.to_string())
}

/// One line on what is wrong with a record.
fn line(problem: &Problem) -> String {
    let at = &problem.at;
    format!("{}: byte {}: record {}: {}", at.path, at.offset, at.lsn, problem.found)
}
