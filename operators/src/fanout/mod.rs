//! Says who gets what: each durable message and each notice, with the online members as one shared list.
//!
//! A message to 10,000 members is one record here; it is expanded where the connections are. Where pushing it
//! would cost too much, its members are told to pull it instead, once for many messages. Nothing leaves
//! for a conversation of which nobody is online. Facts tell who was added or removed, grants who is reached;
//! the grants of a fact may come before or after it inside an epoch, so they count from the next epoch
//! on: a notice is always made from the membership before its fact.

mod merged;
mod notices;
mod pace;
mod receipts;
mod rooms;

use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Options, Out, Port,
    StartError, State, Time,
};
use imflow_proto::record::{
    Absent, Band, Delivery, Entry, Event, FanoutStats, GrantChange, Typing,
};
use imflow_proto::wire::{MessageType, Notify, TypingNotice};
use imflow_proto::{Fingerprint, Record, RecordType};

use merged::{Merged, Notice};
use pace::Pace;
use rooms::{Recipients, Rooms};

/// `messages: Committed`, `facts: Fact`, `grants: Grant`, `online: Online`, `moved: Moved`, `typing: Typing`,
/// `costs: FanoutCost` → `deliveries: Delivery`, `stats: FanoutStats`, `absent: Absent`
///
/// Errors: none. Source: SPEC M10.
pub const DESCRIPTION: Description = Description {
    name: "fanout",
    family: Family::Operator,
    summary: "says which online members get a message or a notice",
    doc: "Pairs each durable message with the online members of its conversation, except the session that sent it; \
          the banned are left out. Whose message somebody else has revoked is told so, as a member or not. Changes of \
          conversations are told to their members, in conversations of more than \
          1,000 members only to those affected. Moves of cursors become receipts: for all online members where there are \
          at most `receipts` members, else for the devices of the user whose cursor it is.\n\n\
          A message is pushed as it is while at most `direct_up_to` members are online, the last fan-out of its conversation took at \
          most `direct_cost` and it has at most `direct_bytes`; else the members get a `notify` and pull it, one notice for all \
          that is said within `notify_every`. With `costs` the first bound follows what fan-outs take, down to a tenth. \
          `PUT /v1/conversations/{id}/fanout` pins a conversation to either way. Who types is told to the members of \
          conversations of up to 1,000 members.",
    key: Key::Conversation,
    state: State::Log,
    inputs: &[
        Port::of("messages", &[RecordType::Committed], "durable messages"),
        Port::of("facts", &[RecordType::Fact], "durable facts, for notices").optional(),
        Port::of("grants", &[RecordType::Grant], "effective grants, as they change"),
        Port::of("online", &[RecordType::Online], "users that came online or went offline"),
        Port::of("moved", &[RecordType::Moved], "durable moves of cursors, for receipts")
            .optional(),
        Port::of("typing", &[RecordType::Typing], "who writes something").optional(),
        Port::of("costs", &[RecordType::FanoutCost], "how long fan-outs took").optional(),
    ],
    outputs: &[
        Port::of("deliveries", &[RecordType::Delivery], "events and the users that get them"),
        Port::of(
            "stats",
            &[RecordType::FanoutStats],
            "one record a message: recipients, whether it is pushed to them, bytes, and the time since it was ordered",
        ),
        Port::of(
            "absent",
            &[RecordType::Absent],
            "messages (not what acts on one) with the members who have no live device, for `webhook`",
        ),
    ],
    options: &[
        Opt::new(
            "receipts",
            OptType::Integer(0, 10_000),
            "100",
            "members up to which receipts go to all of them",
        ),
        Opt::new(
            "direct_up_to",
            OptType::Integer(0, 10_000_000),
            "1000",
            "online members up to which messages are pushed; with more they are told of, and pulled",
        ),
        Opt::new(
            "direct_bytes",
            OptType::Size(0, 16 << 20),
            "10KiB",
            "longer messages are told of, and pulled",
        ),
        Opt::new(
            "direct_cost",
            OptType::Duration(1, 600_000),
            "200ms",
            "after a fan-out that took longer, messages of its conversation are told of for 10 s",
        ),
        Opt::new(
            "notify_every",
            OptType::Duration(0, 600_000),
            "1s",
            "messages of a conversation within this time are told of at once",
        ),
        Opt::new(
            "absent_up_to",
            OptType::Integer(0, 1_000_000),
            "1000",
            "members up to which `absent` tells of those who have no live device",
        ),
    ],
    provides: &[],
    limits: &[
        Limit {
            what: "members and lists",
            bound: "grants, users online",
            policy: "one shared list a conversation",
        },
        Limit {
            what: "those who get a receipt",
            bound: "`receipts`",
            policy: "only the user's own devices; others ask with `cursors`",
        },
        Limit {
            what: "conversations with merged notices",
            bound: "those told of within `notify_every`",
            policy: "one notice each, with the last seq",
        },
    ],
    example: "[operators.fanout]\n\
              kind = \"fanout\"\n\
              inputs = { messages = [\"store.committed\"], facts = [\"store.facts\"], grants = [\"grants\"], online = [\"routes\"], moved = [\"store.moved\"], typing = [\"clients.typing\"], costs = [\"clients.costs\"] }\n",
    ..Description::EMPTY
};

