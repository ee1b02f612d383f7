//! Who is reached in which conversation: members, who of them is online, and the list of both.
//!
//! Users and rooms are numbered, so that a membership costs four bytes on either side and a list is made
//! by scanning numbers. The list of a room's online members is made when a message first needs it and
//! shared by all that follow, until a member comes, goes or flips. Bounded by grants and users online.

use std::sync::Arc;

use imflow_proto::record::{Grant, GrantChange, GrantSubject};
use imflow_proto::wire::{ConversationType, FanoutMode, Role};
use imflow_proto::{Fingerprint, FingerprintMap};
use rapidhash::RapidHashMap;

/// A conversation of more members is large: its messages wait behind those of others, and not everybody
/// is told of every change in it. Source: SPEC G8.
pub(super) const LARGE: usize = 1_000;

/// The users that an event goes to.
pub(super) type Recipients = Arc<[Arc<str>]>;

#[derive(Default)]
pub(super) struct Rooms {
    by_id: FingerprintMap<u32>,
    rooms: Vec<Room>,
    users: Users,
}

#[derive(Default)]
pub(super) struct Room {
    pub(super) kind: ConversationType,
    pub(super) name: Box<str>,
    pub(super) mode: FanoutMode,
    /// Numbers of the members that can be reached: the banned are not among them.
    members: Vec<u32>,
    /// The online ones, until something changes.
    online: Option<Recipients>,
}

#[derive(Default)]
struct Users {
    by_id: RapidHashMap<Arc<str>, u32>,
    rows: Vec<User>,
    free: Vec<u32>,
}

struct User {
    id: Arc<str>,
    online: bool,
    /// Numbers of the rooms that the user is a member of.
    rooms: Vec<u32>,
}

impl Rooms {
    /// A room and its online members.
    pub(super) fn audience(&mut self, conversation: Fingerprint) -> Option<(&Room, Recipients)> {
        let room = &mut self.rooms[*self.by_id.get(&conversation)? as usize];
        let (members, users) = (&room.members, &self.users.rows);
        let make = || {
            members
                .iter()
                .map(|user| &users[*user as usize])
                .filter(|user| user.online)
                .map(|user| Arc::clone(&user.id))
        };
        let online = Arc::clone(room.online.get_or_insert_with(|| make().collect()));
        Some((room, online))
    }

    /// The members of a room of at most so many who have no live device, `sender` left out.
    pub(super) fn absent(
        &self,
        conversation: Fingerprint,
        sender: &str,
        most: usize,
    ) -> Recipients {
        let room = self.by_id.get(&conversation).map(|room| &self.rooms[*room as usize]);
        let Some(room) = room.filter(|room| room.members.len() <= most) else {
            return Recipients::default();
        };
        let users = room.members.iter().map(|user| &self.users.rows[*user as usize]);
        let absent = users.filter(|user| !user.online && *user.id != *sender);
        absent.map(|user| Arc::clone(&user.id)).collect()
    }

    /// Loads what [`Rooms::audience`] will look at.
    pub(super) fn warm(&self, conversation: Fingerprint) {
        if let Some(room) = self.by_id.get(&conversation) {
            std::hint::black_box(self.rooms[*room as usize].online.as_ref().map(Arc::strong_count));
        }
    }

    pub(super) fn is_member(&self, conversation: &str, user: &str) -> bool {
        let room = self.by_id.get(&Fingerprint::of(conversation));
        let (Some(room), Some(user)) = (room, self.users.by_id.get(user)) else {
            return false;
        };
        self.users.rows[*user as usize].rooms.contains(room)
    }

    pub(super) fn members(&self, conversation: &str) -> usize {
        self.known(conversation).map_or(0, |room| room.members.len())
    }

    pub(super) fn is_large(&self, conversation: &str) -> bool {
        self.known(conversation).is_some_and(Room::is_large)
    }

    fn known(&self, conversation: &str) -> Option<&Room> {
        let room = self.by_id.get(&Fingerprint::of(conversation))?;
        Some(&self.rooms[*room as usize])
    }

    /// A user's shared id, if online.
    pub(super) fn online(&self, user: &str) -> Option<&Arc<str>> {
        let user = &self.users.rows[*self.users.by_id.get(user)? as usize];
        user.online.then_some(&user.id)
    }

    pub(super) fn set_online(&mut self, user: &Arc<str>, online: bool) {
        let number = self.users.number(user);
        self.users.rows[number as usize].online = online;
        for room in &self.users.rows[number as usize].rooms {
            self.rooms[*room as usize].online = None;
        }
        self.users.release_idle(number);
    }

    pub(super) fn room(&mut self, conversation: &str) -> &mut Room {
        let number = self.number(conversation);
        &mut self.rooms[number as usize]
    }

    pub(super) fn apply(&mut self, change: &GrantChange) {
        let number = self.number(&change.conversation_id);
        match &change.subject {
            GrantSubject::Conversation { kind } => self.rooms[number as usize].kind = *kind,
            GrantSubject::User { user_id, grant } => {
                self.set_member(number, user_id, grant.is_some_and(is_reached))
            }
        }
    }

    fn set_member(&mut self, room: u32, user: &Arc<str>, member: bool) {
        let number = self.users.number(user);
        let rooms = &mut self.users.rows[number as usize].rooms;
        let position = rooms.iter().position(|other| *other == room);
        let members = &mut self.rooms[room as usize].members;
        match (position, member) {
            (None, true) => {
                rooms.push(room);
                members.push(number);
            }
            (Some(position), false) => {
                rooms.swap_remove(position);
                let position = members.iter().position(|other| *other == number);
                members.swap_remove(position.expect("both sides list the membership"));
            }
            _ => {}
        }
        self.rooms[room as usize].online = None;
        self.users.release_idle(number);
    }

    fn number(&mut self, conversation: &str) -> u32 {
        *self.by_id.entry(Fingerprint::of(conversation)).or_insert_with(|| {
            self.rooms.push(Room::default());
            self.rooms.len() as u32 - 1
        })
    }
}

impl Room {
    pub(super) fn is_large(&self) -> bool {
        self.members.len() > LARGE
    }
}

impl Users {
    fn number(&mut self, user: &Arc<str>) -> u32 {
        if let Some(number) = self.by_id.get(user) {
            return *number;
        }
        let row = User { id: Arc::clone(user), online: false, rooms: Vec::new() };
        let number = match self.free.pop() {
            Some(number) => {
                self.rows[number as usize] = row;
                number
            }
            None => {
                self.rows.push(row);
                self.rows.len() as u32 - 1
            }
        };
        self.by_id.insert(Arc::clone(user), number);
        number
    }

    /// Forgets a user who is offline and a member of nothing.
    fn release_idle(&mut self, number: u32) {
        let user = &self.rows[number as usize];
        if !user.online && user.rooms.is_empty() {
            self.by_id.remove(&user.id);
            self.free.push(number);
        }
    }
}

/// Whether events of the conversation go to somebody with this grant.
fn is_reached(grant: Grant) -> bool {
    grant.role != Role::Unspecified && !grant.banned
}
