//! `imflow log repair`: cuts the log after a record.

use std::process::ExitCode;

use imflow_sinks::log::offline::{Cut, OfflineLog};

use super::failed;
use crate::Failure;

/// Cut the log after a record, and keep a copy of what goes
///
/// For a log that is damaged and has no backup: messages behind the cut are lost to the service, though
/// they were acked; clients that saw them keep them. Without --yes it only tells what it would do.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RepairArgs {
    /// The last record that stays
    #[arg(long, value_name = "LSN")]
    to: u64,
    /// Do it
    #[arg(long)]
    yes: bool,
}

pub(super) fn repair(log: &OfflineLog, args: &RepairArgs) -> Result<ExitCode, Failure> {
    let cut = log.plan_cut(args.to).map_err(failed)?;
    let (will, would) = if args.yes { ("goes", "is kept") } else { ("would go", "would be kept") };
    println!("{}", gone(&cut, will));
    println!("a copy {would} in {}", cut.kept_in.display());
    println!("the index {will}; the next start makes it anew");
    if !args.yes {
        println!("nothing was changed; do it with --yes");
        return Ok(ExitCode::SUCCESS);
    }
    log.cut(&cut).map_err(failed)?;
    println!("done: the log ends with record {}", cut.to);
    Ok(ExitCode::SUCCESS)
}

fn gone(cut: &Cut, goes: &str) -> String {
    let mut lines = vec![format!(
        "everything behind record {} {goes}, up to record {} or where the damage begins:",
        cut.to, cut.last_lsn
    )];
    lines.push(format!("  {} from byte {} on", cut.path, cut.offset));
    lines.extend(cut.segments.iter().map(|path| format!("  {path}, all of it")));
    if !cut.snapshots.is_empty() {
        let count = cut.snapshots.len();
        lines.push(format!("  {count} snapshots of later state"));
    }
    lines.join("\n")
}
