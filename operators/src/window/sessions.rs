//! Panes into sessions: a group's records that follow each other within a gap.
//!
//! A session is over once its gap has passed and every pane that could prolong it has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use rapidhash::RapidHashMap;

use super::panes::{Group, Groups, Pane};
use super::spans::Closed;
use crate::groups::GroupKey;

pub(super) struct Sessions {
    pub gap_ms: u64,
    pub step_ms: u64,
    pub grace_ms: u64,
    pub limit: usize,
    /// Sessions of one group are further apart than the gap; there is more than one only while panes of
    /// several workers are on their way.
    pub open: RapidHashMap<GroupKey, Vec<Group>>,
    /// When to look at a group: once for each change of it.
    pub due: BTreeMap<u64, Vec<GroupKey>>,
}

impl Sessions {
    /// Takes a worker's pane; says how many groups found no room.
    pub(super) fn take(&mut self, pane: &Pane) -> u64 {
        let mut uncounted = 0;
        for (key, group) in &pane.groups {
            if self.open.len() >= self.limit && !self.open.contains_key(key) {
                uncounted += 1;
                continue;
            }
            let sessions = self.open.entry(Arc::clone(key)).or_default();
            let mut session = group.clone();
            let joins = |other: &Group, session: &Group| {
                other.first < session.last + self.gap_ms && session.first < other.last + self.gap_ms
            };
            while let Some(at) = sessions.iter().position(|other| joins(other, &session)) {
                session.merge(&sessions.swap_remove(at));
            }
            let due = Self::over_at(self.gap_ms, self.step_ms, self.grace_ms, &session);
            sessions.push(session);
            self.due.entry(due).or_default().push(Arc::clone(key));
        }
        uncounted
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.keys().next().copied()
    }

    /// The end of the pane in which a record could still have prolonged it, and the grace.
    fn over_at(gap_ms: u64, step_ms: u64, grace_ms: u64, session: &Group) -> u64 {
        (session.last + gap_ms).div_ceil(step_ms) * step_ms + grace_ms
    }

    /// Takes the sessions that are over.
    pub(super) fn close(&mut self, now_ms: u64) -> Vec<Closed> {
        let mut closed = Vec::new();
        while let Some(due) = self.due.first_entry().filter(|due| *due.key() <= now_ms) {
            for key in due.remove() {
                let Some(sessions) = self.open.get_mut(&key) else { continue };
                let (gap, step, grace) = (self.gap_ms, self.step_ms, self.grace_ms);
                let over = |session: &mut Group| Self::over_at(gap, step, grace, session) <= now_ms;
                for session in sessions.extract_if(.., over) {
                    let (start, end) = (session.first, session.last + gap);
                    let groups = Groups::from_iter([(Arc::clone(&key), session)]);
                    closed.push(Closed { start, end, groups, uncounted: 0 });
                }
                if sessions.is_empty() {
                    self.open.remove(&key);
                }
            }
        }
        closed.sort_by_key(|window| (window.end, window.start));
        closed
    }
}
