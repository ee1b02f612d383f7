//! The chat client as a state machine: lines and envelopes go in, envelopes and lines come out.
//!
//! It knows no socket, no terminal and no clock, so that what happens across lost connections is
//! tested without any. Every message of a conversation is shown once and in order (`Timeline`); every
//! typed line is sent until it is answered (`Outbox`).

use std::collections::HashMap;
use std::time::Duration;

use imflow_proto::wire::{
    AckStatus, ConversationType, CreateConversation, Cursor, Envelope, Error, History,
    ListConversations, ListCursors, Match, Matches, Message, Push, Refresh, Search, envelope::Body,
    push,
};

use super::entry::said;
use super::input::{HELP, Input, parse};
use super::outbox::Outbox;
use super::screen::{Line, Screen, Shown, conversation, seen};
use super::timeline::Timeline;

/// So many messages are shown of a conversation that is entered.
pub(super) const SHOWN_AT_START: u64 = 20;
/// Messages of one history query.
const PAGE: u32 = 200;
/// Before a refused line is sent again, when the server names no time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the outside does next, in this order.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) erase_typed: bool,
    pub(super) print: Vec<Line>,
    pub(super) send: Vec<Envelope>,
    /// Call [`State::retry`] after this time.
    pub(super) retry_after: Option<Duration>,
}

/// A command that waits for its answer. Lines are kept by the outbox.
enum Pending {
    List,
    /// The list of conversations, to learn where this one stands.
    Enter(String),
    /// A part of what is missing.
    Pull(String),
    /// Messages that were shown before.
    Again,
    /// Who has read how far.
    Seen,
    /// Messages with certain words.
    Search,
    /// That everything shown was read. One at a time, so that a quick talk does not double the commands.
    Read,
    Create,
    /// That the session goes on with a newer token.
    Refresh,
}

/// Everything that outlives a connection.
pub(super) struct State {
    user: String,
    current: String,
    timelines: HashMap<String, Timeline>,
    /// Conversations being entered, with the highest seq heard of meanwhile.
    entering: HashMap<String, u64>,
    outbox: Outbox,
    pending: HashMap<u64, Pending>,
    last_id: u64,
    connected: bool,
    failed: usize,
    quit: bool,
    away: Duration,
    screen: Screen,
    effects: Effects,
}

impl State {
    pub(super) fn new(
        user: &str,
        device: &str,
        conversation: &str,
        now_ms: u64,
        screen: Screen,
    ) -> Self {
        Self {
            user: user.to_owned(),
            current: conversation.to_owned(),
            timelines: HashMap::new(),
            entering: HashMap::new(),
            outbox: Outbox::new(user, device, now_ms),
            pending: HashMap::new(),
            last_id: 0,
            connected: false,
            failed: 0,
            quit: false,
            away: Duration::ZERO,
            screen,
            effects: Effects::default(),
        }
    }

    /// The server asks not to come back before so long.
    pub(super) fn stay_away(&mut self, pause: Duration) {
        self.away = pause.min(Duration::from_secs(60));
    }

    /// How long that is; asked once.
    pub(super) fn told_to_stay_away(&mut self) -> Duration {
        std::mem::take(&mut self.away)
    }

    /// The session is to go on with this token.
    pub(super) fn refresh(&mut self, token: String) {
        self.ask(Pending::Refresh, Body::Refresh(Refresh { token }));
    }

    /// What is to be done now.
    pub(super) fn effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Whether `/quit` was typed.
    pub(super) fn has_quit(&self) -> bool {
        self.quit
    }

    /// Whether nobody waits for an answer any more.
    pub(super) fn is_idle(&self) -> bool {
        let waits = |pending: &Pending| !matches!(pending, Pending::Read);
        self.outbox.is_empty() && !self.pending.values().any(waits)
    }

    /// Whether no more lines should be read for now.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Lines that were refused, or never answered.
    pub(super) fn unsent(&self) -> usize {
        self.failed + self.outbox.len()
    }

    /// A connection stands: asks for what was missed, then sends what waits.
    pub(super) fn connected(&mut self) {
        self.connected = true;
        for timeline in self.timelines.values_mut() {
            timeline.doubt();
        }
        if !self.timelines.contains_key(&self.current) {
            self.enter(self.current.clone());
        }
        self.retry();
    }

