//! Brings what the dataflow delivers to the outboxes of this node.
//!
//! One task drains the hub's queue in rounds. A round answers tickets, encodes each event once per
//! format, and puts all events of a conversation into an outbox under one lock; each connection is
//! woken once a round. Between rounds it waits for connections that were woken to take what they got.
//! What goes to many goes slice by slice, and what is urgent in between.
//!
//! Invariant: the events of a conversation reach an outbox in the order of the queue.

use std::sync::Arc;

use imflow_kind::Injector;
use imflow_proto::Record;
use imflow_proto::record::{Band, FanoutCost, Nudge, PresenceChange};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{PresenceNotice, push};
use tokio::time::{Duration, Instant, sleep_until};

use super::bands::hash_of;
use super::commands::port;
use super::cork::corked;
use super::expansion::Expansion;
use super::frames::Shared;
use super::groups::{Group, Groups, envelope_of, pushed};
use super::hub::Hub;
use super::outbox::{Pushed, What};
use super::peer::Peer;
use super::queue::{Round, RoundSize, Waits};

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
    expansion: Expansion,
}

impl Dispatcher {
    pub(super) fn new(hub: Arc<Hub>, told: Option<Arc<dyn Injector>>) -> Self {
        let now = Instant::now();
        let expansion = Expansion::default();
        Self { hub, told, start: now, waiting: Vec::new(), window_ends: now, expansion }
    }

