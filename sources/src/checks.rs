//! The shape of ids and names: what a command must fulfil before it enters the dataflow.

use imflow_proto::id;
use imflow_proto::wire::{Error, ErrorCode, Search};

use crate::auth::is_user_id;

/// Longest name of a conversation, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Where a search may be held; what its words may be only an index can tell.
pub(crate) fn check_search(search: &Search) -> Result<(), Error> {
    if !search.conversation_id.is_empty() {
        check_conversation(&search.conversation_id)?;
    }
    if !search.sender_id.is_empty() {
        check_user(&search.sender_id)?;
    }
    Ok(())
}

pub(crate) fn check_conversation(conversation_id: &str) -> Result<(), Error> {
    if id::is_valid_conversation(conversation_id) {
        return Ok(());
    }
    Err(invalid("`conversationId` must be 1 to 64 bytes without white space and `/`"))
}

/// A cursor into a list of conversations; the empty one stands before the first.
pub(crate) fn check_after(after: &str) -> Result<(), Error> {
    if after.is_empty() || id::is_valid_conversation(after) {
        return Ok(());
    }
    Err(invalid("`after` must be the id of a conversation, as the last item of a page has it"))
}

pub(crate) fn check_group_id(conversation_id: &str) -> Result<(), Error> {
    if conversation_id.contains(':') {
        return Err(invalid(
            "the id of a group holds no `:`, which joins the users of a one-to-one conversation",
        ));
    }
    check_conversation(conversation_id)
}

pub(crate) fn check_user(user_id: &str) -> Result<(), Error> {
    if is_user_id(user_id) {
        return Ok(());
    }
    Err(invalid("a user id must be 1 to 64 bytes without white space, `/` and `:`"))
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(invalid(format!(
        "`name` must be at most {MAX_NAME_BYTES} bytes without control characters"
    )))
}

pub(crate) fn invalid(sentence: impl Into<String>) -> Error {
    Error::of(ErrorCode::Invalid, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_to_one_id_may_be_as_long_as_two_users() {
        let user = "u".repeat(id::MAX_ID_BYTES);
        assert!(check_conversation(&id::one_to_one(&user, "bob")).is_ok());
        assert!(check_conversation(&format!("{user}u")).is_err());
        assert!(check_group_id("a:b").is_err());
        assert!(check_user("a:b").is_err());
    }
}
