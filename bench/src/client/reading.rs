//! One connected session: what it is told.
//!
//! All that one read brought is taken before anything is written, so that what follows from it, the
//! next sends of a closed loop, leaves together.

use std::rc::Rc;

use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;

use super::event::Event;
use super::pending::{Page, Pending, Sent};
use super::session::Session;
use super::{frame, json, proto};
use crate::check::{Print, Promise};
use crate::failure::{Context as _, Failure};

/// Room for what a coalescing server writes at a time.
const READ_BYTES: usize = 64 << 10;
/// A send that was refused so often as retryable counts as refused.
const MAX_ATTEMPTS: u8 = 100;
/// Before a send goes out again, unless the server names a time.
const RESEND_MS: u64 = 20;

/// Reads until the connection ends.
pub(super) async fn run(session: Rc<Session>, mut read: OwnedReadHalf, mut buffer: Vec<u8>) {
    let failure = loop {
        match session.take_frames(&mut buffer) {
            Ok(()) => session.flush(),
            Err(failure) => break failure,
        }
        buffer.reserve(READ_BYTES);
        match read.read_buf(&mut buffer).await.context(|| "reading".to_owned()) {
            Ok(0) => break Failure::new("the server closed the connection"),
            Ok(_) => {}
            Err(failure) => break failure,
        }
    };
    session.crowd.fail(Failure::new(format!("session {}: {failure}", session.number)));
}

impl Session {
    /// Takes the whole frames at the buffer's start and leaves the rest.
    fn take_frames(&self, buffer: &mut Vec<u8>) -> Result<(), Failure> {
        let now = self.crowd.now_ns();
        let mut taken = 0;
        while let Some(frame) = frame::read(&buffer[taken..])? {
            let mut rest = frame.payload;
            match frame.opcode {
                frame::BINARY => {
                    while !rest.is_empty() {
                        let (event, behind) = proto::read(rest)?;
                        self.take(event, now)?;
                        rest = behind;
                    }
                }
                frame::TEXT => {
                    for line in rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        self.take(json::read(line)?, now)?;
                    }
                }
                frame::PING => self.pong(rest),
                frame::CLOSE => {
                    let code = rest.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    return Err(Failure::new(format!(
                        "the server closed the connection with code {code}"
                    )));
                }
                _ => {}
            }
            taken += frame.length;
        }
        buffer.drain(..taken);
        Ok(())
    }

    fn take(&self, event: Event<'_>, now: u64) -> Result<(), Failure> {
        let crowd = &self.crowd;
        match event {
            Event::Message(message) => {
                if let Some((conversation, print)) = crowd.recognise(&message) {
                    crowd.check.borrow_mut().pushed(self.number, conversation, message.seq, print);
                    crowd.window.borrow_mut().count_push(now);
                }
            }
            Event::Ack { id, server_msg_id, seq } => {
                let acked = self.pending.borrow_mut().take(id);
                match acked {
                    Some(Pending::Send(sent)) => self.on_acked(sent, server_msg_id, seq, now),
                    _ => self.unexpected("an ack", id),
                }
            }
            Event::Refused { id, code, message, retryable, retry_after_ms } => {
                let refused = self.pending.borrow_mut().take(id);
                let text = format!("{code}: {message}");
                match refused {
                    Some(Pending::Send(sent)) if retryable && sent.attempt < MAX_ATTEMPTS => {
                        let due = now + retry_after_ms.max(RESEND_MS) * 1_000_000;
                        crowd.check.borrow_mut().resent(sent.id);
                        crowd
                            .resends
                            .borrow_mut()
                            .push((due, Sent { attempt: sent.attempt + 1, ..sent }));
                    }
                    Some(Pending::Send(sent)) => self.on_refused(&sent, &text),
                    // Whoever waits for the page sees that there is none.
                    Some(Pending::Page(_)) => {}
                    None => self.unexpected(&format!("the error {text}"), id),
                }
            }
            Event::Page { id, items, more } => {
                let page =
                    items.iter().filter_map(|item| Some((item.seq, crowd.recognise(item)?.1)));
                let page = Page { items: page.collect(), more };
                let asked = self.pending.borrow_mut().take(id);
                match asked {
                    // The waiting side may have given up.
                    Some(Pending::Page(answer)) => drop(answer.send(page)),
                    _ => self.unexpected("a page", id),
                }
            }
            Event::Notify { conversation_id } => {
                let text =
                    format!("session {} was told to pull {conversation_id} instead", self.number);
                crowd.check.borrow_mut().report(Promise::Delivered, text);
            }
            Event::Goodbye { reason } => {
                return Err(Failure::new(format!("the server said goodbye: {reason}")));
            }
            Event::Other => {}
        }
        Ok(())
    }

    fn on_acked(&self, sent: Sent, server_msg_id: i64, seq: u64, now: u64) {
        let crowd = &self.crowd;
        let print = Print::new(sent.id, server_msg_id, crowd.texts[sent.text as usize].hash);
        crowd.check.borrow_mut().acked(sent.conversation, seq, print);
        crowd.in_flight.set(crowd.in_flight.get() - 1);
        if sent.repeat {
            return;
        }
        crowd.last_ack_ns.set(now);
        crowd.window.borrow_mut().count_ack(sent.intended_ns, now);
        if sent.repeat_after_ack {
            self.put(Sent { repeat: true, repeat_after_ack: false, attempt: 0, ..sent });
        }
        if now < crowd.send_on_ack_until_ns.get() {
            self.send_next(now);
        }
    }

    fn on_refused(&self, sent: &Sent, error: &str) {
        let crowd = &self.crowd;
        crowd.in_flight.set(crowd.in_flight.get() - 1);
        let text = format!("{:?} to g{}: {error}", sent.id, sent.conversation);
        crowd.check.borrow_mut().report(Promise::Refused, text);
    }

    fn unexpected(&self, what: &str, id: u64) {
        let text = format!(
            "session {} got {what} for the command {id}, which waits for none",
            self.number
        );
        self.crowd.check.borrow_mut().report(Promise::Ack, text);
    }
}
