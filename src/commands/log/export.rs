//! `imflow log export`: all that the log holds about a user.

use std::process::ExitCode;

use imflow_sinks::log::offline::OfflineLog;

use super::dump::print;
use super::failed;
use crate::Failure;

/// Print what the log holds about a user as JSON, one a line: messages, memberships, cursors
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[arg(long, value_name = "ID")]
    user: String,
}

pub(super) fn export(log: &OfflineLog, args: &ExportArgs) -> Result<ExitCode, Failure> {
    let ended = print(|line| log.export(&args.user, line))?;
    let cut = log.cut_up_to().map_err(failed)?;
    if cut > 0 {
        eprintln!(
            "imflow: the segments up to {cut} were cut off this log, as `keep` or `keep_bytes` wanted it, and what `{user}` wrote in them is not told here; \
             where the reader has an archive, a running service tells it: GET /v1/users/{user}/export",
            user = args.user
        );
    }
    Ok(ended)
}
