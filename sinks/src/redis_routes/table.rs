//! The sessions of this node, by user, and what of them others have yet to be told.
//!
//! What is told of a user is all that this node has of it, so a user waits at most once, however many events
//! came, and telling it again does no harm. Users who are online are told again from time to time: that keeps
//! their keys, and carries when their devices were last heard of.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use imflow_kind::{DeviceHere, Shared, UserHere};
use imflow_proto::id::partition_of;
use imflow_proto::record::SessionEvent;
use rapidhash::RapidHashMap;

/// How long somebody else may hold a user's lock.
pub(super) const LOCK_MS: u64 = 200;
/// After so long conversations are told anew who is online: half of the time that their sets live.
pub(super) const TELL_AGAIN_MS: u64 = 12 * 3_600_000;
/// After so long a locked user is tried again.
pub(super) const LOCKED_RETRY_MS: u64 = 50;

#[derive(Default)]
pub(super) struct Table {
    users: RapidHashMap<Arc<str>, User>,
    /// Users to be told of, in order, each once.
    dirty: VecDeque<Arc<str>>,
    /// When users become dirty of themselves.
    due: BTreeMap<u64, Vec<Arc<str>>>,
    refresh_ms: u64,
}

#[derive(Default)]
struct User {
    devices: Vec<DeviceHere>,
    ended: Vec<DeviceHere>,
    is_dirty: bool,
    /// The entry of `due` that counts; 0: none.
    due: u64,
    /// Since when somebody else holds the lock.
    locked_since: Option<u64>,
    /// Whether the user was online, here or elsewhere, when that was last told to conversations.
    was_online: Option<bool>,
    /// When conversations are told again, so that their sets do not expire.
    tell_again: u64,
}

/// What a write has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The user is online now, or is not any more, on any node.
    pub(super) flipped: Option<bool>,
    pub(super) inconsistent: u64,
}

impl Table {
    pub(super) fn new(refresh_ms: u64) -> Self {
        Self { refresh_ms, ..Self::default() }
    }