    /// The connection is lost; says why.
    pub(super) fn disconnected(&mut self, reason: &str) {
        self.connected = false;
        self.outbox.take_back();
        self.effects.send.clear();
        self.entering.clear();
        let commands = |pending: &Pending| {
            !matches!(pending, Pending::Enter(_) | Pending::Pull(_) | Pending::Read)
        };
        let unanswered = self.pending.drain().filter(|(_, pending)| commands(pending)).count();
        self.note(&format!("{reason}; connecting again"));
        if unanswered > 0 {
            self.note("a command was not answered before the connection was lost: type it again");
        }
    }

    /// Sends what waits and asks for what is missing.
    pub(super) fn retry(&mut self) {
        let conversations: Vec<String> = self.timelines.keys().cloned().collect();
        for conversation in conversations {
            self.pull(&conversation);
        }
        self.send_next();
    }

    /// A line was typed at `now_ms`.
    pub(super) fn line(&mut self, line: &str, now_ms: u64) {
        match parse(line) {
            Input::Nothing => {}
            Input::Send(entry) => {
                self.effects.erase_typed = true;
                self.outbox.push(&self.current, entry, now_ms);
                if !self.connected {
                    self.note(&format!(
                        "kept until the connection is back: {} waiting",
                        self.outbox.len()
                    ));
                }
                self.send_next();
            }
            Input::Help => HELP.lines().for_each(|line| self.note(line)),
            Input::Quit => self.quit = true,
            Input::Wrong(sentence) => self.note(&sentence),
            _ if !self.connected => {
                self.note("not connected; commands work again once the connection is back");
            }
            Input::List => {
                self.ask(Pending::List, Body::Conversations(ListConversations::default()))
            }
            Input::Switch(id) => self.switch(id),
            Input::NewGroup { id, members } => self.create(id, ConversationType::Group, members),
            Input::Direct(user) => {
                self.create(String::new(), ConversationType::OneToOne, vec![user]);
            }
            Input::History(count) => self.show_again(count),
            Input::Search(query) => {
                self.ask(Pending::Search, Body::Search(Search { query, ..Default::default() }));
            }
            Input::Seen => {
                let list =
                    ListCursors { conversation_id: self.current.clone(), ..Default::default() };
                self.ask(Pending::Seen, Body::Cursors(list));
            }
        }
    }

    /// An envelope came. Greetings and farewells are its caller's business.
    pub(super) fn envelope(&mut self, envelope: Envelope) {
        let id = envelope.id;
        match envelope.body {
            Some(Body::Push(Push { event: Some(event) })) => self.pushed(event),
            Some(Body::Ack(ack)) => {
                if let Some((conversation, entry)) = self.outbox.answered(id) {
                    self.message(&entry.message(conversation, &self.user, ack.seq));
                    self.send_next();
                }
            }
            Some(Body::Error(error)) if self.outbox.carries(id) => self.line_refused(id, &error),
            Some(body) => {
                if let Some(pending) = self.pending.remove(&id) {
                    self.answered(pending, body);
                }
            }
            None => {}
        }
        self.mark_read();
    }

    /// Tells that what is shown of the current conversation was read.
    fn mark_read(&mut self) {
        let waits = self.pending.values().any(|pending| matches!(pending, Pending::Read));
        if waits || !self.connected {
            return;
        }
        if let Some(seq) = self.timelines.get_mut(&self.current).and_then(Timeline::unread) {
            let cursor = Cursor { conversation_id: self.current.clone(), seq };
            self.ask(Pending::Read, Body::Read(cursor));
        }
    }

    fn line_refused(&mut self, id: u64, error: &Error) {
        if error.retryable {
            self.outbox.take_back();
            self.note(&format!("not sent yet: {}", refusal(error)));
            self.retry_after(error);
        } else if let Some((conversation, entry)) = self.outbox.answered(id) {
            self.failed += 1;
            let said = said(&entry.message(conversation, &self.user, 0));
            self.note(&format!("not sent: `{said}`: {}", refusal(error)));
            self.send_next();
        }
    }

    fn retry_after(&mut self, error: &Error) {
        let after = if error.retry_after_ms == 0 {
            PATIENCE
        } else {
            Duration::from_millis(error.retry_after_ms)
        };
        self.effects.retry_after = Some(after.min(Duration::from_secs(30)));
    }

