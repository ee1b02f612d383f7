//! Sessions whose connection is lost, and those that go on with them.
//!
//! A parked session stays in the registry and in the dataflow, so that pushes gather in its outbox. It ends when
//! its window is over; or the next connection of its device takes what it has left, in the moment in which
//! that takes its place. Bounded: beyond `resume_sessions` a lost session ends at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use imflow_proto::Record;
use imflow_proto::record::Subscription;

use super::close::Close;
use super::commands::port;
use super::connection::leave;
use super::hub::Gateway;
use super::limits::Limits;
use super::peer::Peer;
use super::resume::Resume;

/// How long this session waits for its next connection, in milliseconds.
pub(super) fn window(limits: &Limits, peer: &Peer) -> u32 {
    match peer.outbox.keeps() {
        true => u32::try_from(limits.resume_window_ms).unwrap_or(u32::MAX),
        false => 0,
    }
}

/// Lets a session wait whose connection is lost; `false`: it ends.
pub(super) fn park(gateway: &Gateway, peer: &Peer) -> bool {
    let parked = &gateway.parked;
    if gateway.draining.load(Ordering::Acquire) {
        return false;
    }
    if parked.fetch_add(1, Ordering::AcqRel) >= gateway.hub.limits.resume_sessions
        || !peer.outbox.park()
    {
        parked.fetch_sub(1, Ordering::AcqRel);
        return false;
    }
    peer.times.parked_since.store(peer.clock.now(), Ordering::Release);
    true
}

/// Ends a session if it is parked.
pub(super) fn end(gateway: &Gateway, peer: &Arc<Peer>) -> bool {
    let was_parked = peer.times.parked_since.swap(0, Ordering::AcqRel) != 0;
    if was_parked {
        gateway.parked.fetch_sub(1, Ordering::AcqRel);
        leave(gateway, peer, &mut Vec::new(), true);
    }
    was_parked
}

/// Gives `next` what `older` has left, if it is the session that is wanted and all of it is there.
pub(super) fn take_over(gateway: &Gateway, older: &Peer, next: &Peer, wanted: &Resume<'_>) {
    if older.format != next.format || older.session_id(&gateway.hub.node) != wanted.session_id {
        return;
    }
    if let Some(legacy) = older.outbox.bequeath(wanted.read) {
        next.outbox.inherit(legacy);
        next.recovered.store(true, Ordering::Relaxed);
        next.follows.lock().clone_from(&older.follows.lock());
    }
}

/// Ends the session that `peer` has replaced, and follows whom that followed if it goes on with it.
pub(super) fn succeed(gateway: &Gateway, peer: &Arc<Peer>) {
    let Some(older) = peer.older.lock().take() else { return };
    let follows = peer.follows.lock().clone();
    if let Some(follows) = follows.filter(|_| peer.recovered.load(Ordering::Relaxed)) {
        let session = Arc::clone(&peer.session);
        let again = Subscription { ticket: None, session, ..(*follows).clone() };
        gateway.injector.send(0, port::SUBSCRIPTIONS, vec![Record::Subscription(Arc::new(again))]);
    }
    if !end(gateway, &older) {
        older.outbox.close(Close::Replaced, false);
    }
}
