//! Who is told of a change of a conversation, and of a revoke.
//!
//! Membership is what it was before the fact, so that a new member can be told from one with a new role.
//! In conversations of at most [`LARGE`] members everybody is told; in larger ones only those affected.
//! Mutes and bans are told to nobody: those concerned learn it when they send.

use std::sync::Arc;

use imflow_proto::Fingerprint;
use imflow_proto::log::{ConversationCreated, Fact, MembersChanged, fact};
use imflow_proto::record::{Band, Delivery, Event};
use imflow_proto::wire::{
    ConversationChange, ConversationChanged, MemberInfo, Message, Recalled, Role,
};

#[cfg(doc)]
use super::rooms::LARGE;
use super::rooms::{Recipients, Rooms};

/// Calls `deliver` with each notice that somebody online gets.
pub(super) fn of_fact(rooms: &mut Rooms, fact: &Fact, deliver: impl FnMut(Delivery)) {
    match &fact.change {
        Some(fact::Change::Created(created)) => {
            of_created(rooms, &fact.conversation_id, created, deliver)
        }
        Some(fact::Change::Members(change)) => {
            of_members(rooms, &fact.conversation_id, change, deliver)
        }
        Some(fact::Change::Fanout(change)) => {
            rooms.room(&fact.conversation_id).mode = change.mode();
        }
        _ => {}
    }
}

/// Tells the sender of a message that somebody else has revoked it. That it is gone is in the revoke itself,
/// which goes to all members as any message does.
pub(super) fn of_revoke(rooms: &Rooms, revoke: &Message) -> Option<Delivery> {
    let action = revoke.action.as_ref()?;
    let sender = rooms.online(&action.target_sender_id)?;
    if action.target_sender_id == revoke.sender_id {
        return None;
    }
    let recalled = Recalled {
        conversation_id: revoke.conversation_id.clone(),
        seq: action.target_seq,
        by: revoke.sender_id.clone(),
        at: revoke.created_at,
    };
    let to = Arc::from([Arc::clone(sender)]);
    let event = Event::Recalled(Arc::new(recalled));
    Some(Delivery { event, to, except: 0, band: Band::P0 })
}

fn of_created(
    rooms: &mut Rooms,
    id: &str,
    created: &ConversationCreated,
    mut deliver: impl FnMut(Delivery),
) {
    let room = rooms.room(id);
    room.kind = created.r#type();
    room.name = created.name.as_str().into();
    let to = online(rooms, created.members.iter().map(|member| member.user_id.as_str()));
    let notice = ConversationChanged {
        conversation_id: id.into(),
        change: ConversationChange::Created.into(),
        user_id: String::new(),
        role: Role::Unspecified.into(),
        r#type: created.r#type,
        name: created.name.clone(),
    };
    send(&Arc::new(notice), to, &mut deliver);
}

fn of_members(
    rooms: &mut Rooms,
    id: &str,
    change: &MembersChanged,
    mut deliver: impl FnMut(Delivery),
) {
    let small = !rooms.is_large(id);
    let staying = if small { staying(rooms, id, change) } else { Recipients::default() };
    let room = rooms.room(id);
    let template = ConversationChanged {
        conversation_id: id.into(),
        r#type: room.kind.into(),
        name: room.name.as_ref().into(),
        ..Default::default()
    };
    for MemberInfo { user_id, role } in &change.set {
        let kind = if rooms.is_member(id, user_id) {
            ConversationChange::RoleChanged
        } else {
            ConversationChange::MemberAdded
        };
        let notice = ConversationChanged {
            change: kind.into(),
            user_id: user_id.clone(),
            role: *role,
            ..template.clone()
        };
        // In a small conversation, who is set is among those who stay.
        let to = if small {
            Arc::clone(&staying)
        } else {
            online(rooms, [user_id.as_str()].into_iter())
        };
        send(&Arc::new(notice), to, &mut deliver);
    }
    for user_id in &change.removed {
        let change = ConversationChange::MemberRemoved.into();
        let notice =
            Arc::new(ConversationChanged { change, user_id: user_id.clone(), ..template.clone() });
        send(&notice, Arc::clone(&staying), &mut deliver);
        send(&notice, online(rooms, [user_id.as_str()].into_iter()), &mut deliver);
    }
}

/// The online members after the change.
fn staying(rooms: &mut Rooms, id: &str, change: &MembersChanged) -> Recipients {
    let present =
        rooms.audience(Fingerprint::of(id)).map_or_else(Recipients::default, |(_, online)| online);
    let removed: std::collections::BTreeSet<&str> =
        change.removed.iter().map(String::as_str).collect();
    let added = change
        .set
        .iter()
        .map(|member| member.user_id.as_str())
        .filter(|user| !rooms.is_member(id, user));
    let added = added.filter_map(|user| rooms.online(user).map(Arc::clone));
    present.iter().filter(|user| !removed.contains(&***user)).map(Arc::clone).chain(added).collect()
}

fn online<'a>(rooms: &Rooms, users: impl Iterator<Item = &'a str>) -> Recipients {
    users.filter_map(|user| rooms.online(user).map(Arc::clone)).collect()
}

fn send(notice: &Arc<ConversationChanged>, to: Recipients, deliver: &mut impl FnMut(Delivery)) {
    if !to.is_empty() {
        let event = Event::ConversationChanged(Arc::clone(notice));
        deliver(Delivery { event, to, except: 0, band: Band::P0 });
    }
}
