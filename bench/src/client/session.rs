//! One connected session: what it sends.
//!
//! Nothing leaves before `flush`, so that all that is due at a time goes in one frame and one write.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;

use super::crowd::Crowd;
use super::event::Command;
use super::frame;
use super::handshake::{self, Door};
use super::outgoing::Outgoing;
use super::pending::{Page, Pending, Sent, Table};
use crate::failure::{Context as _, Failure};
use crate::names::{self, MessageId};

/// Of so many messages, one is repeated at once and one after its ack.
const REPEAT_ONE_IN: u64 = 100;

pub(crate) struct Session {
    pub(crate) number: u32,
    pub(super) crowd: Rc<Crowd>,
    /// The conversations that this session's user is a member of; it sends to each in turn.
    conversations: Vec<u32>,
    turn: Cell<usize>,
    next_local: Cell<u32>,
    pub(super) pending: RefCell<Table>,
    outgoing: RefCell<Outgoing>,
    write: OwnedWriteHalf,
    /// A task waits for the socket to take more.
    stuck: Cell<bool>,
    client_msg_id: RefCell<String>,
}

impl Session {
    /// Connects; gives the session and what to read from.
    pub(super) async fn open(
        number: u32,
        door: &Door,
        conversations: Vec<u32>,
        crowd: &Rc<Crowd>,
    ) -> Result<(Rc<Self>, OwnedReadHalf, Vec<u8>), Failure> {
        let (stream, buffer) = handshake::open(door).await?;
        let (read, write) = stream.into_split();
        let session = Rc::new(Self {
            number,
            crowd: Rc::clone(crowd),
            // Sessions begin at different ones of their conversations.
            turn: Cell::new(number as usize),
            conversations,
            next_local: Cell::new(1),
            pending: RefCell::default(),
            outgoing: RefCell::new(Outgoing::new(door.format)),
            write,
            stuck: Cell::new(false),
            client_msg_id: RefCell::default(),
        });
        Ok((session, read, buffer))
    }

    /// Sends to the next of the session's conversations, the next of the texts.
    pub(crate) fn send_next(&self, intended_ns: u64) {
        if self.conversations.is_empty() {
            return;
        }
        let turn = self.turn.get();
        self.turn.set(turn + 1);
        let text = turn % self.crowd.texts.len();
        self.send(self.conversations[turn % self.conversations.len()], text as u32, intended_ns);
    }

    /// Sends a new message, and some of them twice.
    pub(crate) fn send(&self, conversation: u32, text: u32, intended_ns: u64) {
        let local = self.next_local.get();
        self.next_local.set(local + 1);
        let id = MessageId { session: self.number, local };
        let turn = self.crowd.next_message() % REPEAT_ONE_IN;
        let sent = Sent {
            id,
            conversation,
            text,
            intended_ns,
            attempt: 0,
            repeat: false,
            repeat_after_ack: turn == 0,
        };
        self.put(sent);
        if turn == REPEAT_ONE_IN / 2 {
            self.put(Sent { repeat: true, ..sent });
        }
    }

    pub(super) fn put(&self, sent: Sent) {
        let crowd = &self.crowd;
        let mut client_msg_id = self.client_msg_id.borrow_mut();
        let user = crowd.users[self.number as usize];
        names::write_client_msg_id(&mut client_msg_id, user, sent.id, crowd.base_ms);
        let id = self.pending.borrow_mut().put(Pending::Send(sent));
        let command = Command::Send {
            conversation_id: &crowd.conversations[sent.conversation as usize],
            client_msg_id: &client_msg_id,
            text: &crowd.texts[sent.text as usize],
        };
        self.outgoing.borrow_mut().put(id, &command);
        crowd.in_flight.set(crowd.in_flight.get() + 1);
    }

    /// Sends again what was refused and is due.
    pub(crate) fn resend(self: &Rc<Self>) {
        let now = self.crowd.now_ns();
        let mine = |(due, sent): &mut (u64, Sent)| *due <= now && sent.id.session == self.number;
        let due: Vec<_> = self.crowd.resends.borrow_mut().extract_if(.., mine).collect();
        for (_, sent) in due {
            // It was counted as in flight all the time.
            self.crowd.in_flight.set(self.crowd.in_flight.get() - 1);
            self.put(sent);
        }
        self.flush();
    }

    /// Reads a page of history.
    pub(crate) async fn history(
        self: &Rc<Self>,
        conversation: u32,
        after_seq: u64,
        limit: u32,
    ) -> Result<Page, Failure> {
        let (answer, answered) = oneshot::channel();
        let id = self.pending.borrow_mut().put(Pending::Page(answer));
        let conversation_id = &self.crowd.conversations[conversation as usize];
        self.outgoing.borrow_mut().put(id, &Command::History { conversation_id, after_seq, limit });
        self.flush();
        answered.await.context(|| format!("reading the history of {conversation_id}"))
    }

    pub(crate) fn ping(self: &Rc<Self>) {
        self.outgoing.borrow_mut().put(0, &Command::Ping);
        self.flush();
    }

    pub(super) fn pong(&self, payload: &[u8]) {
        self.outgoing.borrow_mut().put_control(frame::PONG, payload);
    }

    /// Writes what was put; what the socket does not take follows as soon as it does.
    pub(crate) fn flush(self: &Rc<Self>) {
        if self.stuck.get() {
            return;
        }
        match self.try_write() {
            Ok(true) => {}
            Ok(false) => {
                self.stuck.set(true);
                tokio::task::spawn_local(Rc::clone(self).write_when_possible());
            }
            Err(failure) => self.crowd.fail(failure),
        }
    }

    async fn write_when_possible(self: Rc<Self>) {
        let doing = || format!("waiting to write to session {}", self.number);
        let written = loop {
            if let Err(failure) = self.write.writable().await.context(doing) {
                break Err(failure);
            }
            match self.try_write() {
                Ok(false) => {}
                other => break other.map(|_| ()),
            }
        };
        self.stuck.set(false);
        if let Err(failure) = written {
            self.crowd.fail(failure);
        }
    }

    fn try_write(&self) -> Result<bool, Failure> {
        let written = self.outgoing.borrow_mut().write(|bytes| self.write.try_write(bytes));
        written.context(|| format!("writing to session {}", self.number))
    }
}
