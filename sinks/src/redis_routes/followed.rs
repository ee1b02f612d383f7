//! Users whom sessions of this node follow, and whether each is online on other nodes.
//!
//! Bounded by what is followed here. The first who follows a user makes this look the user up; from then on
//! what nodes tell of the user is passed on when it makes a difference.

use std::sync::Arc;

use imflow_kind::{Dropped, Told, UserPresence};
use imflow_proto::Record;
use imflow_proto::record::{OnlineChange, Subscription};
use rapidhash::RapidHashMap;

/// Users that one session may follow; who asks for more is refused elsewhere.
const OF_SESSION: usize = 10_000;

pub(super) struct Followed {
    node: String,
    limit: usize,
    users: RapidHashMap<Arc<str>, User>,
    /// By session.
    sessions: RapidHashMap<u64, Vec<Arc<str>>>,
    dropped: Dropped,
}

#[derive(Default)]
struct User {
    followers: usize,
    is_online: bool,
    /// How often something was told: what is looked up meanwhile is older.
    told: u64,
}

/// A user to be looked up, and how often the user had been told of then.
pub(super) type Wanted = (Arc<str>, u64);

impl Followed {
    pub(super) fn new(node: &str, limit: usize) -> Self {
        let (users, sessions) = (RapidHashMap::default(), RapidHashMap::default());
        Self { node: node.into(), limit, users, sessions, dropped: Dropped::default() }
    }

    /// A session replaces what it follows: appends users to be looked up, and what is known no more.
    pub(super) fn subscribe(
        &mut self,
        subscription: &Subscription,
        wanted: &mut Vec<Wanted>,
        out: &mut Vec<Record>,
    ) {
        if subscription.user_ids.len() > OF_SESSION {
            return;
        }
        let session = subscription.session.number;
        let before = self.sessions.remove(&session).unwrap_or_default();
        let mut users = Vec::with_capacity(subscription.user_ids.len());
        for user_id in &subscription.user_ids {
            if let Some((user_id, user)) = self.users.get_key_value(user_id.as_str()) {
                let user_id = Arc::clone(user_id);
                let followers = user.followers + 1;
                self.users.entry(Arc::clone(&user_id)).and_modify(|it| it.followers = followers);
                users.push(user_id);
            } else if self.users.len() < self.limit {
                let user_id: Arc<str> = user_id.as_str().into();
                self.users.insert(Arc::clone(&user_id), User { followers: 1, ..User::default() });
                wanted.push((Arc::clone(&user_id), 0));
                users.push(user_id);
            } else if let Some(dropped) = self.dropped.add(1) {
                tracing::warn!(
                    dropped,
                    "too many users are followed to hear of all on other nodes"
                );
            }
        }
        if !users.is_empty() {
            self.sessions.insert(session, users);
        }
        before.iter().for_each(|user| self.unfollow(user, out));
    }

    fn unfollow(&mut self, user_id: &Arc<str>, out: &mut Vec<Record>) {
        let Some(user) = self.users.get_mut(user_id) else { return };
        user.followers -= 1;
        if user.followers == 0 {
            if user.is_online {
                out.push(elsewhere(user_id, false, 0));
            }
            self.users.remove(user_id);
        }
    }

    /// All that are followed, to be looked up anew.
    pub(super) fn all(&self) -> Vec<Wanted> {
        self.users.iter().map(|(user_id, user)| (Arc::clone(user_id), user.told)).collect()
    }

    /// What was looked up.
    pub(super) fn found(&mut self, wanted: &Wanted, presence: &UserPresence) -> Option<Record> {
        let (user_id, told) = wanted;
        let user = self.users.get(user_id)?;
        if user.told == *told { self.note(user_id, presence) } else { None }
    }

    /// What a node said of a user.
    pub(super) fn told(&mut self, told: &Told) -> Option<Record> {
        let user_id = Arc::clone(self.users.get_key_value(told.user_id.as_str())?.0);
        self.users.entry(Arc::clone(&user_id)).and_modify(|user| user.told += 1);
        self.note(&user_id, &told.presence)
    }

