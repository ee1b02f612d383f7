//! Looks over all sessions once a tick: who is silent, stuck, out of time or answered too late.
//!
//! It reads a few atomics per session and signals the connection's task; there is no timer per
//! connection, so a hundred thousand idle ones cost next to nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::close::Close;
use super::hub::Gateway;
use super::limits::Limits;
use super::outbox;
use super::parking;
use super::peer::Peer;

/// How often a connection is told of what it was not given.
const TELL_GAPS_MS: u64 = 1_000;

/// Runs for good, and drives the coarse clock.
pub(super) async fn run(gateway: Arc<Gateway>) {
    let start = Instant::now();
    let mut ticks = interval(gateway.hub.limits.tick());
    let mut tells_gaps_at = 0;
    let mut turn = 0_usize;
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = start.elapsed().as_millis() as u64;
        gateway.hub.clock.set(now);
        let wall = gateway.hub.wall.now_ms();
        let tells_gaps = now >= tells_gaps_at;
        if tells_gaps {
            tells_gaps_at = now + TELL_GAPS_MS;
        }
        let mut over = Vec::new();
        gateway.hub.registry.each(|peer| {
            let parked_since = peer.times.parked_since.load(Ordering::Acquire);
            if parked_since != 0 {
                if now.saturating_sub(parked_since) >= gateway.hub.limits.resume_window_ms {
                    over.push(Arc::clone(peer));
                }
                return;
            }
            look_at(peer, now, wall, &gateway.hub.limits);
            if tells_gaps {
                peer.outbox.tell_gaps();
            }
        });
        for peer in over {
            parking::end(&gateway, &peer);
        }
        gateway.throttle.sweep(turn, gateway.now_us());
        turn = turn.wrapping_add(1);
    }
}

fn look_at(peer: &Peer, now: u64, wall_ms: u64, limits: &Limits) {
    let times = &peer.times;
    let age = |since: u64| now.saturating_sub(since);
    let expires_at_ms = peer.expires_at_ms.load(Ordering::Relaxed);
    if expires_at_ms <= wall_ms {
        return peer.outbox.close(Close::TokenExpired, false);
    }
    if expires_at_ms - wall_ms <= limits.token_warning_ms
        && !peer.warned.swap(true, Ordering::Relaxed)
    {
        peer.outbox.signal(outbox::EXPIRING);
    }
    let stalled = times.stalled_since.load(Ordering::Relaxed);
    if stalled != 0 && age(stalled) >= limits.write_stall_ms {
        return peer.outbox.close(Close::SlowConsumer, false);
    }
    let partial = times.partial_since.load(Ordering::Relaxed);
    if partial != 0 && age(partial) >= limits.message_timeout_ms {
        return peer.outbox.close(Close::TooSlow, false);
    }
    let silent = age(times.alive.load(Ordering::Relaxed));
    if silent >= 2 * limits.ping_interval_ms {
        return peer.outbox.close(Close::NoPong, false);
    }
    if silent >= limits.ping_interval_ms
        && age(times.pinged.load(Ordering::Relaxed)) >= limits.ping_interval_ms
    {
        times.pinged.store(now, Ordering::Relaxed);
        peer.outbox.signal(outbox::PING);
    }
    let waiting = times.waiting_since.load(Ordering::Relaxed);
    if waiting != 0 && age(waiting) >= limits.reply_timeout_ms {
        peer.outbox.signal(outbox::DEADLINES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::peer;

    fn verdict(peer: &Peer, now: u64) -> (u8, Option<Close>) {
        look_at(peer, now, 0, &Limits::default());
        let taken = peer.outbox.take(&mut Vec::new());
        (taken.signals, taken.closing.map(|closing| closing.why))
    }

    #[test]
    fn a_silent_connection_is_pinged_once_then_closed() {
        let peer = peer("alice", "phone", 1);
        peer.clock.set(1_000);
        peer.heard();
        assert_eq!(verdict(&peer, 20_000), (0, None));
        assert_eq!(verdict(&peer, 26_000), (outbox::PING, None));
        assert_eq!(verdict(&peer, 27_000), (0, None));
        assert_eq!(verdict(&peer, 51_000), (0, Some(Close::NoPong)));
    }

    #[test]
    fn a_write_without_progress_ends_the_connection() {
        let peer = peer("alice", "phone", 1);
        peer.clock.set(100_000);
        peer.heard();
        peer.wrote(true, true);
        peer.clock.set(110_000);
        peer.wrote(false, true);
        assert_eq!(verdict(&peer, 119_000), (0, None));
        assert_eq!(verdict(&peer, 120_000), (0, Some(Close::SlowConsumer)));
    }

    #[test]
    fn a_message_that_does_not_end_ends_the_connection() {
        let peer = peer("alice", "phone", 1);
        peer.clock.set(100_000);
        peer.heard();
        peer.awaits_rest(true);
        peer.clock.set(120_000);
        peer.heard();
        peer.awaits_rest(true);
        assert_eq!(verdict(&peer, 129_999), (0, None));
        peer.awaits_rest(false);
        peer.awaits_rest(true);
        assert_eq!(verdict(&peer, 130_000), (0, None));
        peer.heard();
        assert_eq!(verdict(&peer, 150_000).1, Some(Close::TooSlow));
    }

    #[test]
    fn a_session_is_warned_once_for_each_token() {
        let peer = peer("alice", "phone", 1);
        let signals = |wall_ms: u64| {
            look_at(&peer, 1, wall_ms, &Limits::default());
            peer.outbox.take(&mut Vec::new()).signals
        };
        peer.expires_at_ms.store(100_000, Ordering::Relaxed);
        assert_eq!([39_000, 40_000, 41_000].map(signals), [0, outbox::EXPIRING, 0]);
        // As a refresh does.
        peer.expires_at_ms.store(200_000, Ordering::Relaxed);
        peer.warned.store(false, Ordering::Relaxed);
        assert_eq!([100_000, 140_000, 199_999].map(signals), [0, outbox::EXPIRING, 0]);
    }

    #[test]
    fn an_expired_token_ends_the_session() {
        let peer = peer("alice", "phone", 1);
        look_at(&peer, 1, u64::MAX, &Limits::default());
        assert_eq!(
            peer.outbox.take(&mut Vec::new()).closing.map(|c| c.why),
            Some(Close::TokenExpired)
        );
    }
}
