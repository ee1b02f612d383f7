//! What rows of a directory say about one user.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use imflow_proto::log::Cursors;
use prost::Message as _;

use super::directory::{Directory, key, level_key, read_role, read_u64};
use super::ram::Row;
use super::tables::Table;
use crate::log::LogError;

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
                // How far it has written is told by its messages.
                b'w' => continue,
                _ => Standing::Cursors(Cursors::decode(&value[..]).unwrap_or_default()),
            };
            tell(conversation, standing);
        }
    }
}

/// Conversations that are looked at together.
const LOOK: usize = 1_000;

impl Directory {
    /// The conversations where a user has rows of some kind, and of which messages were cut off the log, by id,
    /// after `after`, at most `limit`. It looks at the rows of everybody.
    pub(crate) fn left_behind(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, LogError> {
        let (mut found, mut after) = (Vec::new(), after.to_owned());
        loop {
            let mut ids = BTreeSet::new();
            // Who has written, read or become a member.
            for kind in *b"wru" {
                self.conversations_with(kind, user_id, &after, &mut ids)?;
            }
            let is_all = ids.len() < LOOK;
            for id in ids.into_iter().take(LOOK) {
                if self.floor(&id)? > 0 && found.len() < limit {
                    found.push(id.clone());
                }
                after = id;
            }
            if is_all || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// Adds the next conversations with a row of this kind of a user, at least [`LOOK`] if there are so many.
    fn conversations_with(
        &self,
        kind: u8,
        user_id: &str,
        after: &str,
        ids: &mut BTreeSet<String>,
    ) -> Result<(), LogError> {
        let (from, mut count) = (key(kind, if kind == b'u' { user_id } else { after }, ""), 0);
        self.tables.scan(Table::Directory, &from, &mut |row, _| {
            let is_of_kind = row.first() == Some(&kind);
            let is_of_user = kind != b'u' || row.starts_with(&from);
            if !is_of_kind || !is_of_user || count >= LOOK {
                return ControlFlow::Break(());
            }
            if let Some((_, id)) = row_of(user_id, row).filter(|(_, id)| *id > after) {
                ids.insert(id.to_owned());
                count += 1;
            }
            ControlFlow::Continue(())
        })
    }
}

/// A row of a user and a conversation, as its key says.
fn row_of<'r>(user_id: &str, key: &'r [u8]) -> Option<(u8, &'r str)> {
    let (kind, rest) = key.split_first()?;
    let (first, second) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
    match kind {
        b'u' => (first == user_id).then_some((*kind, second)),
        b'r' | b't' | b'b' | b'w' => (second == user_id).then_some((*kind, first)),
        _ => None,
    }
}
