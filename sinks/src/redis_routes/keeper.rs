//! Keeps what nodes share up to date: says what this node has, that it lives, and what failed nodes have no
//! more.
//!
//! Without a clock and a thread: a step does what is due and says when the next one is. Whatever fails is tried
//! again after a pause; once the other system is back, everything is said anew.

use std::collections::VecDeque;
use std::sync::Arc;

use imflow_kind::{
    Clock, DeviceHere, ReplicaError, Routes, Shared, SharedRoutes, Store, StoreError,
};
use imflow_proto::record::{GrantChange, GrantSubject, SessionEvent};
use parking_lot::Mutex;

use super::counts::Counts;
use super::table::Table;

/// Users told of at a time.
const BATCH: usize = 500;
/// Conversations looked at at a time.
const PAGE: usize = 1_000;
/// The first pause after a failure, doubled at each further one up to the last.
const FIRST_PAUSE_MS: u64 = 100;
const LAST_PAUSE_MS: u64 = 5_000;

/// What comes from the dataflow; taken without waiting.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) table: Table,
    /// Members who came or left: conversation, user, whether a member.
    pub(super) members: VecDeque<(Arc<str>, Arc<str>, bool)>,
}

/// Changes of members that wait at most.
const MEMBERS: usize = 100_000;

impl Inbox {
    pub(super) fn new(refresh_ms: u64) -> Self {
        Self { table: Table::new(refresh_ms), members: VecDeque::new() }
    }

    pub(super) fn session(&mut self, event: &SessionEvent, node: &str) {
        if *event.node_id == *node {
            self.table.take(event);
        }
    }

    /// Only of users who are here: of others nobody waits to hear. At the bound the oldest goes, and is put
    /// right when the user connects again.
    pub(super) fn grant(&mut self, change: &GrantChange) {
        let GrantSubject::User { user_id, grant } = &change.subject else { return };
        if self.table.is_here(user_id) {
            self.members.push_back((
                Arc::clone(&change.conversation_id),
                Arc::clone(user_id),
                grant.is_some_and(|grant| !grant.banned),
            ));
            if self.members.len() > MEMBERS {
                self.members.pop_front();
            }
        }
    }
}

/// Where the members of conversations are read, and which conversations have a set.
pub(super) struct Ordinary {
    pub(super) store: Arc<dyn Store>,
    /// A conversation of more members is busy, and has none.
    pub(super) busy: u32,
    /// Conversations of a user that are looked at.
    pub(super) conversations: usize,
}

/// When things are due, in milliseconds.
pub(super) struct Timers {
    pub(super) beat_ms: u64,
}

pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) inbox: Arc<Mutex<Inbox>>,
    pub(super) shared: Box<dyn SharedRoutes>,
    /// Who knows when devices were last heard of.
    pub(super) gateway: Option<Arc<dyn Routes>>,
    pub(super) ordinary: Option<Arc<Ordinary>>,
    pub(super) timers: Timers,
    pub(super) counts: Counts,
    pub(super) state: State,
}

#[derive(Default)]
pub(super) struct State {
    next_beat: u64,
    /// The pause after the last failure; 0: there was none.
    pause_ms: u64,
    quiet_until: u64,
    /// Nodes whose users are to be taken off them.
    failed: Vec<String>,
    /// Users who came online or went offline, whose conversations do not know of it.
    flipped: VecDeque<(Arc<str>, bool)>,
}

impl Keeper {
    /// Does what is due; gives when the next step is. 0: at once.
    pub(super) fn step(&mut self) -> u64 {
        let now = self.clock.now_ms();
        if now < self.state.quiet_until {
            return self.state.quiet_until;
        }
        let was_away = self.state.pause_ms > 0;
        match self.work(now, was_away) {
            Ok(()) => {
                if was_away {
                    tracing::info!(sink = self.name, "presence is shared again");
                }
                self.state.pause_ms = 0;
                self.next_due()
            }
            Err(error) => {
                if !was_away {
                    tracing::warn!(sink = self.name, "presence is not shared for now: {error}");
                }
                let pause = (2 * self.state.pause_ms).clamp(FIRST_PAUSE_MS, LAST_PAUSE_MS);
                self.state.pause_ms = pause;
                self.state.quiet_until = now + pause;
                self.state.quiet_until
            }
        }
    }

    fn next_due(&self) -> u64 {
        let inbox = self.inbox.lock();
        let at_once = !self.state.failed.is_empty()
            || !self.state.flipped.is_empty()
            || !inbox.members.is_empty();
        let told = inbox.table.next_due().unwrap_or(u64::MAX);
        if at_once { 0 } else { self.state.next_beat.min(told) }
    }

    fn work(&mut self, now: u64, was_away: bool) -> Result<(), ReplicaError> {
        if was_away || now >= self.state.next_beat {
            self.beat(now, was_away)?;
        }
        self.tell(now)?;
        if let Some(node) = self.state.failed.last().cloned() {
            self.migrate(&node)?;
        }
        self.mark_members()
    }

    fn beat(&mut self, now: u64, was_away: bool) -> Result<(), ReplicaError> {
        let beat = self.shared.beat()?;
        self.state.next_beat = now + self.timers.beat_ms;
        if beat.joined || was_away {
            self.inbox.lock().table.mark_all();
        }
        for node in beat.failed {
            if !self.state.failed.contains(&node) {
                self.state.failed.push(node);
            }
        }
        Ok(())
    }

