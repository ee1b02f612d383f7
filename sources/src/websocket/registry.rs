//! The live sessions of this node, by user and by session number.
//!
//! Sharded, so that connecting clients and the dispatcher seldom meet. A device has at most one
//! session: a newer one takes the older one's place, and the older one is handed back to be closed.

use std::sync::Arc;

use parking_lot::Mutex;
use rapidhash::RapidHashMap;

use super::peer::Peer;

const SHARDS: usize = 64;

type Users = RapidHashMap<Arc<str>, Vec<Arc<Peer>>>;
type Numbers = RapidHashMap<u64, Arc<Peer>>;

/// Who is connected.
pub(super) struct Registry {
    by_user: Box<[Mutex<Users>]>,
    by_number: Box<[Mutex<Numbers>]>,
}

/// The user has as many sessions as it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            by_user: (0..SHARDS).map(|_| Mutex::default()).collect(),
            by_number: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Adds a session; gives back the one of the same device that it replaces. `before` is told of that one
    /// while nobody can push to either.
    ///
    /// # Errors
    /// When the user has `limit` sessions of other devices.
    pub(super) fn insert(
        &self,
        peer: &Arc<Peer>,
        limit: usize,
        before: impl FnOnce(&Arc<Peer>),
    ) -> Result<Option<Arc<Peer>>, TooMany> {
        let mut users = self.user_shard(&peer.session.user_id).lock();
        let sessions = users.entry(Arc::clone(&peer.session.user_id)).or_default();
        let same_device = |other: &Arc<Peer>| other.session.device_id == peer.session.device_id;
        let replaced = match sessions.iter().position(same_device) {
            Some(older) => {
                before(&sessions[older]);
                Some(std::mem::replace(&mut sessions[older], Arc::clone(peer)))
            }
            None if sessions.len() >= limit => return Err(TooMany),
            None => {
                sessions.push(Arc::clone(peer));
                None
            }
        };
        drop(users);
        self.number_shard(peer.session.number).lock().insert(peer.session.number, Arc::clone(peer));
        Ok(replaced)
    }

    /// Removes a session, replaced or not.
    pub(super) fn remove(&self, peer: &Peer) {
        let mut users = self.user_shard(&peer.session.user_id).lock();
        if let Some(sessions) = users.get_mut(&peer.session.user_id) {
            sessions.retain(|other| other.session.number != peer.session.number);
            if sessions.is_empty() {
                users.remove(&peer.session.user_id);
            }
        }
        drop(users);
        self.number_shard(peer.session.number).lock().remove(&peer.session.number);
    }

    /// Calls `visit` for each session of a user. It must not come back to the registry.
    pub(super) fn each_of(&self, user_id: &str, mut visit: impl FnMut(&Arc<Peer>)) {
        if let Some(sessions) = self.user_shard(user_id).lock().get(user_id) {
            sessions.iter().for_each(&mut visit);
        }
    }

    /// The session of this number.
    pub(super) fn numbered(&self, number: u64) -> Option<Arc<Peer>> {
        self.number_shard(number).lock().get(&number).cloned()
    }

    /// Calls `visit` for every session. It must not come back to the registry.
    pub(super) fn each(&self, mut visit: impl FnMut(&Arc<Peer>)) {
        for shard in &self.by_number {
            shard.lock().values().for_each(&mut visit);
        }
    }

    fn user_shard(&self, user_id: &str) -> &Mutex<Users> {
        &self.by_user[(rapidhash::v3::rapidhash_v3(user_id.as_bytes()) >> 32) as usize % SHARDS]
    }

    fn number_shard(&self, number: u64) -> &Mutex<Numbers> {
        &self.by_number[number as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::peer;

    fn numbers(registry: &Registry, user: &str) -> Vec<u64> {
        let mut numbers = Vec::new();
        registry.each_of(user, |peer| numbers.push(peer.session.number));
        numbers
    }

    #[test]
    fn a_newer_connection_of_a_device_replaces_the_older() {
        let registry = Registry::new();
        let (first, second, other) =
            (peer("alice", "phone", 1), peer("alice", "phone", 2), peer("alice", "pad", 3));
        assert!(registry.insert(&first, 2, |_| {}).expect("room").is_none());
        assert!(registry.insert(&other, 2, |_| {}).expect("room").is_none());
        let replaced = registry
            .insert(&second, 2, |_| {})
            .expect("takes the place of the first")
            .expect("the first");
        assert_eq!(replaced.session.number, 1);
        assert_eq!(numbers(&registry, "alice"), [2, 3]);
        // The first one leaves late, and takes nobody with it.
        registry.remove(&first);
        assert_eq!(numbers(&registry, "alice"), [2, 3]);
        assert!(registry.numbered(1).is_none() && registry.numbered(2).is_some());
    }

    #[test]
    fn a_user_has_a_limit_of_devices() {
        let registry = Registry::new();
        registry.insert(&peer("alice", "a", 1), 1, |_| {}).expect("room");
        assert_eq!(registry.insert(&peer("alice", "b", 2), 1, |_| {}).err(), Some(TooMany));
        assert!(registry.numbered(2).is_none());
    }
}
