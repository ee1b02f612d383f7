//! Who is told how far a member has come.
//!
//! In small conversations all online members; in larger ones the user's own devices only, since a receipt
//! of each member to each other would grow with the square of their number.

use std::sync::Arc;

use imflow_proto::Fingerprint;
use imflow_proto::log::CursorsMoved;
use imflow_proto::record::{Band, Delivery, Event};
use imflow_proto::wire::Receipt;

use super::rooms::{Recipients, Rooms};

/// Calls `deliver` with each receipt that somebody online gets.
pub(super) fn of_moves(
    rooms: &mut Rooms,
    moves: &CursorsMoved,
    small: usize,
    mut deliver: impl FnMut(Delivery),
) {
    let id = &moves.conversation_id;
    let everybody = (rooms.members(id) <= small)
        .then(|| rooms.audience(Fingerprint::of(id)).map(|(_, online)| online))
        .flatten();
    for row in &moves.members {
        let to = match &everybody {
            Some(online) => Arc::clone(online),
            None => rooms.online(&row.user_id).map(Arc::clone).into_iter().collect::<Recipients>(),
        };
        if to.is_empty() {
            continue;
        }
        let receipt = Receipt {
            conversation_id: id.clone(),
            user_id: row.user_id.clone(),
            delivered: row.delivered(),
            read: row.read,
        };
        let event = Event::Receipt(Arc::new(receipt));
        deliver(Delivery { event, to, except: 0, band: Band::P1 });
    }
}