    /// Runs for good.
    pub(super) async fn run(mut self) {
        loop {
            let slice_due = self.expansion.next_due();
            tokio::select! {
                () = self.hub.delivered.notified() => {}
                () = sleep_until(self.window_ends), if !self.waiting.is_empty() => {}
                () = sleep_until(slice_due.unwrap_or(self.start)), if slice_due.is_some() => {}
            }
            while self.turn(false) {
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
        while self.turn(true) {
            moved = true;
        }
        moved
    }

    /// A round and a slice, as far as there is one; `hasty`: before the slice is due. `false`: there was nothing.
    fn turn(&mut self, hasty: bool) -> bool {
        let round = self.hub.take(ROUND, self.expansion.lowest());
        let has_round = round.is_some();
        corked(|| {
            round.into_iter().for_each(|round| self.round(round));
            let now = Instant::now();
            let is_due = self.expansion.is_due(now) || (hasty && !self.expansion.is_empty());
            if is_due {
                self.slice(now);
            }
            has_round || is_due
        })
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
        round.answers.into_iter().for_each(|record| answer(&self.hub, record));
        for record in &round.fleeting {
            self.fleeting(record, now);
        }
        let mut groups = Groups::default();
        for waiting in &round.waiting {
            match &waiting.what {
                Waits::Nudge(nudge) => self.nudge(nudge, now),
                Waits::Delivery(delivery) => {
                    if groups.add(delivery, waiting.since).is_err() {
                        self.deliver(std::mem::take(&mut groups), now);
                        let added = groups.add(delivery, waiting.since);
                        added.expect("an empty set of groups takes any delivery");
                    }
                }
            }
        }
        self.deliver(groups, now);
        for (conversation, gap) in round.gaps {
            self.deliver_group(Group::of_gap(conversation, gap), now);
        }
        if let Some(oldest) = round.waiting.iter().map(|waiting| waiting.since).min() {
            self.hub.meters.fanout.delivered(round.waiting.len(), oldest.elapsed());
        }
    }

    fn deliver(&mut self, groups: Groups, now: u64) {
        for group in groups.into_groups() {
            self.deliver_group(group, now);
        }
    }

    fn deliver_group(&mut self, group: Group, now: u64) {
        if self.expansion.wants(&group) {
            return self.expansion.add(group);
        }
        self.reach(&group, 0..group.to.len(), now);
        self.tell_cost(&group);
    }

    /// Brings the next slice of a large group to its receivers.
    fn slice(&mut self, at: Instant) {
        let now = self.now();
        let mut expansion = std::mem::take(&mut self.expansion);
        let done = expansion.slice(at, |group, receivers| self.reach(group, receivers, now));
        self.expansion = expansion;
        if let Some(group) = done {
            self.tell_cost(&group);
        }
    }

    fn reach(&mut self, group: &Group, receivers: std::ops::Range<usize>, now: u64) {
        let hub = Arc::clone(&self.hub);
        for user_id in &group.to[receivers] {
            hub.registry.each_of(user_id, |peer| {
                let waits = peer.outbox.push(group.pushed_to(peer), now);
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
        let PresenceChange { user_id, online, last_active_at, .. } = change;
        let (user_id, online, last_active_at) = (user_id.to_string(), *online, *last_active_at);
        let mut notice = PresenceNotice { user_id, online, last_active_at };
        self.hub.date(&mut notice);
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

    /// How long a large fan-out took, to those who decide how the next one goes.
    fn tell_cost(&self, group: &Group) {
        let recipients = group.to.len();
        let Some(injector) = &self.told else { return };
        if recipients < TELLING_RECIPIENTS || group.only_tells() {
            return;
        }
        let conversation_id = group.conversation_id.as_str().into();
        let cost_ms = group.since.elapsed().as_millis().try_into().unwrap_or(u32::MAX);
        let cost = FanoutCost { conversation_id, recipients: recipients as u32, cost_ms };
        let worker = injector.worker_of(&cost.conversation_id);
        injector.send(worker, port::COSTS, vec![Record::FanoutCost(Arc::new(cost))]);
    }
}

fn answer(hub: &Hub, record: Record) {
    match record {
        Record::Committed(committed) => {
            if let Some(ticket) = &committed.ticket {
                ticket.answer(Body::Ack(committed.ack()));
            }
        }
        Record::Reply(reply) => {
            let mut reply = Arc::unwrap_or_clone(reply);
            if let Body::PresenceList(list) = &mut reply.body {
                list.items.iter_mut().for_each(|notice| hub.date(notice));
            }
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

#[cfg(test)]
mod tests {
    use imflow_kind::Outboxes as _;
    use imflow_proto::record::{Delivery, Event};

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
        let (user_id, last_active_at) = ("carol".into(), 5);
        let change = PresenceChange { user_id, online: true, last_active_at, sessions };
        deliver_all(hub, vec![Record::Presence(Arc::new(change))]);
        let mut out = Vec::new();
        peers[0].outbox.take(&mut out);
        assert!(out.is_empty());
        peers[1].outbox.take(&mut out);
        assert!(String::from_utf8_lossy(&out).contains(
            r#"{"push":{"presence":{"userId":"carol","online":true,"lastActiveAt":5}}}"#
        ));
    }

    #[tokio::test]
    async fn a_large_group_is_reached_in_slices_and_in_order_and_answers_come_between() {
        let devices: Vec<String> = (0..1_000).map(|user| format!("u{user}")).collect();
        let devices: Vec<_> = devices.iter().map(|user| (&**user, "phone")).collect();
        let (hub, peers) = hub_with(&devices);
        let everybody = users(&devices.iter().map(|(user, _)| *user).collect::<Vec<_>>());
        let first = users(&["u0"]);
        hub.deliver(vec![deliver(1, &everybody, 0), deliver(2, &first, 0)]);
        let mut dispatcher = Dispatcher::new(Arc::clone(&hub), None);
        assert!(dispatcher.turn(true));
        assert_eq!(pushed_seqs(&peers[0]), [1]);
        assert!(pushed_seqs(&peers[999]).is_empty(), "its slice comes later");
        hub.deliver(vec![deliver(3, &everybody, 0)]);
        while dispatcher.turn(true) {}
        assert_eq!(pushed_seqs(&peers[0]), [2, 3], "behind what was on its way");
        assert_eq!(pushed_seqs(&peers[999]), [1, 3]);
    }

    #[tokio::test]
    async fn slices_go_on_by_themselves_and_those_of_notices_take_their_time() {
        let devices: Vec<String> = (0..1_000).map(|user| format!("u{user}")).collect();
        let devices: Vec<_> = devices.iter().map(|user| (&**user, "phone")).collect();
        let (hub, peers) = hub_with(&devices);
        let to = users(&devices.iter().map(|(user, _)| *user).collect::<Vec<_>>());
        tokio::time::pause();
        tokio::spawn(Dispatcher::new(Arc::clone(&hub), None).run());
        hub.deliver(vec![deliver(1, &to, 0)]);
        let all_have = |seqs: &[u64]| peers.iter().all(|peer| pushed_seqs(peer) == seqs);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(all_have(&[1]));
        let notify = imflow_proto::wire::Notify { conversation_id: "c1".into(), up_to_seq: 2 };
        let event = Event::Notify(Arc::new(notify));
        let told = Delivery { event, to, except: 0, band: Band::P2 };
        hub.deliver(vec![Record::Delivery(Arc::new(told))]);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let waiting = || peers.iter().filter(|peer| peer.outbox.load().pushes > 0).count();
        assert_eq!(waiting(), 256);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(waiting(), 1_000);
    }
}
