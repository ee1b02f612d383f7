//! `imflow backup` and `imflow restore`: the log of a data directory to another folder, and back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use imflow_sinks::log::LogError;
use imflow_sinks::log::offline::{Backup, OfflineLog, restore as restore_log};

use super::log::{DAMAGED, data_directory};
use crate::{Failure, FileArgs};

/// Copy the log and the snapshots to a folder, also while the service runs
///
/// What the backup holds is a moment of the log: every record up to one, checked, and none behind it. A
/// later backup to the same folder copies what is new. The key that signs tokens stays behind, unless it
/// is asked for. Examples:
///
///   imflow backup --to /mnt/backup/imflow
///   imflow restore --from /mnt/backup/imflow --data ./restored
///
/// Exit codes: 0 fine, 1 failed, 3 the log is damaged, 78 the topology has mistakes.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct BackupArgs {
    /// The folder of the backup
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Copy the keys of the service too, so that its tokens are good where the backup is restored
    #[arg(long)]
    with_secrets: bool,
    /// The data directory; by default that of the topology
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Make a data directory of a backup, with its index
///
/// The directory must have no log. Without the keys in the backup a new one is made at the first start,
/// and clients need new tokens.
///
/// Exit codes: 0 fine, 1 failed, 3 the backup is damaged, 78 the topology has mistakes.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RestoreArgs {
    /// The folder of the backup
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The data directory to make; by default that of the topology
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(crate) fn backup(args: &BackupArgs, file: &FileArgs) -> Result<ExitCode, Failure> {
    let data = data_directory(args.data.as_ref(), file)?;
    let taken = OfflineLog::open(&data).and_then(|log| log.backup(&args.to));
    let taken = match taken {
        Ok(taken) => taken,
        Err(error) => return failed(&error),
    };
    let kept = args.with_secrets.then(|| copy_secrets(&data, &args.to)).transpose()?;
    println!("{} holds the log up to record {}", args.to.display(), taken.lsn);
    println!("  {}", copied(&taken));
    match kept {
        Some(true) => println!("  and the keys of the service: keep it as safe as them"),
        Some(false) => println!("  the service has no keys as yet"),
        None => println!("  without the keys of the service (--with-secrets copies them)"),
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn restore(args: &RestoreArgs, file: &FileArgs) -> Result<ExitCode, Failure> {
    let data = data_directory(args.data.as_ref(), file)?;
    let restored = match restore_log(&args.from, &data) {
        Ok(restored) => restored,
        Err(error) => return failed(&error),
    };
    let keys = copy_secrets(&args.from, &data)?;
    println!("{} holds the log up to record {}", data.display(), restored.lsn);
    println!("  {}; the index was made anew", copied(&restored));
    println!(
        "  {}",
        if keys { "and the keys of the service" } else { "new keys are made at the first start" }
    );
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &LogError) -> Result<ExitCode, Failure> {
    if let LogError::Damaged { .. } = error {
        eprintln!("imflow: {error}");
        return Ok(ExitCode::from(DAMAGED));
    }
    Err(Failure::Other(error.to_string()))
}

fn copied(backup: &Backup) -> String {
    let Backup { segments, copied, bytes, .. } = backup;
    format!("{copied} of {segments} segments copied, {} KiB", bytes / 1024)
}

/// Copies the folder of keys, if there is one.
fn copy_secrets(from: &Path, to: &Path) -> Result<bool, Failure> {
    let (from, to) = (from.join("secrets"), to.join("secrets"));
    if !from.is_dir() {
        return Ok(false);
    }
    let copy = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(to.join(entry.file_name()))?;
            file.write_all(&fs::read(entry.path())?)?;
            file.sync_all()?;
        }
        fs::File::open(&to)?.sync_all()
    };
    copy().map(|()| true).map_err(|error| {
        Failure::Other(format!("cannot copy {} to {}: {error}", from.display(), to.display()))
    })
}
