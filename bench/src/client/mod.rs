//! A lean WebSocket client: it shares the cores with the server that it measures.
//!
//! One thread, one task a connection, one write for all that is sent at a time; what comes is parsed in
//! place, only the fields that are checked. It implements what the server under test may do, not RFC
//! 6455 as a whole: messages in one frame each, no extensions.

mod crowd;
mod event;
mod frame;
mod handshake;
mod json;
mod outgoing;
mod pending;
mod proto;
mod reading;
mod session;

pub(crate) use crowd::{Crowd, CrowdPlan, Window};
pub(crate) use handshake::Door;
pub(crate) use session::{Page, Session};
