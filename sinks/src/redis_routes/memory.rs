//! What nodes share, in memory: for virtual time, and as the model that the real one is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imflow_kind::{
    Beat, Clock, DevicePresence, Migrated, ReplicaError, Shared, SharedRoutes, Told, UserHere,
    UserPresence,
};
use parking_lot::Mutex;

/// Users of a failed node that are taken off it at a time.
const MIGRATED: usize = 500;

/// The other system.
#[derive(Default)]
pub(super) struct Server {
    pub(super) is_away: bool,
    users: BTreeMap<String, User>,
    held: BTreeMap<String, BTreeSet<String>>,
    beats: BTreeMap<String, u64>,
    members: BTreeMap<String, BTreeSet<String>>,
    /// Users whose lock somebody else holds.
    pub(super) locked: BTreeSet<String>,
    /// What was said of users, in order.
    pub(super) told: Vec<Told>,
}

#[derive(Default)]
struct User {
    presence: UserPresence,
    sessions: BTreeMap<String, Key>,
    ended: BTreeMap<String, Key>,
}

/// Orders the sessions of a device: when it began, where, and its number there.
type Key = (i64, String, u64);

/// One node's way to it.
pub(super) struct Memory {
    pub(super) server: Arc<Mutex<Server>>,
    pub(super) node: String,
    pub(super) down_ms: u64,
    pub(super) clock: Arc<dyn Clock>,
}

impl Memory {
    fn reach(&self) -> Result<parking_lot::MutexGuard<'_, Server>, ReplicaError> {
        let server = self.server.lock();
        if server.is_away { Err(ReplicaError("it is out of reach".into())) } else { Ok(server) }
    }
}

impl Server {
    /// Forgets everything, as a server without a disk does.
    #[cfg(test)]
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn put(&mut self, here: &UserHere, node: &str) -> Shared {
        if self.locked.contains(&*here.user_id) && !here.force {
            return Shared::Locked;
        }
        let user = self.users.entry(here.user_id.to_string()).or_default();
        let (mut changed, mut elsewhere) = (false, Vec::new());
        for it in &here.ended {
            let (device, key) = (it.device_id.to_string(), (it.since, node.to_owned(), it.number));
            if user.sessions.get(&device).is_some_and(|known| *known <= key) {
                user.sessions.remove(&device);
                user.presence.devices.retain(|other| other.device_id != device);
                changed = true;
            }
            if user.ended.get(&device).is_none_or(|ended| *ended < key) {
                user.ended.insert(device, key);
            }
            user.presence.last_active_at = user.presence.last_active_at.max(it.last_seen);
        }
        for it in &here.devices {
            let (device, key) = (it.device_id.to_string(), (it.since, node.to_owned(), it.number));
            let ended = user.ended.get(&device).is_some_and(|ended| *ended >= key);
            if ended || user.sessions.get(&device).is_some_and(|known| *known > key) {
                elsewhere.push(device);
                continue;
            }
            changed |= user.sessions.insert(device.clone(), key.clone()) != Some(key);
            let (node_id, last_seen, since) = (node.to_owned(), it.last_seen, it.since);
            let now = DevicePresence { device_id: device, node_id, last_seen, since };
            user.presence.devices.retain(|other| other.device_id != now.device_id);
            user.presence.devices.push(now);
            user.presence.last_active_at = user.presence.last_active_at.max(last_seen);
        }
        user.presence.devices.sort_by(|a, b| a.device_id.cmp(&b.device_id));
        let online = !user.presence.devices.is_empty();
        if online {
            user.presence.migrating_from = None;
        }
        let presence = user.presence.clone();
        let held = self.held.entry(node.to_owned()).or_default();
        match presence.devices.iter().any(|it| it.node_id == node) {
            true => held.insert(here.user_id.to_string()),
            false => held.remove(&*here.user_id),
        };
        if changed {
            self.told.push(Told { user_id: here.user_id.to_string(), presence });
        }
        Shared::Written { online, elsewhere, inconsistent: 0 }
    }

    fn migrate(&mut self, node: &str) -> Migrated {
        let held = self.held.entry(node.to_owned()).or_default();
        let taken: Vec<_> = held.iter().take(MIGRATED).cloned().collect();
        held.retain(|user| !taken.contains(user));
        let mut migrated = Migrated { more: !held.is_empty(), ..Migrated::default() };
        for user_id in taken {
            let user = self.users.entry(user_id.clone()).or_default();
            let before = user.presence.devices.len();
            user.presence.devices.retain(|it| it.node_id != node);
            user.sessions.retain(|_, (_, on, _)| on != node);
            migrated.routes += (before - user.presence.devices.len()) as u64;
            let online = !user.presence.devices.is_empty();
            user.presence.migrating_from = (!online).then(|| node.to_owned());
            let presence = user.presence.clone();
            self.told.push(Told { user_id: user_id.clone(), presence });
            migrated.users.push((user_id, online));
        }
        if !migrated.more {
            self.beats.remove(node);
        }
        migrated
    }
}

impl SharedRoutes for Memory {
    fn put(&mut self, users: &[UserHere], _now_ms: u64) -> Result<Vec<Shared>, ReplicaError> {
        let mut server = self.reach()?;
        Ok(users.iter().map(|user| server.put(user, &self.node)).collect())
    }

    fn beat(&mut self) -> Result<Beat, ReplicaError> {
        let mut server = self.reach()?;
        let now = self.clock.now_ms();
        let is_down = |beat: u64| now - beat > self.down_ms;
        let before = server.beats.insert(self.node.clone(), now);
        let others =
            server.beats.iter().filter(|(node, beat)| **node != self.node && is_down(**beat));
        let failed = others.map(|(node, _)| node.clone()).collect();
        Ok(Beat { joined: before.is_none_or(is_down), failed })
    }

    fn migrate(&mut self, node_id: &str) -> Result<Migrated, ReplicaError> {
        let now = self.clock.now_ms();
        let mut server = self.reach()?;
        let is_down = server.beats.get(node_id).is_some_and(|beat| now - beat > self.down_ms);
        Ok(match is_down {
            true => server.migrate(node_id),
            false => Migrated { is_anothers: true, ..Migrated::default() },
        })
    }

    fn leave(&mut self) -> Result<(), ReplicaError> {
        self.reach()?.beats.remove(&self.node);
        Ok(())
    }

    fn presence(&mut self, user_ids: &[&str]) -> Result<Vec<UserPresence>, ReplicaError> {
        let server = self.reach()?;
        let of = |user: &&str| server.users.get(*user).map(|it| it.presence.clone());
        Ok(user_ids.iter().map(|user| of(user).unwrap_or_default()).collect())
    }

    fn mark_members(&mut self, marks: &[(String, Arc<str>, bool)]) -> Result<(), ReplicaError> {
        let mut server = self.reach()?;
        for (conversation, user, online) in marks {
            let members = server.members.entry(conversation.clone()).or_default();
            match online {
                true => members.insert(user.to_string()),
                false => members.remove(&**user),
            };
        }
        Ok(())
    }

    fn members(&mut self, conversation_id: &str) -> Result<Option<Vec<String>>, ReplicaError> {
        let server = self.reach()?;
        let members = server.members.get(conversation_id).filter(|it| !it.is_empty());
        Ok(members.map(|it| it.iter().cloned().collect()))
    }
}
