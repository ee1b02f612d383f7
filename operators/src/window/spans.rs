//! Panes into windows of one length: each window is the panes that lie in it.
//!
//! Windows leave in order. One leaves once the panes of its end have come from all workers, or a while
//! after its end: a worker in which nothing happened sends none.

use std::collections::BTreeMap;

use super::panes::{Groups, Pane};

/// A window that is over.
pub(super) struct Closed {
    pub start: u64,
    pub end: u64,
    pub groups: Groups,
    pub uncounted: u64,
}

pub(super) struct Spans {
    pub every_ms: u64,
    pub step_ms: u64,
    /// How many workers send panes.
    pub workers: usize,
    pub grace_ms: u64,
    pub limit: usize,
    /// By end: how many workers have sent it, and what it adds up to.
    pub arrived: BTreeMap<u64, (usize, Pane)>,
    /// The end of the last window that has left.
    pub left: u64,
}

impl Spans {
    /// Takes a worker's pane. False: its windows have left already.
    pub(super) fn take(&mut self, end: u64, pane: &Pane) -> bool {
        if end <= self.left {
            return pane.groups.is_empty();
        }
        let (parts, mine) = self.arrived.entry(end).or_default();
        *parts += 1;
        mine.uncounted += pane.uncounted;
        pane.groups.iter().for_each(|(key, group)| mine.take(key, group, self.limit));
        true
    }

    /// When the next window leaves at the latest.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.next_end().map(|end| end + self.grace_ms)
    }

    fn next_end(&self) -> Option<u64> {
        let first = *self.arrived.keys().next()?;
        Some(first.max(self.left + self.step_ms))
    }

    /// Takes the windows that are over.
    pub(super) fn close(&mut self, now_ms: u64) -> Vec<Closed> {
        let mut closed = Vec::new();
        while let Some(end) = self.next_end() {
            let complete = self.arrived.get(&end).is_some_and(|(parts, _)| *parts >= self.workers);
            if !complete && now_ms < end + self.grace_ms {
                break;
            }
            closed.push(self.window(end));
            self.left = end;
            // The last window that a pane lies in begins where the pane does.
            let next = end + self.step_ms;
            self.arrived =
                self.arrived.split_off(&(next + self.step_ms).saturating_sub(self.every_ms));
        }
        closed
    }

    fn window(&mut self, end: u64) -> Closed {
        let start = end.saturating_sub(self.every_ms);
        let whole = if self.every_ms == self.step_ms {
            self.arrived.remove(&end).unwrap_or_default().1
        } else {
            let mut whole = Pane::default();
            for (_, pane) in self.arrived.range(start + 1..=end).map(|(_, arrived)| arrived) {
                whole.uncounted += pane.uncounted;
                pane.groups.iter().for_each(|(key, group)| whole.take(key, group, self.limit));
            }
            whole
        };
        Closed { start, end, groups: whole.groups, uncounted: whole.uncounted }
    }
}
