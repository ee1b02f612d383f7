//! Where this node's users are, and when they were last heard of: read off the live sessions when somebody
//! asks, so that a heartbeat writes nothing but the session's own coarse time.

use std::collections::VecDeque;
use std::sync::Arc;

use imflow_kind::{DevicePresence, Route, Routes, StoreError, UserPresence};
use imflow_proto::wire::PresenceNotice;
use parking_lot::Mutex;
use rapidhash::RapidHashMap;

use super::hub::Hub;
use super::peer::Peer;

/// Users who are gone, and of whom it is known when they were last heard of.
const DEPARTED: usize = 100_000;

/// When users who have no session any more were last heard of.
#[derive(Default)]
pub(super) struct Departed(Mutex<Times>);

#[derive(Default)]
struct Times {
    of: RapidHashMap<Arc<str>, i64>,
    /// In the order of their leaving; one who came again stands there more than once.
    order: VecDeque<(Arc<str>, i64)>,
}

impl Departed {
    pub(super) fn note(&self, user_id: &Arc<str>, at: i64) {
        let mut times = self.0.lock();
        times.of.insert(Arc::clone(user_id), at);
        times.order.push_back((Arc::clone(user_id), at));
        while times.order.len() > DEPARTED {
            let Some((user, at)) = times.order.pop_front() else { return };
            if times.of.get(&user) == Some(&at) {
                times.of.remove(&user);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().of.len()
    }

    fn of(&self, user_id: &str) -> Option<i64> {
        self.0.lock().of.get(user_id).copied()
    }
}

impl Hub {
    /// When a session was last heard of, in milliseconds since the Unix epoch.
    pub(super) fn last_seen(&self, peer: &Peer) -> i64 {
        let silent = self.clock.now().saturating_sub(peer.last_heard());
        self.wall.now_ms().saturating_sub(silent) as i64
    }

    /// When a user was last heard of here; 0: not known.
    fn last_active_at(&self, user_id: &str) -> i64 {
        let mut last = self.departed.of(user_id).unwrap_or(0);
        self.registry.each_of(user_id, |peer| last = last.max(self.last_seen(peer)));
        last
    }

    /// Says in a notice what this node knows better.
    pub(super) fn date(&self, notice: &mut PresenceNotice) {
        if notice.last_active_at == 0 {
            notice.last_active_at = self.last_active_at(&notice.user_id);
        }
    }

    fn presence_of(&self, user_id: &str) -> UserPresence {
        let mut devices = Vec::new();
        self.registry.each_of(user_id, |peer| {
            devices.push(DevicePresence {
                device_id: peer.session.device_id.to_string(),
                node_id: self.node.to_string(),
                last_seen: self.last_seen(peer),
                since: peer.since,
            });
        });
        let last_active_at = self.last_active_at(user_id);
        UserPresence { devices, last_active_at, migrating_from: None }
    }
}

impl Routes for Hub {
    fn presence(&self, user_ids: &[&str]) -> Result<Vec<UserPresence>, StoreError> {
        Ok(user_ids.iter().map(|user| self.presence_of(user)).collect())
    }

    fn routes(&self, user_id: &str) -> Result<Vec<Route>, StoreError> {
        let mut routes = Vec::new();
        self.registry.each_of(user_id, |peer| {
            let device_id = peer.session.device_id.to_string();
            routes.push(Route { device_id, node_id: self.node.to_string() });
        });
        Ok(routes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::websocket::testing::hub_with;

    #[test]
    fn devices_tell_when_they_were_heard_of_and_who_left_is_remembered() {
        let (hub, peers) = hub_with(&[("alice", "phone"), ("alice", "pad")]);
        let now = || hub.wall.now_ms() as i64;
        for (peer, at) in [(&peers[1], 49_000), (&peers[0], 10_000)] {
            peer.times.alive.store(at, Ordering::Relaxed);
        }
        hub.clock.set(50_000);
        let presence = hub.presence(&["alice", "nobody"]).expect("local");
        let ago = |at: i64| (now() - at + 500) / 1_000;
        let seen: Vec<_> =
            presence[0].devices.iter().map(|it| (&*it.device_id, ago(it.last_seen))).collect();
        assert_eq!(seen, [("phone", 40), ("pad", 1)]);
        assert_eq!(ago(presence[0].last_active_at), 1);
        assert_eq!(presence[1], UserPresence::default());
        assert_eq!(hub.routes("alice").expect("local")[1].node_id, "node-1");

        peers.iter().for_each(|peer| hub.registry.remove(peer));
        hub.departed.note(&"alice".into(), 77);
        assert_eq!(hub.presence_of("alice").last_active_at, 77);
        for number in 0..DEPARTED {
            hub.departed.note(&format!("u{number}").into(), 1);
        }
        assert_eq!(hub.presence_of("alice").last_active_at, 0, "the list is bounded");
    }
}
