//! `imflow log export`: all that the log holds about a user.

use std::process::ExitCode;

use imflow_sinks::log::offline::OfflineLog;

use super::dump::print;
use crate::Failure;

/// Print what the log holds about a user as JSON, one a line: messages, memberships, cursors
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[arg(long, value_name = "ID")]
    user: String,
}

pub(super) fn export(log: &OfflineLog, args: &ExportArgs) -> Result<ExitCode, Failure> {
    print(|line| log.export(&args.user, line))
}
