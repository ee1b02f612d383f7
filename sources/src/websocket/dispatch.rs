//! Brings what the dataflow delivers to the outboxes of this node.
//!
//! One task drains the hub's queue in rounds. A round answers tickets, encodes each event once per
//! format, and puts all events of a conversation into an outbox under one lock; each connection is
//! woken once a round. Between rounds it waits for connections that were woken to take what they got.
//!
//! Invariant: the events of a conversation reach an outbox in the order of the queue.

use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use imflow_proto::Record;
use imflow_proto::record::{Delivery, Event, PresenceChange};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, PresenceNotice, Push, push};
use rapidhash::RapidHashMap;
use tokio::time::{Duration, Instant, sleep_until};

use super::cork::corked;
use super::frames::Shared;
use super::hub::Hub;
use super::peer::Peer;

/// Bounds of a round: large enough to share its costs, small enough to share the thread.
const ROUND_RECORDS: usize = 256;
const ROUND_RECEIVERS: usize = 16_384;
const ROUND_BYTES: usize = 128 * 1024;
/// Connections woken at a time when a window ends.
const WAKES: usize = 512;

/// The dispatcher's own state.
pub(super) struct Dispatcher {
    hub: Arc<Hub>,
    start: Instant,
    /// Whose pushes wait for the end of the window.
    waiting: Vec<Arc<Peer>>,
    window_ends: Instant,
    frames: Vec<Bytes>,
}

impl Dispatcher {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let now = Instant::now();
        Self { hub, start: now, waiting: Vec::new(), window_ends: now, frames: Vec::new() }
    }

    /// Runs for good.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.hub.delivered.notified() => {}
                () = sleep_until(self.window_ends), if !self.waiting.is_empty() => {}
            }
            let mut records = self.hub.take().into_iter();
            while !records.as_slice().is_empty() {
                corked(|| self.round(&mut records));
                self.end_window().await;
                self.hub.flow.room().await;
            }
            self.end_window().await;
        }
    }

    /// Delivers everything at once, without windows: for virtual time, in which nobody waits.
    pub(super) fn deliver_all(&mut self, records: Vec<Record>) {
        let mut records = records.into_iter();
        while !records.as_slice().is_empty() {
            corked(|| self.round(&mut records));
        }
    }

    /// Wakes those whose pushes have gathered for a window's length.
    async fn end_window(&mut self) {
        if self.waiting.is_empty() || Instant::now() < self.window_ends {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        for peers in waiting.chunks(WAKES) {
            let now = self.now();
            corked(|| peers.iter().for_each(|peer| peer.outbox.end_window(now)));
            self.hub.flow.room().await;
        }
    }

    /// Milliseconds of the push windows.
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn round(&mut self, records: &mut vec::IntoIter<Record>) {
        let now = self.now();
        let mut groups = Groups::default();
        let mut spent = Spent::default();
        while !spent.is_all() {
            let Some(record) = records.next() else { break };
            spent.records += 1;
            match record {
                Record::Committed(committed) => {
                    if let Some(ticket) = &committed.ticket {
                        ticket.answer(Body::Ack(committed.ack()));
                    }
                }
                Record::Reply(reply) => {
                    let reply = Arc::unwrap_or_clone(reply);
                    reply.ticket.answer(reply.body);
                }
                Record::Rejection(rejection) => {
                    rejection.ticket().refuse(rejection.error.clone());
                }
                Record::Presence(change) => {
                    spent.receivers += change.sessions.len();
                    self.presence(&change, now);
                }
                Record::Nudge(nudge) => {
                    // A device that has connected anew is asked by what it confirms itself.
                    if let Some(peer) = self.hub.registry.numbered(nudge.session.number) {
                        let notify = pushed(push::Event::Notify(nudge.notify.clone()));
                        let shared = Shared::new(notify);
                        self.push(&peer, std::slice::from_ref(shared.frame(peer.format)), now);
                    }
                }
                Record::Delivery(delivery) => {
                    spent.receivers += delivery.to.len();
                    spent.bytes += size_of_event(&delivery.event);
                    if groups.add(&delivery).is_err() {
                        self.deliver(std::mem::take(&mut groups), now);
                        groups.add(&delivery).expect("an empty set of groups takes any delivery");
                    }
                }
                other => {
                    tracing::warn!(record = ?other.record_type(), "a gateway cannot deliver this type of record")
                }
            }
        }
        self.deliver(groups, now);
    }

    fn deliver(&mut self, groups: Groups, now: u64) {
        let hub = Arc::clone(&self.hub);
        for group in groups.groups {
            for user_id in &*group.to {
                hub.registry.each_of(user_id, |peer| {
                    let mut frames = std::mem::take(&mut self.frames);
                    let others =
                        group.events.iter().filter(|(_, except)| *except != peer.session.number);
                    frames.extend(others.map(|(event, _)| event.frame(peer.format).clone()));
                    self.push(peer, &frames, now);
                    frames.clear();
                    self.frames = frames;
                });
            }
        }
    }

    fn presence(&mut self, change: &PresenceChange, now: u64) {
        let notice = PresenceNotice { user_id: change.user_id.to_string(), online: change.online };
        let shared = Shared::new(pushed(push::Event::Presence(notice)));
        for number in &*change.sessions {
            if let Some(peer) = self.hub.registry.numbered(*number) {
                self.push(&peer, std::slice::from_ref(shared.frame(peer.format)), now);
            }
        }
    }

    fn push(&mut self, peer: &Arc<Peer>, frames: &[Bytes], now: u64) {
        if !frames.is_empty() && peer.outbox.push(frames.iter(), now) {
            if self.waiting.is_empty() {
                self.window_ends =
                    Instant::now() + Duration::from_millis(self.hub.limits.push_window_ms);
            }
            self.waiting.push(Arc::clone(peer));
        }
    }
}

