//! What clients do beside the load: send again what was refused, and ping so as not to look idle.

use std::rc::Rc;
use std::time::Duration;

use crate::client::{Crowd, Session};

const TICK: Duration = Duration::from_millis(5);
/// Below the interval that the server's welcome asks for.
const PING_TICKS: u32 = 10_000 / 5;

/// Runs as long as the load.
pub(super) async fn run(crowd: Rc<Crowd>, sessions: Vec<Rc<Session>>) {
    let mut ticks = tokio::time::interval(TICK);
    for tick in 1u32.. {
        ticks.tick().await;
        for session in crowd.due_resends() {
            sessions[session as usize].resend();
        }
        if tick.is_multiple_of(PING_TICKS) {
            sessions.iter().for_each(Session::ping);
        }
    }
}
