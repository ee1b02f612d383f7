//! What senders submit: messages, and actions on earlier messages.
//!
//! Most lean on nothing but the sender's right to speak. The others carry a [`Reference`]: what they refer
//! to and whether it bears them, which is found out on the path.

use std::sync::Arc;

use crate::id::ClientMsgId;
use crate::keys::Keys;
use crate::record::Session;
use crate::ticket::Ticket;
use crate::wire;

/// A message as a device sent it, or an action on an earlier one.
#[derive(Clone, Debug)]
pub struct Submission {
    pub ticket: Ticket,
    pub session: Arc<Session>,
    pub send: wire::Send,
    pub keys: Keys,
    pub id_form: IdForm,
    /// Only with those that lean on more than the sender's right to speak.
    pub reference: Option<Box<Reference>>,
}

/// What the clientMsgId of a submission looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdForm {
    /// The standard form, of the session's own user and device.
    Own,
    /// The standard form, of somebody else.
    Foreign,
    /// Any other form.
    Free,
}

impl Submission {
    /// What `session` sends.
    pub fn new(ticket: Ticket, session: Arc<Session>, send: wire::Send) -> Self {
        let leans = send.reply_to != 0 || send.forward_of.is_some() || send.mention_all;
        let reference = leans.then(|| Reference { action: None, verdict: Verdict::Open }.into());
        Self::with(ticket, session, send, reference)
    }

    /// What `session` does to an earlier message. `send` has one of the types of actions.
    pub fn acting(
        ticket: Ticket,
        session: Arc<Session>,
        send: wire::Send,
        action: wire::Action,
    ) -> Self {
        let reference = Reference { action: Some(action.into()), verdict: Verdict::Open };
        Self::with(ticket, session, send, Some(reference.into()))
    }

    fn with(
        ticket: Ticket,
        session: Arc<Session>,
        send: wire::Send,
        reference: Option<Box<Reference>>,
    ) -> Self {
        let id = ClientMsgId::parse(&send.client_msg_id);
        let id_form = match id {
            Some(id) if id.is_of(&session.user_id, &session.device_id) => IdForm::Own,
            Some(_) => IdForm::Foreign,
            None => IdForm::Free,
        };
        let action = reference.as_ref().and_then(|reference| reference.action.as_deref());
        let keys = Keys::of_send(&session.user_id, &send, action, id);
        Self { ticket, session, send, keys, id_form, reference }
    }

    /// What it does to an earlier message, if it is an action.
    pub fn action(&self) -> Option<&wire::Action> {
        self.reference.as_ref()?.action.as_deref()
    }

    /// Writes a verdict on it.
    pub fn decide(&mut self, verdict: Verdict) {
        match &mut self.reference {
            Some(reference) => reference.verdict = verdict,
            None => self.reference = Some(Reference { action: None, verdict }.into()),
        }
    }

    /// The message that it refers to, by conversation and seq.
    pub fn refers_to(&self) -> Option<(&str, u64)> {
        let reference = self.reference.as_ref()?;
        let here = &*self.send.conversation_id;
        match (&reference.action, &self.send.forward_of) {
            (Some(action), _) => Some((here, action.target_seq)),
            (None, Some(origin)) => Some((&origin.conversation_id, origin.seq)),
            (None, None) => (self.send.reply_to != 0).then_some((here, self.send.reply_to)),
        }
    }
}

/// What a submission leans on, and what was found of it.
#[derive(Clone, Debug)]
pub struct Reference {
    /// `None`: a message that refers to another one, or mentions all.
    pub action: Option<Box<wire::Action>>,
    pub verdict: Verdict,
}

/// Whether what a submission refers to bears it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nobody has looked yet.
    Open,
    /// It does.
    Passes,
    /// It does for senders with at least this role; others get the error.
    Needs(wire::Role, wire::Error),
    /// It does not.
    Fault(wire::Error),
}

/// What stands where a submission refers to.
#[derive(Clone, Debug)]
pub struct Referent {
    pub submission: Arc<Submission>,
    /// `None`: there is no such message; or the error that the sender gets because nobody can tell, or
    /// because it may not read there.
    pub target: Result<Option<Target>, wire::Error>,
}

/// A message that is referred to.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// As it reads now, without its reactions.
    pub message: Arc<wire::Message>,
    /// Entries of REACT about it.
    pub reactions: u32,
}