    /// Users with a session here, and those who had one and of whom that is not told.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn is_here(&self, user_id: &str) -> bool {
        self.users.get(user_id).is_some_and(|user| !user.devices.is_empty())
    }

    /// Folds an event of this node.
    pub(super) fn take(&mut self, event: &SessionEvent) {
        let session = &event.session;
        let device = DeviceHere {
            device_id: Arc::clone(&session.device_id),
            since: event.since,
            number: session.number,
            last_seen: event.at,
        };
        let user = self.users.entry(Arc::clone(&session.user_id)).or_default();
        let order = |it: &DeviceHere| (it.since, it.number);
        let known = user.devices.iter().position(|it| it.device_id == device.device_id);
        match (known, event.online) {
            (None, true) => user.devices.push(device),
            (Some(at), true) if order(&device) > order(&user.devices[at]) => {
                user.devices[at] = device;
            }
            (Some(at), false) if order(&device) == order(&user.devices[at]) => {
                user.devices.swap_remove(at);
                user.ended.retain(|it| it.device_id != device.device_id);
                user.ended.push(device);
            }
            _ => return,
        }
        self.mark(&Arc::clone(&session.user_id));
    }

    fn mark(&mut self, user_id: &Arc<str>) {
        if let Some(user) = self.users.get_mut(user_id)
            && !user.is_dirty
        {
            user.is_dirty = true;
            self.dirty.push_back(Arc::clone(user_id));
        }
    }

    /// Everything is to be told anew.
    pub(super) fn mark_all(&mut self) {
        let users: Vec<_> = self.users.keys().map(Arc::clone).collect();
        for user_id in users {
            if let Some(user) = self.users.get_mut(&user_id) {
                user.was_online = None;
            }
            self.mark(&user_id);
        }
    }

    /// Every session has ended.
    pub(super) fn end_all(&mut self, at: i64) {
        for user in self.users.values_mut() {
            let ended = user.devices.drain(..).map(|it| DeviceHere { last_seen: at, ..it });
            user.ended.extend(ended);
        }
        self.mark_all();
    }

    /// Takes users who are to be told of now, with when `seen` says that their devices were last heard of.
    pub(super) fn take_dirty(
        &mut self,
        now: u64,
        limit: usize,
        seen: impl Fn(&str, &mut [DeviceHere]),
    ) -> Vec<UserHere> {
        while let Some(entry) = self.due.first_entry().filter(|entry| *entry.key() <= now) {
            let at = *entry.key();
            for user_id in entry.remove() {
                if self.users.get(&user_id).is_some_and(|user| user.due == at) {
                    self.mark(&user_id);
                }
            }
        }
        let count = limit.min(self.dirty.len());
        let taken: Vec<_> = self.dirty.drain(..count).collect();
        let here = taken.into_iter().filter_map(|user_id| {
            let user = self.users.get_mut(&user_id)?;
            user.is_dirty = false;
            user.due = 0;
            seen(&user_id, &mut user.devices);
            let force = user.locked_since.is_some_and(|since| since + LOCK_MS <= now);
            let (devices, ended) = (user.devices.clone(), user.ended.clone());
            Some(UserHere { user_id, devices, ended, force })
        });
        here.collect()
    }

    /// When somebody is to be told of; 0: at once.
    pub(super) fn next_due(&self) -> Option<u64> {
        if self.dirty.is_empty() { self.due.keys().next().copied() } else { Some(0) }
    }

    /// Notes what came of a user that was told of.
    pub(super) fn told(&mut self, here: &UserHere, shared: &Shared, now: u64) -> Outcome {
        let mut outcome = Outcome { flipped: None, inconsistent: 0 };
        let refresh = self.refresh_at(&here.user_id, now);
        let Some(user) = self.users.get_mut(&here.user_id) else { return outcome };
        match shared {
            Shared::Locked => {
                user.locked_since.get_or_insert(now);
                self.schedule(&here.user_id, now + LOCKED_RETRY_MS);
            }
            Shared::Written { online, elsewhere, inconsistent } => {
                user.locked_since = None;
                user.ended.retain(|it| !here.ended.contains(it));
                // A device that is elsewhere may be told of again: it comes back here if what is there ends,
                // or was wrong.
                outcome.inconsistent = inconsistent + elsewhere.len() as u64;
                let again = *online && now >= user.tell_again;
                if user.was_online.replace(*online) != Some(*online) || again {
                    user.tell_again = now + TELL_AGAIN_MS;
                    outcome.flipped = Some(*online);
                }
                if user.devices.is_empty() && user.ended.is_empty() {
                    if !user.is_dirty {
                        self.users.remove(&here.user_id);
                    }
                } else {
                    self.schedule(&here.user_id, refresh);
                }
            }
        }
        outcome
    }

    /// Nothing came of it: it is told again.
    pub(super) fn failed(&mut self, here: &[UserHere]) {
        here.iter().for_each(|it| self.mark(&it.user_id));
    }

    /// Spread over a tenth of the time, so that users who came together are not told of together.
    fn refresh_at(&self, user_id: &str, now: u64) -> u64 {
        let spread = u64::from(partition_of(user_id, 1_024)) * (self.refresh_ms / 10) / 1_024;
        now + self.refresh_ms - spread
    }

    fn schedule(&mut self, user_id: &Arc<str>, at: u64) {
        if let Some(user) = self.users.get_mut(user_id)
            && !user.is_dirty
        {
            user.due = at;
            self.due.entry(at).or_default().push(Arc::clone(user_id));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use imflow_proto::record::Session;

    use super::*;

    pub(crate) fn event(user: &str, number: u64, since: i64, end: Option<i64>) -> SessionEvent {
        let (user_id, device_id) = (user.into(), "phone".into());
        let session = Arc::new(Session { number, user_id, device_id, scopes: Default::default() });
        match end {
            None => SessionEvent::began(session, "n1".into(), since),
            Some(at) => SessionEvent::ended(session, "n1".into(), since, at),
        }
    }

    fn written(online: bool) -> Shared {
        Shared::Written { online, elsewhere: Vec::new(), inconsistent: 0 }
    }

    fn dirty(table: &mut Table, now: u64) -> Vec<UserHere> {
        table.take_dirty(now, 10, |_, _| ())
    }

    #[test]
    fn a_user_waits_once_and_is_told_again_before_its_keys_expire() {
        let mut table = Table::new(60_000);
        for number in 1..4 {
            table.take(&event("alice", number, number as i64, None));
        }
        table.take(&event("alice", 2, 2, Some(9)));
        let here = dirty(&mut table, 0);
        assert_eq!((here.len(), here[0].devices[0].number, here[0].ended.len()), (1, 3, 0));
        assert_eq!(table.told(&here[0], &written(true), 0).flipped, Some(true));
        let due = table.next_due().expect("a refresh");
        assert!((54_000..=60_000).contains(&due), "{due}");
        assert!(dirty(&mut table, due - 1).is_empty());
        let again = dirty(&mut table, due);
        assert_eq!(again, here);
        assert_eq!(table.told(&again[0], &written(true), due).flipped, None);

        table.take(&event("alice", 3, 3, Some(due as i64)));
        let gone = dirty(&mut table, due);
        assert_eq!((gone[0].devices.len(), gone[0].ended.len()), (0, 1));
        assert_eq!(table.told(&gone[0], &written(false), due).flipped, Some(false));
        assert_eq!((table.len(), table.next_due().filter(|at| *at == 0)), (0, None));
        assert!(dirty(&mut table, u64::MAX).is_empty());
    }

    #[test]
    fn what_failed_is_told_again_and_what_ended_meanwhile_too() {
        let mut table = Table::new(60_000);
        table.take(&event("alice", 1, 1, None));
        let here = dirty(&mut table, 0);
        table.failed(&here);
        assert_eq!(dirty(&mut table, 0), here);
        table.take(&event("alice", 1, 1, Some(5)));
        table.told(&here[0], &written(true), 0);
        assert_eq!(dirty(&mut table, 0)[0].ended.len(), 1);
        table.mark_all();
        assert_eq!(dirty(&mut table, 0).len(), 1);
    }

    #[test]
    fn a_lock_is_waited_for_as_long_as_one_lives() {
        let mut table = Table::new(60_000);
        table.take(&event("alice", 1, 1, None));
        let mut now = 1_000;
        let mut tries = 0;
        loop {
            let here = dirty(&mut table, now);
            if here[0].force {
                break;
            }
            tries += 1;
            table.told(&here[0], &Shared::Locked, now);
            let due = table.next_due().expect("another try");
            assert_eq!(due, now + LOCKED_RETRY_MS);
            now = due;
        }
        assert_eq!((now, tries), (1_000 + LOCK_MS, 4));
    }

    #[test]
    fn a_device_that_is_elsewhere_is_counted_and_told_of_at_the_next_refresh() {
        let mut table = Table::new(60_000);
        table.take(&event("alice", 1, 1, None));
        let here = dirty(&mut table, 0);
        let elsewhere = vec!["phone".to_owned()];
        let moved = Shared::Written { online: true, elsewhere, inconsistent: 0 };
        assert_eq!(table.told(&here[0], &moved, 0).inconsistent, 1);
        assert!(dirty(&mut table, 50_000).is_empty());
        assert_eq!(dirty(&mut table, 60_000), here);
    }
}
