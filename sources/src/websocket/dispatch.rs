//! Brings what the dataflow delivers to the outboxes of this node.
//!
//! One task drains the hub's queue in rounds. A round answers tickets, encodes each event once per
//! format, and puts all events of a conversation into an outbox under one lock; each connection is
//! woken once a round. Between rounds it waits for connections that were woken to take what they got.
//!
//! Invariant: the events of a conversation reach an outbox in the order of the queue.

use std::sync::Arc;

use imflow_kind::Injector;
use imflow_proto::Record;
use imflow_proto::record::{Band, Delivery, Event, FanoutCost, Nudge, PresenceChange};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, PresenceNotice, Push, push};
use rapidhash::RapidHashMap;
use tokio::time::{Duration, Instant, sleep_until};

use super::bands::hash_of;
use super::commands::port;
use super::cork::corked;
use super::frames::Shared;
use super::hub::Hub;
use super::outbox::{Pushed, What};
use super::peer::Peer;
use super::queue::{NodeGap, Round, RoundSize, Waiting, Waits};

const ROUND: RoundSize = RoundSize { records: 256, receivers: 16_384, bytes: 128 * 1024 };
/// Connections woken at a time when a window ends.
const WAKES: usize = 512;
/// Fan-outs to fewer say nothing about what large ones take.
const TELLING_RECIPIENTS: usize = 100;

/// The dispatcher's own state.
pub(super) struct Dispatcher {
    hub: Arc<Hub>,
    /// Who is told how long fan-outs took.
    told: Option<Arc<dyn Injector>>,
    start: Instant,
    /// Whose pushes wait for the end of the window.
    waiting: Vec<Arc<Peer>>,
    window_ends: Instant,
}

impl Dispatcher {
    pub(super) fn new(hub: Arc<Hub>, told: Option<Arc<dyn Injector>>) -> Self {
        let now = Instant::now();
        Self { hub, told, start: now, waiting: Vec::new(), window_ends: now }
    }