    fn note(&mut self, user_id: &Arc<str>, presence: &UserPresence) -> Option<Record> {
        let user = self.users.get_mut(user_id)?;
        let online = presence.devices.iter().any(|device| device.node_id != self.node);
        let changed = std::mem::replace(&mut user.is_online, online) != online;
        changed.then(|| elsewhere(user_id, online, presence.last_active_at))
    }
}

fn elsewhere(user_id: &Arc<str>, online: bool, last_active_at: i64) -> Record {
    Record::Online(OnlineChange { user_id: Arc::clone(user_id), online, last_active_at })
}

#[cfg(test)]
mod tests {
    use imflow_kind::DevicePresence;
    use imflow_proto::record::Session;

    use super::*;

    fn follow(followed: &mut Followed, number: u64, users: &[&str]) -> (usize, Vec<bool>) {
        let (user_id, device_id) = ("bob".into(), "phone".into());
        let session = Arc::new(Session { number, user_id, device_id, scopes: Default::default() });
        let user_ids = users.iter().map(|it| (*it).to_owned()).collect();
        let conversation_ids = Vec::new();
        let subscription = Subscription { ticket: None, session, user_ids, conversation_ids };
        let (mut wanted, mut out) = (Vec::new(), Vec::new());
        followed.subscribe(&subscription, &mut wanted, &mut out);
        (wanted.len(), out.iter().map(online).collect())
    }

    fn online(record: &Record) -> bool {
        let Record::Online(change) = record else { panic!("{record:?}") };
        change.online
    }

    fn on(node: &str) -> UserPresence {
        let (device_id, node_id) = ("phone".into(), node.into());
        let device = DevicePresence { device_id, node_id, last_seen: 5, since: 1 };
        UserPresence { devices: vec![device], last_active_at: 5, migrating_from: None }
    }

    fn told(followed: &mut Followed, presence: UserPresence) -> Option<bool> {
        let told = Told { user_id: "alice".into(), presence };
        followed.told(&told).as_ref().map(online)
    }

    #[test]
    fn only_what_makes_a_difference_on_other_nodes_is_told() {
        let mut followed = Followed::new("n1", 10);
        assert_eq!(told(&mut followed, on("n2")), None, "nobody follows");
        assert_eq!(follow(&mut followed, 1, &["alice"]), (1, vec![]));
        assert_eq!(follow(&mut followed, 2, &["alice"]), (0, vec![]));
        assert_eq!(told(&mut followed, on("n1")), None);
        assert_eq!(told(&mut followed, on("n2")), Some(true));
        assert_eq!(told(&mut followed, on("n3")), None);
        assert_eq!(told(&mut followed, UserPresence::default()), Some(false));
        assert_eq!(told(&mut followed, on("n3")), Some(true));
        assert_eq!(follow(&mut followed, 1, &[]), (0, vec![]));
        assert_eq!(follow(&mut followed, 2, &[]), (0, vec![false]), "it is known no more");
        assert!(followed.users.is_empty() && followed.sessions.is_empty());
    }

    #[test]
    fn what_is_looked_up_does_not_undo_what_was_told_meanwhile() {
        let mut followed = Followed::new("n1", 10);
        follow(&mut followed, 1, &["alice"]);
        let wanted = followed.all();
        assert_eq!(told(&mut followed, on("n2")), Some(true));
        assert!(followed.found(&wanted[0], &UserPresence::default()).is_none());
        let wanted = followed.all();
        assert_eq!(
            followed.found(&wanted[0], &UserPresence::default()).as_ref().map(online),
            Some(false)
        );
    }

    #[test]
    fn what_is_followed_is_bounded() {
        let mut followed = Followed::new("n1", 2);
        assert_eq!(follow(&mut followed, 1, &["a", "b", "c"]).0, 2);
        // What takes its place comes first, so that nobody is looked up twice.
        assert_eq!(follow(&mut followed, 1, &["a", "b"]).0, 0);
        assert_eq!(followed.users.len(), 2);
    }
}
