//! Notices in place of messages: at most one in a while for each conversation, with the last seq.
//!
//! The first goes at once; what comes within `every` of it is merged into one at the end of that time. So
//! a conversation of 10,000 members costs one record and one small frame each a second, however much is
//! said in it. Bounded by the conversations that were told of within `every`.

use std::collections::BTreeMap;

use imflow_kind::Time;
use imflow_proto::{Fingerprint, FingerprintMap};

#[derive(Default)]
pub(super) struct Merged {
    every_ms: u64,
    told: FingerprintMap<Told>,
    deadlines: BTreeMap<Time, Vec<Fingerprint>>,
}

/// A conversation that was told of a moment ago.
#[derive(Default)]
struct Told {
    /// What was merged since.
    pending: Option<Notice>,
}

/// That there are messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) conversation_id: String,
    pub(super) up_to_seq: u64,
    /// The session that wrote all of them; 0: there were several.
    pub(super) except: u64,
}

impl Merged {
    pub(super) fn new(every_ms: u64) -> Self {
        Self { every_ms, ..Self::default() }
    }

    /// Takes a notice, and gives it back if it is to leave at once.
    pub(super) fn add(
        &mut self,
        now: Time,
        conversation: Fingerprint,
        notice: Notice,
    ) -> Option<Notice> {
        if let Some(told) = self.told.get_mut(&conversation) {
            let except = match &told.pending {
                Some(pending) if pending.except != notice.except => 0,
                _ => notice.except,
            };
            told.pending = Some(Notice { except, ..notice });
            return None;
        }
        self.told.insert(conversation, Told::default());
        self.deadlines.entry(now.after_ms(self.every_ms)).or_default().push(conversation);
        Some(notice)
    }

    /// What was merged of a conversation, for somebody who goes before it is due.
    pub(super) fn take(&mut self, conversation: Fingerprint) -> Option<Notice> {
        self.told.get_mut(&conversation)?.pending.take()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.keys().next().copied()
    }

    /// Calls `emit` with what is due.
    pub(super) fn on_time(&mut self, now: Time, mut emit: impl FnMut(Fingerprint, Notice)) {
        while let Some(due) = self.deadlines.first_entry().filter(|due| *due.key() <= now) {
            for conversation in due.remove() {
                let Some(notice) = self.take(conversation) else {
                    self.told.remove(&conversation);
                    continue;
                };
                self.deadlines.entry(now.after_ms(self.every_ms)).or_default().push(conversation);
                emit(conversation, notice);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(up_to_seq: u64, except: u64) -> Notice {
        Notice { conversation_id: "c1".into(), up_to_seq, except }
    }

    fn due(merged: &mut Merged, ms: u64) -> Vec<(u64, u64)> {
        let mut emitted = Vec::new();
        merged.on_time(Time::from_ms(ms), |_, notice| {
            emitted.push((notice.up_to_seq, notice.except));
        });
        emitted
    }

    #[test]
    fn the_first_goes_at_once_and_the_rest_once_a_while() {
        let (mut merged, c1) = (Merged::new(1_000), Fingerprint::of("c1"));
        assert_eq!(merged.add(Time::from_ms(0), c1, notice(1, 7)), Some(notice(1, 7)));
        for seq in 2..=20 {
            assert_eq!(merged.add(Time::from_ms(seq), c1, notice(seq, 7)), None);
        }
        assert_eq!(due(&mut merged, 999), []);
        assert_eq!(due(&mut merged, 1_000), [(20, 7)], "one session wrote them all");
        merged.add(Time::from_ms(1_500), c1, notice(21, 7));
        merged.add(Time::from_ms(1_600), c1, notice(22, 8));
        assert_eq!(due(&mut merged, 2_000), [(22, 0)]);
        assert_eq!(due(&mut merged, 3_000), []);
        assert!(merged.told.is_empty() && merged.next_deadline().is_none(), "a quiet one is gone");
    }

    #[test]
    fn what_is_merged_can_go_before_it_is_due() {
        let (mut merged, c1) = (Merged::new(1_000), Fingerprint::of("c1"));
        merged.add(Time::from_ms(0), c1, notice(1, 0));
        merged.add(Time::from_ms(1), c1, notice(2, 0));
        assert_eq!(merged.take(c1), Some(notice(2, 0)));
        assert_eq!(merged.take(c1), None);
        assert_eq!(due(&mut merged, 1_000), []);
    }
}