    /// Runs for good.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.hub.delivered.notified() => {}
                () = sleep_until(self.window_ends), if !self.waiting.is_empty() => {}
            }
            while let Some(round) = self.hub.take(ROUND) {
                corked(|| self.round(round));
                self.end_window().await;
                self.hub.flow.room().await;
            }
            self.end_window().await;
        }
    }

    /// Delivers everything at once, without windows: for virtual time, in which nobody waits. Says whether
    /// that was anything.
    pub(super) fn deliver_all(&mut self) -> bool {
        let mut moved = false;
        while let Some(round) = self.hub.take(ROUND) {
            corked(|| self.round(round));
            moved = true;
        }
        moved
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

    fn round(&mut self, round: Round) {
        let now = self.now();
        round.answers.into_iter().for_each(answer);
        for record in &round.fleeting {
            self.fleeting(record, now);
        }
        let mut groups = Groups::default();
        for waiting in &round.waiting {
            match &waiting.what {
                Waits::Nudge(nudge) => self.nudge(nudge, now),
                Waits::Delivery(delivery) => {
                    if groups.add(delivery).is_err() {
                        self.deliver(std::mem::take(&mut groups), now);
                        groups.add(delivery).expect("an empty set of groups takes any delivery");
                    }
                }
            }
        }
        self.deliver(groups, now);
        for (conversation, gap) in &round.gaps {
            self.gap(*conversation, gap, now);
        }
        if let Some(oldest) = round.waiting.iter().map(|waiting| waiting.since).min() {
            self.hub.meters.fanout.delivered(round.waiting.len(), oldest.elapsed());
        }
        self.tell_costs(&round.waiting);
    }

    fn deliver(&mut self, groups: Groups, now: u64) {
        let hub = Arc::clone(&self.hub);
        for group in groups.groups {
            for user_id in &*group.to {
                hub.registry.each_of(user_id, |peer| {
                    let own = peer.session.number;
                    let events = group.events.iter().filter(|event| event.except != own);
                    let pushed = events.map(|event| Pushed {
                        frame: event.shared.frame(peer.format),
                        band: event.band,
                        conversation: group.conversation,
                        conversation_id: &group.conversation_id,
                        what: event.what,
                    });
                    let waits = peer.outbox.push(pushed, now);
                    self.wait_if(waits, peer);
                });
            }
        }
    }

    /// Tells those who would have got messages that they have to pull them.
    fn gap(&mut self, conversation: u64, gap: &NodeGap, now: u64) {
        let hub = Arc::clone(&self.hub);
        let frame = bytes::Bytes::new();
        for user_id in &*gap.to {
            hub.registry.each_of(user_id, |peer| {
                let pushed = Pushed {
                    frame: &frame,
                    band: Band::P0,
                    conversation,
                    conversation_id: &gap.conversation_id,
                    what: What::Notify(gap.up_to_seq),
                };
                let waits = peer.outbox.push(std::iter::once(pushed), now);
                self.wait_if(waits, peer);
            });
        }
    }

    /// A device that has connected anew is asked by what it confirms itself.
    fn nudge(&mut self, nudge: &Nudge, now: u64) {
        let Some(peer) = self.hub.registry.numbered(nudge.session.number) else { return };
        let shared = Shared::new(pushed(push::Event::Notify(nudge.notify.clone())));
        let conversation_id = &nudge.notify.conversation_id;
        let pushed = Pushed {
            frame: shared.frame(peer.format),
            band: Band::P0,
            conversation: hash_of(conversation_id),
            conversation_id,
            what: What::Notice,
        };
        let waits = peer.outbox.push(std::iter::once(pushed), now);
        self.wait_if(waits, &peer);
    }

    fn fleeting(&mut self, record: &Record, now: u64) {
        match record {
            Record::Presence(change) => self.presence(change, now),
            Record::Delivery(delivery) => {
                let hub = Arc::clone(&self.hub);
                let shared = Shared::new(envelope_of(&delivery.event));
                for user_id in &*delivery.to {
                    hub.registry.each_of(user_id, |peer| {
                        if peer.session.number != delivery.except {
                            let waits = peer.outbox.push_fleeting(shared.frame(peer.format), now);
                            self.wait_if(waits, peer);
                        }
                    });
                }
            }
            _ => {}
        }
    }

    fn presence(&mut self, change: &PresenceChange, now: u64) {
        let notice = PresenceNotice { user_id: change.user_id.to_string(), online: change.online };
        let shared = Shared::new(pushed(push::Event::Presence(notice)));
        for number in &*change.sessions {
            if let Some(peer) = self.hub.registry.numbered(*number) {
                let waits = peer.outbox.push_fleeting(shared.frame(peer.format), now);
                self.wait_if(waits, &peer);
            }
        }
    }

    fn wait_if(&mut self, waits: bool, peer: &Arc<Peer>) {
        if waits {
            if self.waiting.is_empty() {
                self.window_ends =
                    Instant::now() + Duration::from_millis(self.hub.limits.push_window_ms);
            }
            self.waiting.push(Arc::clone(peer));
        }
    }

    /// How long large fan-outs took, to those who decide how the next one goes.
    fn tell_costs(&self, round: &[Waiting]) {
        let Some(injector) = &self.told else { return };
        for waiting in round {
            let Waits::Delivery(delivery) = &waiting.what else { continue };
            let (Event::Message(entry), recipients) = (&delivery.event, delivery.to.len()) else {
                continue;
            };
            if recipients < TELLING_RECIPIENTS {
                continue;
            }
            let conversation_id = entry.message.conversation_id.as_str().into();
            let cost_ms = waiting.since.elapsed().as_millis().try_into().unwrap_or(u32::MAX);
            let cost = FanoutCost { conversation_id, recipients: recipients as u32, cost_ms };
            let worker = injector.worker_of(&cost.conversation_id);
            injector.send(worker, port::COSTS, vec![Record::FanoutCost(Arc::new(cost))]);
        }
    }
}

fn answer(record: Record) {
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
        other => {
            tracing::warn!(record = ?other.record_type(), "a gateway cannot deliver this type of record")
        }
    }
}

