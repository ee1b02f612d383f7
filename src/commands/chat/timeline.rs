//! What was shown of one conversation: each seq once, in order, none left out.
//!
//! A message that comes too early (a push overtook what was missed while offline, or the ack of an own
//! message came before the push of one just before it) is not kept: it is pulled, with all that is
//! missing, from history. So nothing is buffered, however much was missed.

/// Positions in one conversation.
#[derive(Debug)]
pub(super) struct Timeline {
    /// The last seq that was shown.
    shown: u64,
    /// The highest seq that is known to exist.
    known: u64,
    /// The last seq that the server was told to be read.
    read: u64,
    /// A history query is on its way.
    pulling: bool,
}

impl Timeline {
    /// Everything up to `shown` counts as shown.
    pub(super) fn after(shown: u64) -> Self {
        Self { shown, known: shown, read: shown, pulling: false }
    }

    /// Whether the message with this seq is shown now: it is the next one.
    pub(super) fn offer(&mut self, seq: u64) -> bool {
        self.known = self.known.max(seq);
        let next = seq == self.shown + 1;
        if next {
            self.shown = seq;
        }
        next
    }

    /// The seq after which history is pulled, when something is missing and no query is on its way.
    pub(super) fn pull(&mut self) -> Option<u64> {
        let missing = self.known > self.shown && !self.pulling;
        missing.then(|| {
            self.pulling = true;
            self.shown
        })
    }

    /// The last seq that was shown.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// What is shown and was not told to be read. It counts as told from now on.
    pub(super) fn unread(&mut self) -> Option<u64> {
        let unread = self.shown > self.read;
        self.read = self.shown;
        unread.then_some(self.shown)
    }

    /// Messages up to `seq` exist.
    pub(super) fn announce(&mut self, seq: u64) {
        self.known = self.known.max(seq);
    }

    /// A history query ended; it brought something, and `more` messages follow.
    ///
    /// One that brought nothing is not repeated by itself: the next message shows the gap again.
    pub(super) fn pulled(&mut self, brought: bool, more: bool) {
        self.pulling = false;
        if more && brought {
            self.announce(self.shown + 1);
        } else if !brought {
            self.known = self.shown;
        }
    }

    /// Something may have been missed: the connection is new, or a query failed that is worth a retry.
    pub(super) fn doubt(&mut self) {
        self.pulling = false;
        self.announce(self.shown + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seq_is_shown_once_and_in_order() {
        let mut timeline = Timeline::after(4);
        assert!(timeline.offer(5) && !timeline.offer(5) && !timeline.offer(4));
        assert_eq!(timeline.pull(), None);
        assert!(!timeline.offer(8));
        assert_eq!((timeline.pull(), timeline.pull()), (Some(5), None));
        // A push that overtakes the answer costs a second query, never a gap.
        assert!(!timeline.offer(9));
        assert!(timeline.offer(6) && timeline.offer(7) && timeline.offer(8));
        timeline.pulled(true, false);
        assert_eq!(timeline.pull(), Some(8));
    }

    #[test]
    fn a_page_that_is_not_the_last_asks_for_the_next() {
        let mut timeline = Timeline::after(0);
        timeline.doubt();
        assert_eq!(timeline.pull(), Some(0));
        assert!(timeline.offer(1));
        timeline.pulled(true, true);
        assert_eq!(timeline.pull(), Some(1));
    }

    #[test]
    fn an_answer_that_brings_nothing_ends_the_asking() {
        let mut timeline = Timeline::after(3);
        timeline.doubt();
        assert_eq!(timeline.pull(), Some(3));
        timeline.pulled(false, false);
        assert_eq!(timeline.pull(), None);
    }
}
