//! What all sessions of a run share: the clock, the texts, the checks and the figures.
//!
//! One thread owns it all, so cells do. What a session cannot go on from is kept here as the run's
//! failure, and whoever waits for the run looks at it.

use std::cell::{Cell, RefCell};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::event::Message;
use super::pending::Sent;
use crate::check::{Checker, Print, Promise};
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::names;
use crate::text::Text;

/// Who takes part.
pub(crate) struct CrowdPlan {
    /// The user of each session.
    pub(crate) users: Vec<u32>,
    /// The sessions of each conversation's members.
    pub(crate) conversations: Vec<Vec<u32>>,
    pub(crate) texts: Vec<Text>,
}

pub(crate) struct Crowd {
    began: Instant,
    pub(super) base_ms: u64,
    pub(crate) users: Vec<u32>,
    /// Names of the conversations.
    pub(super) conversations: Vec<String>,
    pub(crate) texts: Vec<Text>,
    pub(crate) check: RefCell<Checker>,
    pub(crate) window: RefCell<Window>,
    /// Until when each ack is followed by the next send: a closed loop.
    pub(crate) send_on_ack_until_ns: Cell<u64>,
    messages: Cell<u64>,
    /// Sends without a reply.
    pub(super) in_flight: Cell<u64>,
    pub(super) last_ack_ns: Cell<u64>,
    /// Refused sends and when they go out again. Bounded by the sends in flight.
    pub(super) resends: RefCell<Vec<(u64, Sent)>>,
    pub(super) closing: Cell<bool>,
    failure: RefCell<Option<Failure>>,
}

/// The stretch of time that the figures are of.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
    /// From the intended time to the ack, of messages that were intended in the window.
    pub(crate) latencies: Histogram,
    /// Acks and pushes that came in the window.
    pub(crate) acked: u64,
    pub(crate) pushed: u64,
}

impl Window {
    pub(crate) fn new(from_ns: u64, to_ns: u64) -> Self {
        Self { from_ns, to_ns, ..Self::default() }
    }

    pub(crate) fn seconds(&self) -> f64 {
        (self.to_ns - self.from_ns) as f64 / 1e9
    }

    pub(super) fn count_ack(&mut self, intended_ns: u64, now_ns: u64) {
        self.acked += u64::from((self.from_ns..self.to_ns).contains(&now_ns));
        if (self.from_ns..self.to_ns).contains(&intended_ns) {
            self.latencies.record(now_ns.saturating_sub(intended_ns));
        }
    }

    pub(super) fn count_push(&mut self, now_ns: u64) {
        self.pushed += u64::from((self.from_ns..self.to_ns).contains(&now_ns));
    }
}

impl Crowd {
    pub(crate) fn new(plan: CrowdPlan) -> Self {
        let names = (0..plan.conversations.len() as u32).map(names::conversation).collect();
        Self {
            began: Instant::now(),
            base_ms: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_millis() as u64),
            conversations: names,
            texts: plan.texts,
            check: RefCell::new(Checker::new(plan.users.len(), plan.conversations)),
            users: plan.users,
            window: RefCell::default(),
            send_on_ack_until_ns: Cell::new(0),
            messages: Cell::new(0),
            in_flight: Cell::new(0),
            last_ack_ns: Cell::new(0),
            resends: RefCell::default(),
            closing: Cell::new(false),
            failure: RefCell::default(),
        }
    }

    /// Nanoseconds since the crowd came together.
    pub(crate) fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Counts the messages of all sessions.
    pub(super) fn next_message(&self) -> u64 {
        let number = self.messages.get();
        self.messages.set(number + 1);
        number
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    pub(crate) fn last_ack_ns(&self) -> u64 {
        self.last_ack_ns.get()
    }

    /// Connections that end from now on are no failures.
    pub(crate) fn close(&self) {
        self.closing.set(true);
    }

    /// The first failure of a session, if any.
    pub(crate) fn take_failure(&self) -> Result<(), Failure> {
        self.failure.borrow_mut().take().map_or(Ok(()), Err)
    }

    pub(super) fn fail(&self, failure: Failure) {
        if !self.closing.get() {
            self.failure.borrow_mut().get_or_insert(failure);
        }
    }

    /// The resends that are due.
    pub(crate) fn due_resends(&self) -> Vec<u32> {
        let now = self.now_ns();
        let resends = self.resends.borrow();
        resends.iter().filter(|(due, _)| *due <= now).map(|(_, sent)| sent.id.session).collect()
    }

    /// Conversation and print of a message that came from the server; what cannot be the driver's own
    /// is reported.
    pub(super) fn recognise(&self, message: &Message<'_>) -> Option<(u32, Print)> {
        let recognised = self.read(message);
        if recognised.is_none() {
            let text = format!(
                "{} seq {} from {} with the clientMsgId `{}` is no message of this run",
                message.conversation_id, message.seq, message.sender_id, message.client_msg_id
            );
            self.check.borrow_mut().report(Promise::Content, text);
        }
        recognised
    }

    fn read(&self, message: &Message<'_>) -> Option<(u32, Print)> {
        let conversation = names::number('g', &message.conversation_id)?;
        let (user, id) = names::read_client_msg_id(&message.client_msg_id)?;
        let sender = names::number('u', &message.sender_id)?;
        let genuine = sender == user && self.users.get(id.session as usize) == Some(&user);
        let print = Print::new(id, message.server_msg_id, crate::text::hash(&message.text));
        genuine.then_some((conversation, print))
    }
}