const GRANTS: usize = 2;
const DELIVERIES: usize = 0;
const STATS: usize = 1;
const ABSENT: usize = 2;

pub(crate) struct Fanout {
    rooms: Rooms,
    /// Grants whose epoch may still bring their fact.
    arriving: Vec<(Time, Arc<GrantChange>)>,
    /// Members up to which receipts go to all of them.
    receipts: usize,
    pace: Pace,
    merged: Merged,
    /// Members up to which the absent ones are told of; 0: nobody asks for them.
    absent_up_to: usize,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let mut fanout = Fanout::new(context.options);
    if !context.taken[ABSENT] {
        fanout.absent_up_to = 0;
    }
    Ok(Box::new(fanout))
}

impl Operator for Fanout {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        self.settle(now);
        for record in &*records {
            if let Record::Committed(committed) = record {
                self.rooms.warm(committed.keys.conversation);
            }
        }
        for record in records.drain(..) {
            match record {
                Record::Committed(committed) => self.message(now, committed, out),
                Record::Fact(committed) => {
                    let deliver =
                        |delivery| out.send(DELIVERIES, Record::Delivery(Arc::new(delivery)));
                    notices::of_fact(&mut self.rooms, &committed.fact, deliver);
                }
                Record::Moved(moved) => {
                    let deliver =
                        |delivery| out.send(DELIVERIES, Record::Delivery(Arc::new(delivery)));
                    receipts::of_moves(&mut self.rooms, &moved.moves, self.receipts, deliver);
                }
                Record::Grant(change) if port == GRANTS => self.arriving.push((now, change)),
                Record::Online(change) => self.rooms.set_online(&change.user_id, change.online),
                Record::Typing(typing) => self.typing(&typing, out),
                Record::FanoutCost(cost) => self.pace.learn(now, &cost),
                record => crate::misrouted("fanout", &record),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.merged.next_deadline()
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        self.settle(now);
        let rooms = &mut self.rooms;
        self.merged.on_time(now, |conversation, notice| {
            let to = rooms.audience(conversation).map(|(_, to)| to).filter(|to| !to.is_empty());
            out.port(DELIVERIES).extend(to.map(|to| notify(notice, &to)));
        });
    }
}

impl Fanout {
    fn new(options: &Options) -> Self {
        Self {
            rooms: Rooms::default(),
            arriving: Vec::new(),
            receipts: options.integer("receipts") as usize,
            pace: Pace::from_options(options),
            merged: Merged::new(options.duration("notify_every").as_millis() as u64),
            absent_up_to: options.integer("absent_up_to") as usize,
        }
    }