    fn tell(&mut self, now: u64) -> Result<(), ReplicaError> {
        let gateway = self.gateway.clone();
        let seen = |user: &str, devices: &mut [DeviceHere]| match &gateway {
            Some(gateway) => heard_of(&**gateway, user, devices),
            None => devices.iter_mut().for_each(|it| it.last_seen = now as i64),
        };
        let here = self.inbox.lock().table.take_dirty(now, BATCH, seen);
        if here.is_empty() {
            return Ok(());
        }
        let shared = self.shared.put(&here, now);
        let mut inbox = self.inbox.lock();
        let shared = match shared {
            Ok(shared) if shared.len() == here.len() => shared,
            Ok(_) => return Err(ReplicaError("answers are missing".into())),
            Err(error) => {
                inbox.table.failed(&here);
                return Err(error);
            }
        };
        self.counts.users.set(inbox.table.len() as i64);
        for (here, shared) in here.iter().zip(&shared) {
            let outcome = inbox.table.told(here, shared, now);
            self.counts.route_inconsistencies.inc_by(outcome.inconsistent as i64);
            if let (Some(online), Some(_)) = (outcome.flipped, &self.ordinary)
                && !matches!(shared, Shared::Locked)
            {
                self.state.flipped.push_back((Arc::clone(&here.user_id), online));
            }
        }
        Ok(())
    }

    fn migrate(&mut self, node: &str) -> Result<(), ReplicaError> {
        let migrated = self.shared.migrate(node)?;
        self.counts.route_migrations.inc_by(migrated.routes as i64);
        if self.ordinary.is_some() {
            let offline = migrated.users.into_iter().filter(|(_, online)| !online);
            self.state.flipped.extend(offline.map(|(user, online)| (user.into(), online)));
        }
        if !migrated.more {
            self.state.failed.retain(|it| it != node);
            if !migrated.is_anothers {
                self.counts.node_failures.inc();
                tracing::warn!(sink = self.name, node, "a node has failed; its routes ended");
            }
        }
        Ok(())
    }

    /// Tells conversations which of their members are online.
    fn mark_members(&mut self) -> Result<(), ReplicaError> {
        let Some(ordinary) = &self.ordinary else {
            self.inbox.lock().members.clear();
            return Ok(());
        };
        let mut marks = Vec::new();
        let count = self.state.flipped.len().min(BATCH);
        let flipped: Vec<_> = self.state.flipped.drain(..count).collect();
        for (user, online) in &flipped {
            let conversations = ordinary.conversations_of(user).unwrap_or_default();
            marks.extend(conversations.into_iter().map(|id| (id, Arc::clone(user), *online)));
        }
        let mut inbox = self.inbox.lock();
        let count = inbox.members.len().min(BATCH);
        let members: Vec<_> = inbox.members.drain(..count).collect();
        drop(inbox);
        for (conversation, user, member) in &members {
            if !member || ordinary.has_set(conversation) {
                marks.push((conversation.to_string(), Arc::clone(user), *member));
            }
        }
        let marked = if marks.is_empty() { Ok(()) } else { self.shared.mark_members(&marks) };
        if marked.is_err() {
            flipped.into_iter().rev().for_each(|it| self.state.flipped.push_front(it));
            let mut inbox = self.inbox.lock();
            members.into_iter().rev().for_each(|it| inbox.members.push_front(it));
        }
        marked
    }

    /// Tells that all sessions have ended, as far as it can be told at once.
    pub(super) fn leave(&mut self) {
        let now = self.clock.now_ms();
        self.inbox.lock().table.end_all(now as i64);
        while self.inbox.lock().table.next_due() == Some(0) {
            if self.tell(now).is_err() {
                return;
            }
        }
        let _ = self.shared.leave(); // its keys end by themselves
    }
}

impl Ordinary {
    fn conversations_of(&self, user: &str) -> Result<Vec<String>, StoreError> {
        let (mut found, mut after, mut looked) = (Vec::new(), String::new(), 0);
        loop {
            let page = self.store.conversations_of(user, &after, PAGE)?;
            looked += page.items.len();
            let Some(last) = page.items.last() else { return Ok(found) };
            after.clone_from(&last.conversation_id);
            let ordinary = page.items.into_iter().filter(|it| it.member_count <= self.busy);
            found.extend(ordinary.map(|it| it.conversation_id));
            if !page.more || looked >= self.conversations {
                return Ok(found);
            }
        }
    }

    pub(super) fn has_set(&self, conversation: &str) -> bool {
        let view = self.store.conversation(conversation, "").ok().flatten();
        view.is_some_and(|view| view.info.member_count <= self.busy)
    }
}

/// Reads the gateway's coarse times.
fn heard_of(gateway: &dyn Routes, user: &str, devices: &mut [DeviceHere]) {
    let Ok(presence) = gateway.presence(&[user]) else { return };
    for seen in presence.iter().flat_map(|it| &it.devices) {
        if let Some(device) = devices.iter_mut().find(|it| *it.device_id == *seen.device_id) {
            device.last_seen = device.last_seen.max(seen.last_seen);
        }
    }
}

#[cfg(test)]
mod tests;
