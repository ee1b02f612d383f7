//! Groups with many receivers, on their way to the outboxes slice by slice.
//!
//! Ten thousand connections that are woken at once keep every other one waiting for a tenth of a second.
//! So they are woken in slices, and between two of them the dispatcher does what is urgent: answers, and what
//! goes to few. Notices can wait: their slices are spread over time.
//!
//! Invariant: what follows of a conversation goes behind what is on its way. Bounded: while anything is on its
//! way the lower bands stay in the node's queue, and beyond [`MOST`] groups all of them do.

use std::collections::VecDeque;

use imflow_proto::record::Band;
use rapidhash::RapidHashMap;
use tokio::time::{Duration, Instant};

use super::groups::Group;

/// Receivers of a slice.
const SLICE: usize = 256;
/// Between two slices of notices: 10,000 receivers are told within a fifth of a second.
const PAUSE: Duration = Duration::from_millis(5);
/// Groups on their way.
const MOST: usize = 64;

#[derive(Default)]
pub(super) struct Expansion {
    /// Each with the receivers that it has reached.
    groups: VecDeque<(Group, usize)>,
    /// How many of them are of a conversation.
    conversations: RapidHashMap<u64, usize>,
    /// When the next slice is due; `None`: now.
    due: Option<Instant>,
}

impl Expansion {
    /// Whether a group goes this way: it is large, or what is before it of its conversation does.
    pub(super) fn wants(&self, group: &Group) -> bool {
        group.to.len() > SLICE || self.conversations.contains_key(&group.conversation)
    }

    pub(super) fn add(&mut self, group: Group) {
        *self.conversations.entry(group.conversation).or_default() += 1;
        self.groups.push_back((group, 0));
    }

    /// The lowest band from which more may come; `None`: from none.
    pub(super) fn lowest(&self) -> Option<Band> {
        match self.groups.len() {
            0 => Some(Band::P3),
            1..MOST => Some(Band::P1),
            _ => None,
        }
    }

    /// Whether a slice is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.groups.is_empty() && self.due.is_none_or(|due| due <= now)
    }

    /// When the next slice will be due, if it is not.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.groups.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Calls `deliver` with a group and the first and last receiver of its next slice; gives the group when
    /// all have got it.
    pub(super) fn slice(
        &mut self,
        now: Instant,
        deliver: impl FnOnce(&Group, std::ops::Range<usize>),
    ) -> Option<Group> {
        let (group, reached) = self.groups.front_mut()?;
        let end = (*reached + SLICE).min(group.to.len());
        deliver(group, *reached..end);
        *reached = end;
        self.due = group.only_tells().then(|| now + PAUSE);
        if end < group.to.len() {
            return None;
        }
        let (group, _) = self.groups.pop_front()?;
        if let Some(count) = self.conversations.get_mut(&group.conversation) {
            *count -= 1;
            if *count == 0 {
                self.conversations.remove(&group.conversation);
            }
        }
        Some(group)
    }
}
