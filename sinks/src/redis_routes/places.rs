//! Where users are, for those who ask: this node's own devices, a cache, then what nodes share.

use std::sync::{Arc, OnceLock};

use imflow_kind::{
    Clock, ReplicaError, Route, Routes, SharedRoutes, StoreError, Told, UserPresence,
};
use parking_lot::Mutex;

use super::cache::Cache;
use super::keeper::Ordinary;

/// Users asked for at a time.
const BATCH: usize = 500;
/// Busy conversations whose online members are remembered.
const BUSY: usize = 1_000;

pub(super) struct Places {
    node: String,
    clock: Arc<dyn Clock>,
    shared: Mutex<Box<dyn SharedRoutes>>,
    /// Known at start.
    pub(super) gateway: OnceLock<Arc<dyn Routes>>,
    pub(super) ordinary: OnceLock<Arc<Ordinary>>,
    /// Answers that are used until they fail, or are too old.
    routes: Option<Mutex<Cache<String, Vec<Route>>>>,
    busy: Mutex<Cache<String, Vec<String>>>,
}

/// How long answers are used.
pub(super) struct Ages {
    /// Whether routes are cached at all.
    pub(super) sticky: bool,
    pub(super) users: usize,
    pub(super) routes_ms: u64,
    pub(super) busy_ms: u64,
}

impl Places {
    pub(super) fn new(
        node: &str,
        clock: Arc<dyn Clock>,
        shared: Box<dyn SharedRoutes>,
        ages: &Ages,
    ) -> Arc<Self> {
        let routes = Cache::new(ages.users, ages.routes_ms, ages.routes_ms / 10);
        let busy = Cache::new(BUSY, ages.busy_ms, ages.busy_ms / 4);
        Arc::new(Self {
            node: node.into(),
            clock,
            shared: Mutex::new(shared),
            gateway: OnceLock::new(),
            ordinary: OnceLock::new(),
            routes: ages.sticky.then(|| Mutex::new(routes)),
            busy: Mutex::new(busy),
        })
    }

    /// A node told of a user: what is remembered of the user is put right.
    pub(super) fn hear(&self, told: &Told) {
        let Some(routes) = &self.routes else { return };
        let (mut routes, now) = (routes.lock(), self.clock.now_ms());
        if routes.get(&*told.user_id, now).is_some() {
            keep(&mut routes, &told.user_id, &told.presence, now);
        }
    }

    /// What nodes share, in batches.
    pub(super) fn shared(&self, user_ids: &[&str]) -> Result<Vec<UserPresence>, ReplicaError> {
        let mut found = Vec::with_capacity(user_ids.len());
        for batch in user_ids.chunks(BATCH) {
            found.append(&mut self.shared.lock().presence(batch)?);
        }
        Ok(found)
    }

    fn online_of(&self, mut members: Vec<String>) -> Result<Vec<String>, StoreError> {
        let presence = self.presence(&members.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut online = presence.iter().map(|it| !it.devices.is_empty());
        members.retain(|_| online.next() == Some(true));
        Ok(members)
    }

    /// Of a conversation with a set of its online members. Those who are not are taken out of it: a failed
    /// node cannot.
    fn ordinary_members(&self, conversation_id: &str) -> Result<Option<Vec<String>>, StoreError> {
        if !self.ordinary.get().is_some_and(|it| it.has_set(conversation_id)) {
            return Ok(None);
        }
        let kept = self.shared.lock().members(conversation_id).map_err(away)?;
        let Some(kept) = kept else { return Ok(None) };
        let mut online = self.online_of(kept.clone())?;
        online.sort();
        let stale = kept.into_iter().filter(|user| online.binary_search(user).is_err());
        let stale: Vec<_> =
            stale.map(|user| (conversation_id.to_owned(), user.into(), false)).collect();
        if !stale.is_empty() {
            self.shared.lock().mark_members(&stale).map_err(away)?;
        }
        Ok(Some(online))
    }
}

impl Routes for Places {
    fn presence(&self, user_ids: &[&str]) -> Result<Vec<UserPresence>, StoreError> {
        let mut found = self.shared(user_ids).map_err(away)?;
        if let Some(gateway) = self.gateway.get() {
            for (found, here) in found.iter_mut().zip(gateway.presence(user_ids)?) {
                // This node knows its own devices best.
                let newer = |device: &str, since| {
                    here.devices.iter().any(|it| it.device_id == device && it.since >= since)
                };
                found
                    .devices
                    .retain(|it| it.node_id != self.node && !newer(&it.device_id, it.since));
                let others: Vec<_> = found.devices.iter().map(|it| it.device_id.clone()).collect();
                let here_alone = here.devices.into_iter();
                found.devices.extend(here_alone.filter(|it| !others.contains(&it.device_id)));
                found.devices.sort_by(|a, b| a.device_id.cmp(&b.device_id));
                found.last_active_at = found.last_active_at.max(here.last_active_at);
                if !found.devices.is_empty() {
                    found.migrating_from = None;
                }
            }
        }
        if let Some(routes) = &self.routes {
            let (mut routes, now) = (routes.lock(), self.clock.now_ms());
            // More would push out what is asked for singly.
            for (user, presence) in user_ids.iter().zip(&found).take(BATCH / 10) {
                keep(&mut routes, user, presence, now);
            }
        }
        Ok(found)
    }

    fn routes(&self, user_id: &str) -> Result<Vec<Route>, StoreError> {
        let now = self.clock.now_ms();
        let cached = self.routes.as_ref().and_then(|routes| routes.lock().get(user_id, now));
        match cached {
            Some(cached) => Ok(cached),
            None => Ok(self.presence(&[user_id])?.first().map(routes_of).unwrap_or_default()),
        }
    }

    fn failed(&self, user_id: &str, device_id: &str) {
        let Some(routes) = &self.routes else { return };
        let (mut routes, now) = (routes.lock(), self.clock.now_ms());
        let known = routes.get(user_id, now).unwrap_or_default();
        if known.iter().any(|route| route.device_id == device_id) {
            routes.drop_entry(user_id);
        }
    }

    fn online_members(
        &self,
        conversation_id: &str,
        members: &dyn Fn() -> Result<Vec<String>, StoreError>,
    ) -> Result<Vec<String>, StoreError> {
        if let Some(online) = self.ordinary_members(conversation_id)? {
            return Ok(online);
        }
        let now = self.clock.now_ms();
        if let Some(online) = self.busy.lock().get(conversation_id, now) {
            return Ok(online);
        }
        let online = self.online_of(members()?)?;
        let dice = now ^ dice(conversation_id);
        self.busy.lock().put(conversation_id.to_owned(), online.clone(), now, dice);
        Ok(online)
    }
}

/// Who is nowhere may be somewhere the next moment: that is not remembered.
fn keep(routes: &mut Cache<String, Vec<Route>>, user_id: &str, presence: &UserPresence, now: u64) {
    match presence.devices.is_empty() {
        true => routes.drop_entry(user_id),
        false => routes.put(user_id.to_owned(), routes_of(presence), now, dice(user_id)),
    }
}

fn routes_of(presence: &UserPresence) -> Vec<Route> {
    let devices = presence.devices.iter();
    devices
        .map(|it| Route { device_id: it.device_id.clone(), node_id: it.node_id.clone() })
        .collect()
}

fn away(error: ReplicaError) -> StoreError {
    StoreError::Away(error.0)
}

/// A number of its own for each id.
fn dice(id: &str) -> u64 {
    u64::from(imflow_proto::id::partition_of(id, 1 << 20))
}

#[cfg(test)]
mod tests;
