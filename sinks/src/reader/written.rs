//! What a user wrote and the log no longer keeps: the part of an export that only an archive has.

use imflow_proto::record::{Session, Written};
use imflow_proto::wire::{Error, ErrorCode, Messages};

use super::answer::failed;
use super::layers::Layers;

/// Messages of a page.
const PAGE: usize = 200;

pub(super) fn page(
    layers: &Layers<'_>,
    session: &Session,
    asked: &Written,
) -> Result<Messages, Error> {
    if !session.scopes.admin {
        return Err(Error::of(ErrorCode::Forbidden, "only the control API reads for an export"));
    }
    let after = (&*asked.after_conversation, asked.after_seq);
    layers.written(&asked.user_id, after, PAGE).map_err(|error| failed(&error))
}