    /// Lets the grants of earlier epochs count, in their order.
    fn settle(&mut self, now: Time) {
        if self.arriving.first().is_some_and(|(time, _)| *time < now) {
            for (_, change) in self.arriving.extract_if(.., |(time, _)| *time < now) {
                self.rooms.apply(&change);
            }
        }
    }

    fn message(&mut self, now: Time, committed: Arc<Entry>, out: &mut Out) {
        let (message, conversation) = (&committed.message, committed.keys.conversation);
        let Some((room, to)) = self.rooms.audience(conversation) else { return };
        let bytes = message.text.len() + message.payload.len();
        let direct = self.pace.is_direct(now, room.mode, conversation, to.len(), bytes);
        let stats = FanoutStats {
            conversation_type: room.kind,
            direct,
            recipients: to.len() as u32,
            bytes: bytes as u32,
            cost_ms: (now.ms() as i64 - message.created_at).clamp(0, i64::from(u32::MAX)) as u32,
        };
        let band = band(room.is_large(), message.r#type());
        out.send(STATS, Record::FanoutStats(stats));
        if self.absent_up_to > 0 && message.action.is_none() {
            let users = self.rooms.absent(conversation, &message.sender_id, self.absent_up_to);
            if !users.is_empty() {
                let absent = Absent { entry: Arc::clone(&committed), users };
                out.send(ABSENT, Record::Absent(Arc::new(absent)));
            }
        }
        let is_revoke = message.r#type() == MessageType::Revoke;
        let recalled = is_revoke.then(|| notices::of_revoke(&self.rooms, message)).flatten();
        if !to.is_empty() {
            let except = committed.session.as_ref().map_or(0, |session| session.number);
            if direct {
                // What is still to be told of comes before.
                let earlier = self.merged.take(conversation);
                out.port(DELIVERIES).extend(earlier.map(|earlier| notify(earlier, &to)));
                let delivery = Delivery { event: Event::Message(committed), to, except, band };
                out.send(DELIVERIES, Record::Delivery(Arc::new(delivery)));
            } else {
                let conversation_id = message.conversation_id.clone();
                let notice = Notice { conversation_id, up_to_seq: message.seq, except };
                let due = self.merged.add(now, conversation, notice);
                out.port(DELIVERIES).extend(due.map(|due| notify(due, &to)));
            }
        }
        out.port(DELIVERIES).extend(recalled.map(|notice| Record::Delivery(Arc::new(notice))));
    }

    fn typing(&mut self, typing: &Typing, out: &mut Out) {
        let (id, user) = (&typing.conversation_id, &typing.session.user_id);
        if !self.rooms.is_member(id, user) || self.rooms.is_large(id) {
            return;
        }
        let Some((_, to)) = self.rooms.audience(Fingerprint::of(id)) else { return };
        let notice = TypingNotice { conversation_id: id.clone(), user_id: user.to_string() };
        let event = Event::Typing(Arc::new(notice));
        let delivery = Delivery { event, to, except: typing.session.number, band: Band::P3 };
        out.send(DELIVERIES, Record::Delivery(Arc::new(delivery)));
    }
}

fn notify(notice: Notice, to: &Recipients) -> Record {
    let Notice { conversation_id, up_to_seq, except } = notice;
    let event = Event::Notify(Arc::new(Notify { conversation_id, up_to_seq }));
    // As urgent as what it stands for: many have to be told.
    Record::Delivery(Arc::new(Delivery { event, to: Arc::clone(to), except, band: Band::P2 }))
}

/// Source: SPEC G8.
fn band(is_large: bool, kind: MessageType) -> Band {
    let is_media = matches!(
        kind,
        MessageType::Image | MessageType::Audio | MessageType::Video | MessageType::File
    );
    match (is_large, is_media) {
        (false, _) => Band::P1,
        (true, false) => Band::P2,
        (true, true) => Band::P3,
    }
}

#[cfg(test)]
mod tests;
