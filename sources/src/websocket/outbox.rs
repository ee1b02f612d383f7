//! What waits to be written to one connection.
//!
//! Replies go out at once; pushes wait for the end of a short window, so that many of them share one
//! write. They stand in the four bands of [`Bands`], those of one conversation always in their order. What is
//! worth nothing a moment later (who types, who is online) stands apart, in front of them. All are finished
//! frames.
//!
//! Invariant: pushes are bounded in number and bytes. A message that finds no room is left out, and from
//! then on its conversation has a *gap* here: one `notify` with its last seq takes the place of all that
//! follows, until the client has pulled that far. Replies are never dropped: they are bounded because the
//! connection stops to read commands while they pile up. Nothing leaves before the welcome.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use imflow_proto::frame::Format;
use imflow_proto::record::Band;
use parking_lot::Mutex;

use super::bands::Bands;
use super::close::Close;
use super::cork;
use super::flow::Flow;
use super::gaps::Gaps;
use super::limits::Limits;
use super::resume::{Kept, Legacy};

/// The connection is to be pinged.
pub(super) const PING: u8 = 1;
/// The connection is to look for commands that nobody answered in time.
pub(super) const DEADLINES: u8 = 2;
/// The client is to be told that its token expires.
pub(super) const EXPIRING: u8 = 4;

/// Pushes of this many bytes are written without waiting for the window's end.
const FULL_WRITE_BYTES: usize = 64 * 1024;
/// Notices of the moment that may wait; the oldest makes room.
const MAX_FLEETING: usize = 64;

/// Shared between the connection that writes and everybody who has something for it.
pub(super) struct Outbox {
    format: Format,
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
    /// `None` as long as nothing was ever pushed: most connections are idle.
    pushes: Option<Box<Pushes>>,
    /// Commands that went into the dataflow and have no reply here yet.
    unanswered: usize,
    welcomed: bool,
    /// On the dispatcher's list of those to wake when the window ends.
    listed: bool,
    /// When a push may be written at once again, in the dispatcher's milliseconds.
    window_ends: u64,
    closing: Option<Closing>,
    finished: bool,
    /// The connection is lost, and the session waits for the next one.
    parked: bool,
    /// Of a session that can be resumed.
    kept: Option<Box<Kept>>,
}

struct Pushes {
    /// What an earlier connection of the session has left; goes before all others.
    carried: VecDeque<Bytes>,
    bands: Bands<Item>,
    fleeting: VecDeque<Bytes>,
    gaps: Gaps,
}

/// What stands in a band.
enum Item {
    Frame(Bytes),
    /// The notice of a conversation's gap, as it is when its turn comes.
    Notice(u64),
}

/// One push for an outbox.
#[derive(Clone, Copy)]
pub(super) struct Pushed<'a> {
    pub(super) frame: &'a Bytes,
    pub(super) band: Band,
    /// The hash of the conversation's id.
    pub(super) conversation: u64,
    pub(super) conversation_id: &'a str,
    pub(super) what: What,
}

/// What becomes of a push that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A message: it can be pulled.
    Message(u64),
    /// Stands for messages up to this seq, which are to be pulled.
    Notify(u64),
    /// Can be asked for, like a receipt.
    Notice,
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
    /// Conversations that have a gap.
    pub(super) gaps: usize,
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.unanswered += other.unanswered;
        self.pushes += other.pushes;
        self.push_bytes += other.push_bytes;
        self.reply_bytes += other.reply_bytes;
        self.gaps += other.gaps;
    }
}