    fn answered(&mut self, pending: Pending, body: Body) {
        match (pending, body) {
            (Pending::List, Body::ConversationList(list)) => {
                list.items.iter().for_each(|info| self.note(&conversation(info)));
                if list.items.is_empty() {
                    self.note("you are in no conversation yet: /new ID USER makes a group, /dm USER talks with one");
                }
            }
            (Pending::Enter(conversation), Body::ConversationList(list)) => {
                let found = list.items.iter().find(|info| info.conversation_id == conversation);
                self.entered(&conversation, found.map(|info| info.last_seq), list.more);
            }
            (Pending::Pull(conversation), Body::Messages(messages)) => {
                let brought = !messages.items.is_empty();
                messages.items.iter().for_each(|message| self.offer(message));
                if let Some(timeline) = self.timelines.get_mut(&conversation) {
                    timeline.pulled(brought, messages.more);
                }
                self.pull(&conversation);
            }
            (Pending::Again, Body::Messages(messages)) => {
                messages.items.iter().for_each(|message| self.show(message));
            }
            (Pending::Read, Body::Done(_)) | (Pending::Refresh, Body::Refreshed(_)) => {}
            (Pending::Seen, Body::CursorList(list)) => {
                list.items.iter().for_each(|cursor| self.note(&seen(cursor)));
                if list.items.is_empty() {
                    self.note("nobody has read anything yet");
                }
            }
            (Pending::Search, Body::Matches(matches)) => self.found(&matches),
            (Pending::Create, Body::Conversation(info)) => self.switch(info.conversation_id),
            (pending, Body::Error(error)) => self.refused(pending, &error),
            _ => self.note("the server gave an answer of another kind than was asked for"),
        }
    }

    fn refused(&mut self, pending: Pending, error: &Error) {
        self.note(&refusal(error));
        match pending {
            Pending::Pull(conversation) if error.retryable => {
                self.timelines.entry(conversation).and_modify(Timeline::doubt);
                self.retry_after(error);
            }
            Pending::Pull(conversation) => {
                self.timelines
                    .entry(conversation)
                    .and_modify(|timeline| timeline.pulled(false, false));
            }
            Pending::Enter(conversation) => {
                self.entering.remove(&conversation);
            }
            _ => {}
        }
    }

    fn switch(&mut self, id: String) {
        self.note(&format!("talking in {id}"));
        self.current.clone_from(&id);
        if !self.timelines.contains_key(&id) && !self.entering.contains_key(&id) {
            self.enter(id);
        }
    }

    fn create(&mut self, id: String, kind: ConversationType, members: Vec<String>) {
        let name = String::new();
        let create = CreateConversation {
            conversation_id: id,
            r#type: kind.into(),
            name,
            members,
            history_since_join: false,
        };
        self.ask(Pending::Create, Body::CreateConversation(create));
    }

    /// Learns where a conversation stands, to show its last messages.
    fn enter(&mut self, conversation: String) {
        self.entering.insert(conversation.clone(), 0);
        self.ask(Pending::Enter(conversation), Body::Conversations(ListConversations::default()));
    }

    fn entered(&mut self, conversation: &str, last_seq: Option<u64>, list_goes_on: bool) {
        let heard_of = self.entering.remove(conversation).unwrap_or(0);
        if last_seq.is_none() && heard_of == 0 && !list_goes_on {
            return self.note(&format!(
                "you are not in `{conversation}`: /list shows your conversations, /new {conversation} USER makes it"
            ));
        }
        let last_seq = last_seq.unwrap_or(0);
        let mut timeline = Timeline::after(last_seq.saturating_sub(SHOWN_AT_START));
        timeline.announce(last_seq.max(heard_of));
        if list_goes_on && last_seq == 0 {
            timeline.doubt();
        }
        self.timelines.insert(conversation.to_owned(), timeline);
        self.pull(conversation);
    }

    fn found(&mut self, matches: &Matches) {
        for Match { message, snippet, .. } in &matches.items {
            let Some(message) = message else { continue };
            let elsewhere =
                (message.conversation_id != self.current).then_some(&*message.conversation_id);
            let shown =
                Shown { seq: message.seq, sender: &message.sender_id, text: snippet, elsewhere };
            self.effects.print.push(self.screen.message(&shown));
        }
        match (matches.items.is_empty(), matches.next) {
            (true, 0) => self.note("nothing has these words"),
            (_, 0) => {}
            _ => self.note("there are older ones: add a word to find fewer"),
        }
        if !matches.complete {
            self.note("the newest messages may not be found yet: ask again in a moment");
        }
    }

