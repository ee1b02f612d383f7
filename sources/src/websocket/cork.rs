//! Wakes each connection once for many things that were put into its outbox.
//!
//! Whoever puts things into outboxes outside [`corked`] wakes at once. Inside, wakers are collected
//! and called when the closure has returned: a batch of a hundred replies to one connection is one
//! wake-up and one write.

use std::cell::RefCell;
use std::task::Waker;

use futures_util::task::AtomicWaker;

thread_local! {
    static HELD: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Runs `work`, then wakes all that it wanted to wake. Not nested.
pub(super) fn corked<T>(work: impl FnOnce() -> T) -> T {
    HELD.set(Some(Vec::new()));
    let result = work();
    for waker in HELD.take().unwrap_or_default() {
        waker.wake();
    }
    result
}

/// Wakes a task, now or at the end of the cork.
pub(super) fn wake(waker: &AtomicWaker) {
    let Some(waker) = waker.take() else { return };
    HELD.with_borrow_mut(|held| match held {
        Some(held) => held.push(waker),
        None => waker.wake(),
    });
}