impl Outbox {
    pub(super) fn new(format: Format, limits: Arc<Limits>, flow: Arc<Flow>) -> Self {
        Self {
            format,
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
        if state.finished || state.parked {
            return;
        }
        state.unanswered = state.unanswered.saturating_sub(1);
        state.replies.extend_from_slice(frame);
        state.reply_frames += 1;
        drop(state);
        self.schedule();
    }

    /// Adds pushes at `now`. `true`: the caller is to call [`Self::end_window`] when the window ends.
    pub(super) fn push<'a>(&self, pushed: impl Iterator<Item = Pushed<'a>>, now: u64) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.finished || state.closing.is_some() {
            return false;
        }
        let mut pushed = pushed.peekable();
        if pushed.peek().is_none() {
            return false;
        }
        let pushes = state.pushes.get_or_insert_with(Pushes::new);
        for push in pushed {
            state.dropped += usize::from(!pushes.add(push, &self.limits));
        }
        if pushes.gaps.len() > self.limits.outbox_gaps {
            (state.pushes, state.kept) = (None, None);
            state.closing = Some(Closing { why: Close::SlowConsumer, patient: false });
            drop(guard);
            self.schedule();
            return false;
        }
        self.wake_or_wait(guard, now)
    }

    /// Adds a notice that is worth nothing a moment later: as [`Self::push`], in front of the others.
    pub(super) fn push_fleeting(&self, frame: &Bytes, now: u64) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.finished || state.closing.is_some() {
            return false;
        }
        let pushes = state.pushes.get_or_insert_with(Pushes::new);
        if pushes.fleeting.len() == MAX_FLEETING {
            pushes.fleeting.pop_front();
            state.dropped += 1;
        }
        pushes.fleeting.push_back(frame.clone());
        self.wake_or_wait(guard, now)
    }

    /// The client knows the messages of a conversation up to this seq: what is said from there on is pushed
    /// again.
    pub(super) fn pulled(&self, conversation: u64, up_to_seq: u64) {
        let mut state = self.state.lock();
        let Some(pushes) = &mut state.pushes else { return };
        if pushes.gaps.pulled(conversation, up_to_seq) {
            pushes.queue_notice(conversation);
            drop(state);
            self.schedule();
        }
    }

    /// Tells of gaps that have grown since they were told of; called about once a second.
    pub(super) fn tell_gaps(&self) {
        let mut state = self.state.lock();
        let Some(pushes) = &mut state.pushes else { return };
        let mut told = false;
        for conversation in pushes.gaps.grown() {
            told |= pushes.queue_notice(conversation);
        }
        drop(state);
        if told {
            self.schedule();
        }
    }

    /// From here on what is written is kept for the next connection.
    pub(super) fn keep(&self) {
        self.state.lock().kept.get_or_insert_default();
    }

    /// Whether what is written is kept.
    pub(super) fn keeps(&self) -> bool {
        self.state.lock().kept.is_some()
    }

    /// The connection is lost. `false`: the session cannot be resumed. Else pushes gather for the next one.
    pub(super) fn park(&self) -> bool {
        self.unschedule();
        let mut state = self.state.lock();
        if state.kept.is_none() || state.finished {
            return false;
        }
        // Whoever waits for a reply sends the command again.
        (state.replies, state.reply_frames, state.unanswered) = (Vec::new(), 0, 0);
        (state.closing, state.parked) = (None, true);
        true
    }

    /// Gives away all that the client has not read; `None`: it is not whole any more.
    pub(super) fn bequeath(&self, read: u64) -> Option<Legacy> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.finished {
            return None;
        }
        let mut legacy = Legacy::of(state.kept.as_deref_mut(), read)?;
        if let Some(pushes) = state.pushes.take() {
            pushes.leave_to(&mut legacy, self.format);
        }
        Some(legacy)
    }

    /// Takes over what an earlier connection of the session has left. Before the first push.
    pub(super) fn inherit(&self, legacy: Legacy) {
        let mut state = self.state.lock();
        let mut pushes = Pushes::new();
        (pushes.carried, pushes.gaps) = (legacy.frames, legacy.gaps);
        state.pushes = Some(pushes);
        state.kept = Some(Box::new(Kept::from(legacy.read)));
    }

    /// The window has ended at `now`: what has gathered is written.
    pub(super) fn end_window(&self, now: u64) {
        let mut state = self.state.lock();
        state.listed = false;
        if state.has_no_pushes() {
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
            frames += state.move_pushes(self.limits.push_batch, self.format, out);
        }
        Taken {
            frames,
            dropped: std::mem::take(&mut state.dropped),
            unanswered: state.unanswered,
            reply_bytes: state.replies.len(),
            left: state.welcomed && !(state.replies.is_empty() && state.has_no_pushes()),
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
        state.move_pushes(usize::MAX, self.format, out);
        *state = State { finished: true, ..State::default() };
    }

    /// How much waits.
    pub(super) fn load(&self) -> Load {
        let state = self.state.lock();
        let pushes = state.pushes.as_deref();
        Load {
            unanswered: state.unanswered,
            pushes: pushes.map_or(0, |pushes| pushes.bands.len() + pushes.fleeting.len()),
            push_bytes: pushes.map_or(0, |pushes| pushes.bands.bytes()),
            reply_bytes: state.replies.len(),
            gaps: pushes.map_or(0, |pushes| pushes.gaps.len()),
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

    /// What was added leaves at once if the last window is over, or if it fills a write.
    fn wake_or_wait(&self, mut guard: parking_lot::MutexGuard<'_, State>, now: u64) -> bool {
        let state = &mut *guard;
        let Some(pushes) = &state.pushes else { return false };
        if pushes.is_empty() || !state.welcomed || state.parked {
            return false;
        }
        let full = pushes.bands.len() >= self.limits.push_batch
            || pushes.bands.bytes() >= FULL_WRITE_BYTES;
        if full || now >= state.window_ends {
            state.window_ends = now + self.limits.push_window_ms;
            drop(guard);
            self.schedule();
            return false;
        }
        !std::mem::replace(&mut state.listed, true)
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
    fn has_no_pushes(&self) -> bool {
        self.pushes.as_ref().is_none_or(|pushes| pushes.is_empty())
    }

    /// Gives how many it moved.
    fn move_pushes(&mut self, most: usize, format: Format, out: &mut Vec<u8>) -> usize {
        let Some(pushes) = &mut self.pushes else { return 0 };
        let mut moved = 0;
        while moved < most {
            let Some(frame) = pushes.pop(format) else { break };
            out.extend_from_slice(&frame);
            if let Some(kept) = &mut self.kept {
                kept.note(frame);
            }
            moved += 1;
        }
        // A burst must not cost an idle connection memory for good.
        if pushes.is_empty() && pushes.gaps.len() == 0 && !pushes.is_small() {
            self.pushes = None;
        }
        moved
    }
}

impl Pushes {
    fn new() -> Box<Self> {
        Box::new(Self {
            carried: VecDeque::new(),
            bands: Bands::new(),
            fleeting: VecDeque::new(),
            gaps: Gaps::default(),
        })
    }

    fn is_empty(&self) -> bool {
        self.bands.is_empty() && self.fleeting.is_empty() && self.carried.is_empty()
    }

    /// The next frame: what was left by an earlier connection, the moment, then the bands in their turns.
    fn pop(&mut self, format: Format) -> Option<Bytes> {
        if let Some(frame) = self.carried.pop_front().or_else(|| self.fleeting.pop_front()) {
            return Some(frame);
        }
        loop {
            match self.bands.pop()? {
                Item::Frame(frame) => return Some(frame),
                Item::Notice(conversation) => {
                    // `None`: the gap has closed meanwhile.
                    if let Some(frame) = self.gaps.tell(conversation, format) {
                        return Some(frame);
                    }
                }
            }
        }
    }

    fn leave_to(mut self: Box<Self>, legacy: &mut Legacy, format: Format) {
        legacy.frames.extend(std::iter::from_fn(|| self.pop(format)));
        legacy.gaps = self.gaps;
    }

    fn is_small(&self) -> bool {
        self.bands.is_small() && self.fleeting.capacity() <= 8 && self.carried.capacity() == 0
    }

    /// `false`: a gap takes its place.
    fn add(&mut self, push: Pushed<'_>, limits: &Limits) -> bool {
        let Pushed { frame, band, conversation, conversation_id, what } = push;
        if let What::Notify(up_to_seq) = what {
            self.gaps.open(conversation, conversation_id, up_to_seq);
            self.queue_notice(conversation);
            return true;
        }
        if let (Some(gap), What::Message(seq)) = (self.gaps.get_mut(conversation), what)
            && gap.holds_messages()
        {
            gap.grow(seq);
            return false;
        }
        let item = Item::Frame(frame.clone());
        if self.bands.push(&limits.outbox, band, conversation, frame.len(), item).is_ok() {
            return true;
        }
        let is_told = self.gaps.get_mut(conversation).is_some();
        let seq = if let What::Message(seq) = what { seq } else { 0 };
        self.gaps.open(conversation, conversation_id, seq);
        if !is_told {
            self.queue_notice(conversation);
        }
        false
    }

    /// Puts the notice of a gap behind what waits of its conversation, one at a time. Whether it waits now and
    /// did not before.
    fn queue_notice(&mut self, conversation: u64) -> bool {
        let Some(gap) = self.gaps.get_mut(conversation).filter(|gap| !gap.is_queued()) else {
            return false;
        };
        gap.set_queued();
        let (item, bytes) = (Item::Notice(conversation), gap.bytes());
        self.bands.push_anyway(Band::P0, conversation, bytes, item);
        true
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
