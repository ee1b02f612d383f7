//! `imflow log verify`: reads every record.

use std::process::ExitCode;

use imflow_sinks::log::offline::OfflineLog;

use super::{DAMAGED, failed, line};
use crate::Failure;

pub(super) fn verify(log: &OfflineLog) -> Result<ExitCode, Failure> {
    let walk = log.verify().map_err(failed)?;
    println!(
        "records {} to {}: {} messages and {} others in {} segments, {} more zeroed ahead",
        walk.first_lsn, walk.last_lsn, walk.messages, walk.others, walk.segments, walk.spares
    );
    if let Some(torn) = &walk.torn {
        println!(
            "{}: byte {}: an unfinished write of {} bytes, which nobody was told of; the next start cuts it \
             (a service that runs may just be writing it)",
            torn.at.path, torn.at.offset, torn.bytes
        );
    }
    if walk.problems.is_empty() {
        println!("every record is whole and in its place");
        return Ok(ExitCode::SUCCESS);
    }
    for problem in &walk.problems {
        println!("{}", line(problem));
    }
    let count = walk.problems.len();
    println!(
        "{count} {} damaged; restore the files from a backup, or see imflow log repair --help",
        if count == 1 { "place is" } else { "places are" }
    );
    Ok(ExitCode::from(DAMAGED))
}