/// What a round has done so far.
#[derive(Default)]
struct Spent {
    records: usize,
    receivers: usize,
    bytes: usize,
}

impl Spent {
    fn is_all(&self) -> bool {
        self.records >= ROUND_RECORDS
            || self.receivers >= ROUND_RECEIVERS
            || self.bytes >= ROUND_BYTES
    }
}

/// Deliveries by receivers.
#[derive(Default)]
struct Groups {
    groups: Vec<Group>,
    /// The group of each conversation, by the hash of its id: a collision only ends a group early.
    of_conversation: RapidHashMap<u64, usize>,
}

/// Events for the same receivers, each with the session that is left out.
struct Group {
    to: Arc<[Arc<str>]>,
    events: Vec<(Shared, u64)>,
}

/// The conversation has other receivers than before: what is grouped must be delivered first.
#[derive(Debug)]
struct ReceiversChanged;

impl Groups {
    fn add(&mut self, delivery: &Delivery) -> Result<(), ReceiversChanged> {
        let conversation = rapidhash::v3::rapidhash_v3(conversation_of(&delivery.event).as_bytes());
        let index = match self.of_conversation.get(&conversation) {
            Some(index) if Arc::ptr_eq(&self.groups[*index].to, &delivery.to) => *index,
            Some(_) => return Err(ReceiversChanged),
            None => {
                self.groups.push(Group { to: Arc::clone(&delivery.to), events: Vec::new() });
                self.of_conversation.insert(conversation, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        self.groups[index]
            .events
            .push((Shared::new(envelope_of(&delivery.event)), delivery.except));
        Ok(())
    }
}

fn conversation_of(event: &Event) -> &str {
    match event {
        Event::Message(entry) => &entry.message.conversation_id,
        Event::ConversationChanged(changed) => &changed.conversation_id,
        Event::Receipt(receipt) => &receipt.conversation_id,
        Event::Recalled(recalled) => &recalled.conversation_id,
        Event::Status(status) => &status.conversation_id,
    }
}

fn envelope_of(event: &Event) -> Envelope {
    pushed(match event {
        Event::Message(entry) => push::Event::Message(entry.message.clone()),
        Event::ConversationChanged(changed) => {
            push::Event::ConversationChanged((**changed).clone())
        }
        Event::Receipt(receipt) => push::Event::Receipt((**receipt).clone()),
        Event::Recalled(recalled) => push::Event::Recalled((**recalled).clone()),
        Event::Status(status) => push::Event::Status((**status).clone()),
    })
}

fn pushed(event: push::Event) -> Envelope {
    Envelope { id: 0, body: Some(Body::Push(Push { event: Some(event) })) }
}

fn size_of_event(event: &Event) -> usize {
    match event {
        Event::Message(entry) => 128 + entry.message.text.len() + entry.message.payload.len(),
        Event::ConversationChanged(_)
        | Event::Receipt(_)
        | Event::Recalled(_)
        | Event::Status(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::{entry, hub_with, pushed_seqs};

    fn deliver(seq: u64, to: &Arc<[Arc<str>]>, except: u64) -> Record {
        Record::Delivery(Arc::new(Delivery {
            event: Event::Message(entry("c1", seq)),
            to: Arc::clone(to),
            except,
        }))
    }

    fn users(names: &[&str]) -> Arc<[Arc<str>]> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[tokio::test]
    async fn a_change_of_receivers_keeps_the_order_of_a_conversation() {
        let (hub, peers) = hub_with(&[("alice", "phone"), ("bob", "phone")]);
        let (both, alone) = (users(&["alice", "bob"]), users(&["bob"]));
        let records = vec![
            deliver(1, &both, 0),
            deliver(2, &alone, 0),
            deliver(3, &both, 0),
            deliver(4, &both, 0),
        ];
        Dispatcher::new(hub).deliver_all(records);
        assert_eq!(pushed_seqs(&peers[0]), [1, 3, 4]);
        assert_eq!(pushed_seqs(&peers[1]), [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn the_senders_other_devices_get_what_it_sent() {
        let (hub, peers) = hub_with(&[("alice", "phone"), ("alice", "pad")]);
        let to = users(&["alice"]);
        Dispatcher::new(hub)
            .deliver_all(vec![deliver(1, &to, peers[0].session.number), deliver(2, &to, 0)]);
        assert_eq!(pushed_seqs(&peers[0]), [2]);
        assert_eq!(pushed_seqs(&peers[1]), [1, 2]);
    }

    #[tokio::test]
    async fn a_long_backlog_is_taken_in_rounds() {
        let (hub, peers) = hub_with(&[("alice", "phone")]);
        let to = users(&["alice"]);
        Dispatcher::new(hub).deliver_all((1..=1_000).map(|seq| deliver(seq, &to, 0)).collect());
        assert_eq!(pushed_seqs(&peers[0]), (1..=1_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn presence_goes_to_the_sessions_that_are_named() {
        let (hub, peers) = hub_with(&[("alice", "phone"), ("bob", "phone")]);
        let sessions = Arc::from([peers[1].session.number, 999]);
        let change = PresenceChange { user_id: "carol".into(), online: true, sessions };
        Dispatcher::new(hub).deliver_all(vec![Record::Presence(Arc::new(change))]);
        let mut out = Vec::new();
        peers[0].outbox.take(&mut out);
        assert!(out.is_empty());
        peers[1].outbox.take(&mut out);
        assert!(
            String::from_utf8_lossy(&out)
                .contains(r#"{"push":{"presence":{"userId":"carol","online":true}}}"#)
        );
    }
}
