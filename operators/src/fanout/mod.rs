//! Says who gets what: each durable message and each notice, with the online members as one shared list.
//!
//! A message to 10,000 members is one record here; it is expanded where the connections are. Nothing leaves
//! for a conversation of which nobody is online. Facts tell who was added or removed, grants who is reached;
//! the grants of a fact may come before or after it inside an epoch, so they count from the next epoch
//! on: a notice is always made from the membership before its fact.

mod notices;
mod receipts;
mod rooms;

use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Out, Port,
    StartError, State, Time,
};
use imflow_proto::record::{Delivery, Entry, Event, FanoutStats, GrantChange};
use imflow_proto::wire::MessageType;
use imflow_proto::{Record, RecordType};

use rooms::Rooms;

/// `messages: Committed`, `facts: Fact`, `grants: Grant`, `online: Online`, `moved: Moved` →
/// `deliveries: Delivery`, `stats: FanoutStats`
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
          at most `receipts` members, else for the devices of the user whose cursor it is.",
    key: Key::Conversation,
    state: State::Log,
    inputs: &[
        Port::of("messages", &[RecordType::Committed], "durable messages"),
        Port::of("facts", &[RecordType::Fact], "durable facts, for notices").optional(),
        Port::of("grants", &[RecordType::Grant], "effective grants, as they change"),
        Port::of("online", &[RecordType::Online], "users that came online or went offline"),
        Port::of("moved", &[RecordType::Moved], "durable moves of cursors, for receipts")
            .optional(),
    ],
    outputs: &[
        Port::of("deliveries", &[RecordType::Delivery], "events and the users that get them"),
        Port::of(
            "stats",
            &[RecordType::FanoutStats],
            "one record a message: recipients, bytes, and the time since it was ordered",
        ),
    ],
    options: &[Opt::new(
        "receipts",
        OptType::Integer(0, 10_000),
        "100",
        "members up to which receipts go to all of them",
    )],
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
    ],
    example: "[operators.fanout]\n\
              kind = \"fanout\"\n\
              inputs = { messages = [\"store.committed\"], facts = [\"store.facts\"], grants = [\"grants\"], online = [\"routes\"], moved = [\"store.moved\"] }\n",
    ..Description::EMPTY
};

const GRANTS: usize = 2;
const DELIVERIES: usize = 0;
const STATS: usize = 1;

#[derive(Default)]
pub(crate) struct Fanout {
    rooms: Rooms,
    /// Grants whose epoch may still bring their fact.
    arriving: Vec<(Time, Arc<GrantChange>)>,
    /// Members up to which receipts go to all of them.
    receipts: usize,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let receipts = context.options.integer("receipts") as usize;
    Ok(Box::new(Fanout { receipts, ..Fanout::default() }))
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
                record => crate::misrouted("fanout", &record),
            }
        }
    }
}

impl Fanout {
    /// Lets the grants of earlier epochs count, in their order.
    fn settle(&mut self, now: Time) {
        if self.arriving.first().is_some_and(|(time, _)| *time < now) {
            for (_, change) in self.arriving.extract_if(.., |(time, _)| *time < now) {
                self.rooms.apply(&change);
            }
        }
    }

    fn message(&mut self, now: Time, committed: Arc<Entry>, out: &mut Out) {
        let message = &committed.message;
        let Some((room, to)) = self.rooms.audience(committed.keys.conversation) else { return };
        let stats = FanoutStats {
            conversation_type: room.kind,
            recipients: to.len() as u32,
            bytes: (message.text.len() + message.payload.len()) as u32,
            cost_ms: (now.ms() as i64 - message.created_at).clamp(0, i64::from(u32::MAX)) as u32,
        };
        out.send(STATS, Record::FanoutStats(stats));
        let is_revoke = message.r#type() == MessageType::Revoke;
        let recalled = is_revoke.then(|| notices::of_revoke(&self.rooms, message)).flatten();
        if !to.is_empty() {
            let except = committed.session.as_ref().map_or(0, |session| session.number);
            let delivery = Delivery { event: Event::Message(committed), to, except };
            out.send(DELIVERIES, Record::Delivery(Arc::new(delivery)));
        }
        out.port(DELIVERIES).extend(recalled.map(|notice| Record::Delivery(Arc::new(notice))));
    }
}

#[cfg(test)]
mod tests;
