//! What the data directory was made with.
//!
//! Partitions and their hash decide which worker owns a conversation and which snapshot holds it; a
//! directory of one make cannot be read by another, so a mismatch is told before anything is touched.

use super::LogError;
use super::files::Files;
use super::frame::VERSION;

pub(crate) const NAME: &str = "META";
/// The name of [`imflow_proto::id::partition_of`]'s hash.
const HASH: &str = "rapidhash-v3";

/// Writes META in a new directory, or compares it.
pub(crate) fn check(files: &dyn Files, partitions: u32) -> Result<(), LogError> {
    let path = files.path(NAME);
    let found = files.read(NAME).map_err(LogError::io("read", path.clone()))?;
    let Some(found) = found else {
        let begun = files
            .list()
            .map_err(LogError::io("list", files.path("")))?
            .iter()
            .any(|name| name.ends_with(".seg"));
        if begun {
            return Err(LogError::Refused(format!(
                "`{path}` is missing, while segments of a log are beside it; restore it from a backup, \
                 or move the data directory away to start empty"
            )));
        }
        let text = format!("version = {VERSION}\npartitions = {partitions}\nhash = {HASH}\n");
        return files.replace(NAME, text.as_bytes()).map_err(LogError::io("write", path));
    };
    let text = String::from_utf8_lossy(&found);
    let (version, was, hash) =
        (value(&text, "version"), value(&text, "partitions"), value(&text, "hash"));
    if version != VERSION.to_string() {
        return Err(LogError::Refused(format!(
            "`{path}` says format version {version}, and this build writes version {VERSION}; start the build that \
             made this data directory, or move the directory away to start empty"
        )));
    }
    if hash != HASH {
        return Err(LogError::Refused(format!(
            "`{path}` says that partitions follow the hash {hash}, and this build uses {HASH}; start the build that \
             made this data directory, or move the directory away to start empty"
        )));
    }
    if was != partitions.to_string() {
        return Err(LogError::Refused(format!(
            "the log was made with {was} partitions (`{path}`), and the file says {partitions}; write `partitions = {was}` \
             under [service], or move the data directory away to start empty"
        )));
    }
    Ok(())
}

/// The value of a key in a text of `key = value` lines.
pub(crate) fn value<'t>(text: &'t str, key: &str) -> &'t str {
    text.lines()
        .find_map(|line| Some(line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim()))
        .unwrap_or("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::files::Memory;

    #[test]
    fn another_number_of_partitions_is_refused_with_the_cure() {
        let files = Memory::default();
        check(&files, 64).expect("new");
        check(&files, 64).expect("the same");
        let refused = check(&files, 32).expect_err("another").to_string();
        assert!(refused.contains("`partitions = 64`") && refused.contains("META"), "{refused}");
    }

    #[test]
    fn segments_without_their_meta_are_refused() {
        let files = Memory::default();
        files.create_zeroed("00000001.seg", 64).expect("made");
        assert!(check(&files, 64).expect_err("no META").to_string().contains("missing"));
    }
}