    fn show_again(&mut self, count: u64) {
        let Some(timeline) = self.timelines.get(&self.current) else {
            return self.note(&format!("nothing of `{}` was read yet", self.current));
        };
        let history = History {
            conversation_id: self.current.clone(),
            after_seq: timeline.shown().saturating_sub(count),
            limit: u32::try_from(count).unwrap_or(u32::MAX),
            ..History::default()
        };
        self.ask(Pending::Again, Body::History(history));
    }

    fn pushed(&mut self, event: push::Event) {
        match event {
            push::Event::Message(message) => self.message(&message),
            push::Event::Notify(notify) => {
                if let Some(timeline) = self.timelines.get_mut(&notify.conversation_id) {
                    timeline.announce(notify.up_to_seq);
                }
                self.pull(&notify.conversation_id);
            }
            // `/seen` shows them: a note for each would bury the talk.
            push::Event::Receipt(_) => {}
            // A line that nobody takes back is no place for it.
            push::Event::Typing(_) => {}
            push::Event::Recalled(recalled) => {
                let by = if recalled.by.is_empty() { "an administrator" } else { &recalled.by };
                self.note(&format!(
                    "{}: your message {} was revoked by {by}",
                    recalled.conversation_id, recalled.seq
                ));
            }
            push::Event::Presence(notice) => {
                let standing = if notice.online { "online" } else { "offline" };
                self.note(&format!("{} is {standing}", notice.user_id));
            }
            // The connection sees to it.
            push::Event::TokenExpiring(_) => {}
            push::Event::Status(status) => {
                let (of, seq) = (&status.conversation_id, status.seq);
                self.note(&match status.status() {
                    AckStatus::Delayed => {
                        format!("{of}: the archive does not have message {seq} yet")
                    }
                    _ => format!("{of}: the archive has message {seq}"),
                });
            }
            push::Event::ConversationChanged(changed) => {
                let change = changed.change().as_str_name();
                self.note(
                    format!("{}: {change} {}", changed.conversation_id, changed.user_id).trim_end(),
                );
            }
        }
    }

    /// A message that was pushed or acked: shown if it is the next one, else pulled with what is before.
    fn message(&mut self, message: &Message) {
        if let Some(heard_of) = self.entering.get_mut(&message.conversation_id) {
            *heard_of = message.seq.max(*heard_of);
            return;
        }
        self.offer(message);
        self.pull(&message.conversation_id);
    }

    fn offer(&mut self, message: &Message) {
        let first_heard_of = || Timeline::after(message.seq.saturating_sub(1));
        let timeline =
            self.timelines.entry(message.conversation_id.clone()).or_insert_with(first_heard_of);
        if timeline.offer(message.seq) {
            self.show(message);
        }
    }

    fn show(&mut self, message: &Message) {
        let elsewhere =
            (message.conversation_id != self.current).then_some(message.conversation_id.as_str());
        let shown = Shown {
            seq: message.seq,
            sender: match message.sender_id.as_str() {
                "" => "(administrator)",
                sender => sender,
            },
            text: &said(message),
            elsewhere,
        };
        self.effects.print.push(self.screen.message(&shown));
    }

    fn pull(&mut self, conversation: &str) {
        let timeline = self.timelines.get_mut(conversation).filter(|_| self.connected);
        if let Some(after_seq) = timeline.and_then(Timeline::pull) {
            let history = History {
                conversation_id: conversation.to_owned(),
                after_seq,
                limit: PAGE,
                ..History::default()
            };
            self.ask(Pending::Pull(conversation.to_owned()), Body::History(history));
        }
    }

    fn send_next(&mut self) {
        if self.connected
            && let Some(envelope) = self.outbox.next(self.last_id + 1)
        {
            self.last_id += 1;
            self.effects.send.push(envelope);
        }
    }

    fn ask(&mut self, pending: Pending, body: Body) {
        self.last_id += 1;
        self.pending.insert(self.last_id, pending);
        self.effects.send.push(Envelope { id: self.last_id, body: Some(body) });
    }

    fn note(&mut self, text: &str) {
        self.effects.print.push(self.screen.note(text));
    }
}

fn refusal(error: &Error) -> String {
    format!("{}: {}", error.code().as_str_name(), error.message)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
