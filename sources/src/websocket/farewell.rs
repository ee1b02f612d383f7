//! The goodbyes of a node that stops, spread over time so that its clients do not all come back at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::close::Close;
use super::hub::Gateway;

/// From so many connections on the whole time is taken; fewer take their part of it.
const MANY: usize = 1_000;
/// At least so long is between two handfuls of goodbyes.
const STEP: Duration = Duration::from_millis(10);

/// Tells every connection to go, once its commands are answered. Until its turn comes it is served.
pub(super) async fn say(gateway: Arc<Gateway>, done: Arc<AtomicBool>) {
    let mut peers = Vec::new();
    gateway.hub.registry.each(|peer| peers.push(Arc::downgrade(peer)));
    let whole = Duration::from_millis(gateway.hub.limits.drain_over_ms);
    let whole = whole.mul_f64((peers.len() as f64 / MANY as f64).min(1.0));
    let steps = (whole.as_millis() / STEP.as_millis()).max(1) as usize;
    let handfuls = peers.chunks(peers.len().div_ceil(steps).max(1));
    let step = whole / u32::try_from(handfuls.len().max(1)).unwrap_or(u32::MAX);
    let start = Instant::now();
    for (turn, peers) in (0..).zip(handfuls) {
        sleep_until(start + step * turn).await;
        for peer in peers.iter().filter_map(std::sync::Weak::upgrade) {
            peer.outbox.close(Close::ShuttingDown, true);
        }
    }
    // Who was on the way in when the list was made.
    gateway.hub.registry.each(|peer| peer.outbox.close(Close::ShuttingDown, true));
    done.store(true, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::limits::Limits;
    use crate::websocket::testing::{gateway, peer};

    #[tokio::test(start_paused = true)]
    async fn goodbyes_are_spread_evenly_and_reach_everybody() {
        let limits = Limits { drain_over_ms: 5_000, ..Limits::default() };
        let gateway = gateway(Arc::default(), limits);
        let peers: Vec<_> = (1..=2_000).map(|n| peer(&format!("u{n}"), "phone", n)).collect();
        for peer in &peers {
            gateway.hub.registry.insert(peer, 9, |_| {}).expect("room");
        }
        let done = Arc::new(AtomicBool::new(false));
        let told = || {
            let closing = |peer: &&_| -> bool {
                let peer: &&Arc<crate::websocket::peer::Peer> = peer;
                peer.outbox.take(&mut Vec::new()).closing.is_some()
            };
            peers.iter().filter(closing).count()
        };
        tokio::spawn(say(Arc::clone(&gateway), Arc::clone(&done)));
        for second in 0..5 {
            tokio::time::sleep(Duration::from_millis(if second == 0 { 2 } else { 1_000 })).await;
            let expected = 4 + 400 * second;
            assert!(told().abs_diff(expected) <= 8, "{} after {second} s", told());
            assert!(!done.load(Ordering::Acquire));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(told() == 2_000 && done.load(Ordering::Acquire));
    }
}
