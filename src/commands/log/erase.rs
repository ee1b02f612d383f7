//! `imflow log erase`: takes what a user said, or what a conversation holds, out of the log.

use std::process::ExitCode;
use std::time::SystemTime;

use imflow_sinks::log::offline::{OfflineLog, Whose};

use super::failed;
use crate::Failure;

/// Erase what a user said everywhere, or all that a conversation holds, for good.
///
/// As DELETE /v1/users/{id}/data and /v1/conversations/{id}/data do it, for a service that is stopped. Ids, seqs
/// and times stay. Without --yes it only tells what it would do.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct EraseArgs {
    #[arg(long, value_name = "ID", required_unless_present = "conversation")]
    user: Option<String>,
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    conversation: Option<String>,
    /// Do it
    #[arg(long)]
    yes: bool,
}

pub(super) fn erase(log: &OfflineLog, args: &EraseArgs) -> Result<ExitCode, Failure> {
    let whose = match (&args.user, &args.conversation) {
        (Some(user), _) => Whose::User(user.clone()),
        (_, Some(conversation)) => Whose::Conversation(conversation.clone()),
        _ => return Err(Failure::Other("name --user or --conversation".into())),
    };
    let count = log.would_erase(&whose).map_err(failed)?;
    if !args.yes {
        println!("the content of {count} messages would go for good");
        println!("nothing was changed; do it with --yes");
        return Ok(ExitCode::SUCCESS);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| now.as_millis() as i64);
    let lsn = log.erase(&whose, now_ms).map_err(failed)?;
    println!("the content of {count} messages is gone; record {lsn} says so");
    println!("the index went too; the next start makes it anew");
    Ok(ExitCode::SUCCESS)
}
