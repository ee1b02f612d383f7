//! What rows of a directory say about one user.

use imflow_proto::log::Cursors;
use prost::Message as _;

use super::directory::{Directory, level_key, read_role, read_u64};
use super::ram::Row;

/// What a user is, in a conversation or everywhere.
pub(crate) enum Standing {
    Level(String),
    Member(i32),
    Mute(i64),
    Ban,
    Cursors(Cursors),
}

impl Directory {
    /// What rows of a directory say about a user, by conversation.
    pub(crate) fn about(user_id: &str, rows: &[Row], tell: &mut dyn FnMut(&str, Standing)) {
        for (key, value) in rows {
            if *key == level_key(user_id) {
                tell("", Standing::Level(String::from_utf8_lossy(value).into_owned()));
            }
            let Some((kind, conversation)) = row_of(user_id, key) else { continue };
            let standing = match kind {
                b'u' => Standing::Member(read_role(value)),
                b't' => Standing::Mute(read_u64(value) as i64),
                b'b' => Standing::Ban,
                _ => Standing::Cursors(Cursors::decode(&value[..]).unwrap_or_default()),
            };
            tell(conversation, standing);
        }
    }
}

/// A row of a user and a conversation, as its key says.
fn row_of<'r>(user_id: &str, key: &'r [u8]) -> Option<(u8, &'r str)> {
    let (kind, rest) = key.split_first()?;
    let (first, second) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
    match kind {
        b'u' => (first == user_id).then_some((*kind, second)),
        b'r' | b't' | b'b' => (second == user_id).then_some((*kind, first)),
        _ => None,
    }
}
