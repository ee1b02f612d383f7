//! A lean WebSocket client: it shares the cores with the server that it measures.
//!
//! One thread, one task a connection, one write for all that is sent at a time; what comes is parsed in
//! place, only the fields that are checked. It implements what the server under test may do, not RFC
//! 6455 as a whole: messages in one frame each, no extensions.

mod crowd;
mod event;
mod frame;
mod handshake;
mod herd;
mod json;
mod outgoing;
mod pending;
mod proto;
mod reading;
mod session;

use std::rc::Rc;

use crate::failure::Failure;
pub(crate) use crowd::{Crowd, CrowdPlan, Window};
pub(crate) use handshake::Door;
pub(crate) use herd::{Herd, upgrade};
pub(crate) use pending::Page;
pub(crate) use session::Session;

/// Connects, and starts the task that reads.
pub(crate) async fn connect(
    number: u32,
    door: &Door,
    conversations: Vec<u32>,
    crowd: &Rc<Crowd>,
) -> Result<Rc<Session>, Failure> {
    let (session, read, buffer) = Session::open(number, door, conversations, crowd).await?;
    tokio::task::spawn_local(reading::run(Rc::clone(&session), read, buffer));
    Ok(session)
}

/// Appends one text frame, as a client sends it.
pub(crate) fn text_frame(text: &str, into: &mut Vec<u8>) {
    frame::write(frame::TEXT, text.as_bytes(), into);
}