/// Deliveries by receivers.
#[derive(Default)]
struct Groups {
    groups: Vec<Group>,
    /// The group of each conversation.
    of_conversation: RapidHashMap<u64, usize>,
}

/// Events of one conversation for the same receivers.
struct Group {
    conversation: u64,
    conversation_id: String,
    to: Arc<[Arc<str>]>,
    events: Vec<Shareable>,
}

/// An event, and the session that is left out.
struct Shareable {
    shared: Shared,
    except: u64,
    band: Band,
    what: What,
}

/// The conversation has other receivers than before: what is grouped must be delivered first.
#[derive(Debug)]
struct ReceiversChanged;

impl Groups {
    fn add(&mut self, delivery: &Delivery) -> Result<(), ReceiversChanged> {
        let conversation_id = delivery.event.conversation_id();
        let conversation = hash_of(conversation_id);
        let index = match self.of_conversation.get(&conversation) {
            Some(index) if Arc::ptr_eq(&self.groups[*index].to, &delivery.to) => *index,
            Some(_) => return Err(ReceiversChanged),
            None => {
                self.groups.push(Group {
                    conversation,
                    conversation_id: conversation_id.to_owned(),
                    to: Arc::clone(&delivery.to),
                    events: Vec::new(),
                });
                self.of_conversation.insert(conversation, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        self.groups[index].events.push(Shareable {
            shared: Shared::new(envelope_of(&delivery.event)),
            except: delivery.except,
            band: delivery.band,
            what: what(&delivery.event),
        });
        Ok(())
    }
}

fn what(event: &Event) -> What {
    match event {
        Event::Message(entry) => What::Message(entry.message.seq),
        Event::Notify(notify) => What::Notify(notify.up_to_seq),
        _ => What::Notice,
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
        Event::Notify(notify) => push::Event::Notify((**notify).clone()),
        Event::Typing(typing) => push::Event::Typing((**typing).clone()),
    })
}

fn pushed(event: push::Event) -> Envelope {
    Envelope { id: 0, body: Some(Body::Push(Push { event: Some(event) })) }
}

#[cfg(test)]
mod tests {
    use imflow_kind::Outboxes as _;

    use super::*;
    use crate::websocket::testing::{entry, hub_with, pushed_seqs};

    fn deliver(seq: u64, to: &Arc<[Arc<str>]>, except: u64) -> Record {
        Record::Delivery(Arc::new(Delivery {
            event: Event::Message(entry("c1", seq)),
            to: Arc::clone(to),
            except,
            band: Band::P1,
        }))
    }

    fn deliver_all(hub: Arc<Hub>, records: Vec<Record>) {
        hub.deliver(records);
        Dispatcher::new(hub, None).deliver_all();
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
        deliver_all(hub, records);
        assert_eq!(pushed_seqs(&peers[0]), [1, 3, 4]);
        assert_eq!(pushed_seqs(&peers[1]), [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn the_senders_other_devices_get_what_it_sent() {
        let (hub, peers) = hub_with(&[("alice", "phone"), ("alice", "pad")]);
        let to = users(&["alice"]);
        deliver_all(hub, vec![deliver(1, &to, peers[0].session.number), deliver(2, &to, 0)]);
        assert_eq!(pushed_seqs(&peers[0]), [2]);
        assert_eq!(pushed_seqs(&peers[1]), [1, 2]);
    }

    #[tokio::test]
    async fn a_long_backlog_is_taken_in_rounds() {
        let (hub, peers) = hub_with(&[("alice", "phone")]);
        let to = users(&["alice"]);
        deliver_all(hub, (1..=1_000).map(|seq| deliver(seq, &to, 0)).collect());
        assert_eq!(pushed_seqs(&peers[0]), (1..=1_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn presence_goes_to_the_sessions_that_are_named() {
        let (hub, peers) = hub_with(&[("alice", "phone"), ("bob", "phone")]);
        let sessions = Arc::from([peers[1].session.number, 999]);
        let change = PresenceChange { user_id: "carol".into(), online: true, sessions };
        deliver_all(hub, vec![Record::Presence(Arc::new(change))]);
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
