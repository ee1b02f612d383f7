//! What waits to be written to one connection.
//!
//! Replies go out at once; pushes wait for the end of a short window, so that many of them share one
//! write, and stay first-in first-out. Both are finished frames.
//!
//! Invariant: pushes are bounded in number and bytes; at either bound they are dropped and the
//! connection is closed as a slow consumer, which then pulls what it missed. Replies are never
//! dropped: they are bounded because the connection stops to read commands while they pile up.
//! Nothing leaves before the welcome.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::close::Close;
use super::cork;
use super::flow::Flow;
use super::limits::Limits;

/// The connection is to be pinged.
pub(super) const PING: u8 = 1;
/// The connection is to look for commands that nobody answered in time.
pub(super) const DEADLINES: u8 = 2;

/// Pushes of this many bytes are written without waiting for the window's end.
const FULL_WRITE_BYTES: usize = 64 * 1024;

/// Shared between the connection that writes and everybody who has something for it.
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Set until the connection has looked.
    scheduled: AtomicBool,
    signals: AtomicU8,
    waker: AtomicWaker,
    flow: Arc<Flow>,
    limits: Arc<Limits>,
}

#[derive(Default)]
struct State {
    replies: Vec<u8>,
    /// Replies in `replies` as frames, since the last look.
    reply_frames: usize,
    /// Pushes that were dropped since the last look.
    dropped: usize,
    pushes: VecDeque<Bytes>,
    push_bytes: usize,
    /// Commands that went into the dataflow and have no reply here yet.
    unanswered: usize,
    welcomed: bool,
    /// On the dispatcher's list of those to wake when the window ends.
    listed: bool,
    /// When a push may be written at once again, in the dispatcher's milliseconds.
    window_ends: u64,
    closing: Option<Closing>,
    finished: bool,
}

/// A wish to close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) why: Close,
    /// Whether commands on their way are answered first.
    pub(super) patient: bool,
}

/// What the connection learns each time that it looks.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) unanswered: usize,
    /// Bytes of replies that stayed, because the socket is behind.
    pub(super) reply_bytes: usize,
    /// Whether anything stayed.
    pub(super) left: bool,
    pub(super) welcomed: bool,
    pub(super) signals: u8,
    pub(super) closing: Option<Closing>,
    /// Frames that were moved, and pushes that were dropped since the last look.
    pub(super) frames: usize,
    pub(super) dropped: usize,
}

/// How much waits in outboxes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) unanswered: usize,
    pub(super) pushes: usize,
    pub(super) push_bytes: usize,
    pub(super) reply_bytes: usize,
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.unanswered += other.unanswered;
        self.pushes += other.pushes;
        self.push_bytes += other.push_bytes;
        self.reply_bytes += other.reply_bytes;
    }
}

impl Outbox {
    pub(super) fn new(limits: Arc<Limits>, flow: Arc<Flow>) -> Self {
        Self {
            state: Mutex::default(),
            scheduled: AtomicBool::new(false),
            signals: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            flow,
            limits,
        }
    }

    /// Adds the welcome in front of everything and lets pushes go.
    pub(super) fn welcome(&self, frame: &[u8]) {
        let mut state = self.state.lock();
        state.welcomed = true;
        state.replies.splice(0..0, frame.iter().copied());
        state.reply_frames += 1;
        drop(state);
        self.schedule();
    }

    /// Counts commands that will be answered by [`Self::reply`].
    pub(super) fn expect(&self, commands: usize) {
        self.state.lock().unanswered += commands;
    }

    /// Adds the reply to one expected command.
    pub(super) fn reply(&self, frame: &[u8]) {
        let mut state = self.state.lock();
        if state.finished {
            return;
        }
        state.unanswered = state.unanswered.saturating_sub(1);
        state.replies.extend_from_slice(frame);
        state.reply_frames += 1;
        drop(state);
        self.schedule();
    }

    /// Adds pushes at `now`. `true`: the caller is to call [`Self::end_window`] when the window ends.
    pub(super) fn push<'a>(&self, frames: impl Iterator<Item = &'a Bytes>, now: u64) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.finished || state.closing.is_some() {
            return false;
        }
        for frame in frames {
            state.push_bytes += frame.len();
            state.pushes.push_back(frame.clone());
        }
        if state.pushes.len() > self.limits.outbox_pushes
            || state.push_bytes > self.limits.outbox_bytes
        {
            state.dropped += state.pushes.len();
            state.drop_pushes();
            state.closing = Some(Closing { why: Close::SlowConsumer, patient: false });
            drop(guard);
            self.schedule();
            return false;
        }
        if state.pushes.is_empty() || !state.welcomed {
            return false;
        }
        let full =
            state.pushes.len() >= self.limits.push_batch || state.push_bytes >= FULL_WRITE_BYTES;
        if full || now >= state.window_ends {
            state.window_ends = now + self.limits.push_window_ms;
            drop(guard);
            self.schedule();
            return false;
        }
        !std::mem::replace(&mut state.listed, true)
    }

    /// The window has ended at `now`: what has gathered is written.
    pub(super) fn end_window(&self, now: u64) {
        let mut state = self.state.lock();
        state.listed = false;
        if state.pushes.is_empty() {
            return;
        }
        state.window_ends = now + self.limits.push_window_ms;
        drop(state);
        self.schedule();
    }

    /// Asks the connection to do something.
    pub(super) fn signal(&self, signals: u8) {
        self.signals.fetch_or(signals, Ordering::AcqRel);
        self.schedule();
    }

    /// Asks the connection to close. The first reason stays; impatience overrides patience.
    pub(super) fn close(&self, why: Close, patient: bool) {
        let mut state = self.state.lock();
        let closing = state.closing.get_or_insert(Closing { why, patient });
        closing.patient &= patient;
        drop(state);
        self.schedule();
    }

    /// Moves what may be written now into `out`, if that is empty: all replies and a batch of pushes.
    pub(super) fn take(&self, out: &mut Vec<u8>) -> Taken {
        self.unschedule();
        let signals = self.signals.swap(0, Ordering::AcqRel);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut frames = 0;
        if out.is_empty() && state.welcomed {
            std::mem::swap(out, &mut state.replies);
            frames = std::mem::take(&mut state.reply_frames);
            frames += state.move_pushes(self.limits.push_batch, out);
        }
        Taken {
            frames,
            dropped: std::mem::take(&mut state.dropped),
            unanswered: state.unanswered,
            reply_bytes: state.replies.len(),
            left: state.welcomed && !(state.replies.is_empty() && state.pushes.is_empty()),
            welcomed: state.welcomed,
            signals,
            closing: state.closing,
        }
    }

    /// The connection ends: moves what is left into `out`, and takes nothing more.
    pub(super) fn finish(&self, out: &mut Vec<u8>) {
        self.unschedule();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        out.append(&mut state.replies);
        state.move_pushes(usize::MAX, out);
        *state = State { finished: true, ..State::default() };
    }

    /// How much waits.
    pub(super) fn load(&self) -> Load {
        let state = self.state.lock();
        Load {
            unanswered: state.unanswered,
            pushes: state.pushes.len(),
            push_bytes: state.push_bytes,
            reply_bytes: state.replies.len(),
        }
    }

    /// The task to wake; see [`Self::is_scheduled`].
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether the connection is to look. Ask after [`Self::register`], so that no wake-up is lost.
    pub(super) fn is_scheduled(&self) -> bool {
        self.scheduled.load(Ordering::Acquire)
    }

    fn schedule(&self) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.flow.enter();
            cork::wake(&self.waker);
        }
    }

    fn unschedule(&self) {
        if self.scheduled.swap(false, Ordering::AcqRel) {
            self.flow.leave();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.unschedule();
    }
}

impl State {
    /// Gives how many it moved.
    fn move_pushes(&mut self, most: usize, out: &mut Vec<u8>) -> usize {
        let moved = most.min(self.pushes.len());
        for _ in 0..moved {
            let Some(frame) = self.pushes.pop_front() else { break };
            self.push_bytes -= frame.len();
            out.extend_from_slice(&frame);
        }
        // A burst must not cost an idle connection memory for good.
        if self.pushes.is_empty() && self.pushes.capacity() > 64 {
            self.drop_pushes();
        }
        moved
    }

    fn drop_pushes(&mut self) {
        self.pushes = VecDeque::new();
        self.push_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(limits: Limits) -> Outbox {
        let outbox = Outbox::new(Arc::new(limits), Arc::default());
        outbox.welcome(b"w");
        outbox.take(&mut Vec::new());
        outbox
    }

    fn frame(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn the_first_push_leaves_at_once_and_the_next_wait_for_the_window() {
        let outbox = outbox(Limits::default());
        assert!(!outbox.push([&frame("a")].into_iter(), 100) && outbox.is_scheduled());
        let mut out = Vec::new();
        outbox.take(&mut out);
        assert!(outbox.push([&frame("b")].into_iter(), 102), "waits for the window's end");
        assert!(!outbox.push([&frame("c")].into_iter(), 103), "is on the list already");
        assert!(!outbox.is_scheduled());
        outbox.end_window(105);
        let mut second = Vec::new();
        outbox.take(&mut second);
        assert_eq!((&out[..], &second[..]), (&b"a"[..], &b"bc"[..]));
    }

    #[test]
    fn a_reply_takes_waiting_pushes_along_in_their_order() {
        let outbox = outbox(Limits::default());
        let mut out = Vec::new();
        outbox.push([&frame("a")].into_iter(), 0);
        outbox.take(&mut out);
        out.clear();
        outbox.push([&frame("b"), &frame("c")].into_iter(), 1);
        outbox.expect(2);
        outbox.reply(b"R");
        assert_eq!(outbox.take(&mut out).unanswered, 1);
        assert_eq!(out, b"Rbc");
    }

    #[test]
    fn a_slow_consumer_loses_its_pushes_and_keeps_its_replies() {
        let outbox = outbox(Limits { outbox_pushes: 2, ..Limits::default() });
        outbox.reply(b"R");
        for _ in 0..5 {
            outbox.push([&frame("a")].into_iter(), 0);
        }
        let mut out = Vec::new();
        let taken = outbox.take(&mut out);
        assert_eq!(taken.closing, Some(Closing { why: Close::SlowConsumer, patient: false }));
        assert_eq!(out, b"R");
    }

    #[test]
    fn nothing_leaves_before_the_welcome() {
        let outbox = Outbox::new(Arc::default(), Arc::default());
        let mut out = Vec::new();
        outbox.push([&frame("a")].into_iter(), 0);
        outbox.take(&mut out);
        assert!(out.is_empty());
        outbox.welcome(b"W");
        outbox.take(&mut out);
        assert_eq!(out, b"Wa");
    }

    #[test]
    fn a_finished_outbox_takes_nothing() {
        let outbox = outbox(Limits::default());
        let mut out = Vec::new();
        outbox.push([&frame("a")].into_iter(), 0);
        outbox.finish(&mut out);
        outbox.push([&frame("b")].into_iter(), 0);
        outbox.reply(b"R");
        outbox.finish(&mut out);
        assert_eq!(out, b"a");
    }
}
