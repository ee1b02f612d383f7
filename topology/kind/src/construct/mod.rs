//! Records from fields by name, as tests write them.
//!
//! Names are those of [`crate::fields`], as far as a record can be made from them. A field that is left
//! out has a default that makes the record a plain one: `alice` on her `phone` in the group `lobby`. A
//! record that was made up answers nobody: its ticket is nobody's.

mod fields;
mod parts;

use std::sync::Arc;

use imflow_proto::record::{
    Ask, Change, CommittedFact, Entry, FieldType, Found, Moved, Nudge, OnlineChange,
    PresenceChange, Query, Scalar, SessionEvent, Submission, Subscription,
};
use imflow_proto::wire::{Done, ListConversations, Message, Notify, envelope::Body};
use imflow_proto::{Record, RecordType, Requester, Ticket};

use self::fields::Fields;
use crate::Shape;

/// Why a field cannot stand in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The record type has no such field that can be set; it has these.
    Unknown(Vec<String>),
    /// The field is of this type.
    Type(FieldType),
    /// The field takes other values, as the sentence says.
    Value(String),
}

/// When and as which record of its test a record is made: what the defaults depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Making {
    pub now_ms: u64,
    /// From 1.
    pub number: u64,
}

/// Makes a record of `shape`.
///
/// # Errors
/// Each field that does not fit, with the reason.
pub fn construct(
    shape: &Shape,
    given: &[(String, Scalar)],
    making: Making,
) -> Result<Record, Vec<(String, Unfit)>> {
    let mut fields = Fields { given, making, known: Vec::new(), unfit: Vec::new() };
    let record = match shape {
        Shape::Native(record) => fields.native(*record),
        Shape::Row(schema) => fields.row(schema),
    };
    fields.refuse_unknown();
    if fields.unfit.is_empty() { Ok(record) } else { Err(fields.unfit) }
}

/// Answers nobody.
struct Nobody;

impl Requester for Nobody {
    fn answer(&self, _id: u64, _body: Body) {}
}

impl Fields<'_> {
    fn native(&mut self, record: RecordType) -> Record {
        match record {
            RecordType::Submission => Record::Submission(self.submission()),
            RecordType::Lookup => Record::Lookup(self.submission()),
            RecordType::Found => self.found(),
            RecordType::Reference => Record::Reference(self.submission()),
            RecordType::Referent => Record::Referent(Arc::new(self.referent())),
            RecordType::Ordered => {
                Record::Ordered(Arc::new(Entry { ticket: Some(ticket(0)), ..self.entry() }))
            }
            RecordType::Committed => {
                let lsn = self.int("lsn", self.making.number as i64) as u64;
                Record::Committed(Arc::new(Entry { lsn, ..self.entry() }))
            }
            RecordType::Rejection => Record::Rejection(Arc::new(self.rejection())),
            RecordType::Reply => Record::Reply(Arc::new(self.reply())),
            RecordType::Command => Record::Command(Arc::new(self.command())),
            RecordType::Change => self.change(),
            RecordType::Fact => self.committed_fact(),
            RecordType::Grant => Record::Grant(Arc::new(self.grant())),
            RecordType::SessionEvent => self.session_event(),
            RecordType::Online => self.online(),
            RecordType::Subscription => self.subscription(),
            RecordType::Presence => self.presence(),
            RecordType::Query => self.query(),
            RecordType::Delivery => Record::Delivery(Arc::new(self.delivery())),
            RecordType::Mark => Record::Mark(Arc::new(self.mark())),
            RecordType::Moves => Record::Moves(Arc::new(self.moves())),
            RecordType::Moved => self.moved(),
            RecordType::Nudge => self.nudge(),
            RecordType::Typing => Record::Typing(Arc::new(self.typing())),
            RecordType::Absent => Record::Absent(Arc::new(self.absent())),
            RecordType::FanoutStats => Record::FanoutStats(self.fanout_stats()),
            RecordType::FanoutCost => Record::FanoutCost(Arc::new(self.fanout_cost())),
            RecordType::Row | RecordType::Partial => self.row(&Arc::default()),
        }
    }

    fn found(&mut self) -> Record {
        let known = self.bool("known", false);
        let submission = self.submission();
        let original = known.then(|| Arc::new(message_of(&submission)));
        Record::Found(Arc::new(Found { submission, original: Ok(original) }))
    }

    fn change(&mut self) -> Record {
        let (fact, answer) = (Arc::new(self.fact()), Body::Done(Done {}));
        Record::Change(Arc::new(Change { ticket: ticket(0), fact, answer }))
    }

    fn committed_fact(&mut self) -> Record {
        let lsn = self.int("lsn", self.making.number as i64) as u64;
        Record::Fact(Arc::new(CommittedFact { lsn, fact: Arc::new(self.fact()) }))
    }

    fn session_event(&mut self) -> Record {
        let (online, at) = (self.bool("online", true), self.now("at"));
        let since = self.int("since", at);
        let node_id = self.string("nodeId", "node-1").into();
        let session = self.session("userId");
        let mut event = match online {
            true => SessionEvent::began(session, node_id, since),
            false => SessionEvent::ended(session, node_id, since, at),
        };
        event.at = at;
        Record::SessionEvent(Arc::new(event))
    }

    fn online(&mut self) -> Record {
        let user_id = self.string("userId", "alice").into();
        let (online, last_active_at) = (self.bool("online", true), self.int("lastActiveAt", 0));
        Record::Online(OnlineChange { user_id, online, last_active_at })
    }

    fn subscription(&mut self) -> Record {
        let user_ids = self.strings("userIds", &["bob"]);
        let conversation_ids = self.strings("conversationIds", &[]);
        let (ticket, session) = (Some(ticket(0)), self.session("userId"));
        let subscription = Subscription { ticket, session, user_ids, conversation_ids };
        Record::Subscription(Arc::new(subscription))
    }

    fn presence(&mut self) -> Record {
        let user_id = self.string("userId", "alice").into();
        let (online, sessions) = (self.bool("online", true), Arc::from([]));
        let last_active_at = self.int("lastActiveAt", 0);
        let change = PresenceChange { user_id, online, last_active_at, sessions };
        Record::Presence(Arc::new(change))
    }

    fn query(&mut self) -> Record {
        let (ticket, session) = (ticket(0), self.session("userId"));
        let ask = Ask::Conversations(ListConversations::default());
        Record::Query(Arc::new(Query { ticket, session, ask }))
    }

    fn moved(&mut self) -> Record {
        let lsn = self.int("lsn", self.making.number as i64) as u64;
        Record::Moved(Arc::new(Moved { lsn, moves: Arc::new(self.moves()) }))
    }

    fn nudge(&mut self) -> Record {
        let conversation_id = self.string("conversationId", "lobby");
        let notify = Notify { conversation_id, up_to_seq: self.int("upToSeq", 1).max(0) as u64 };
        Record::Nudge(Arc::new(Nudge { session: self.session("userId"), notify }))
    }
}

fn ticket(id: u64) -> Ticket {
    Ticket::new(id, Arc::new(Nobody), None)
}

fn message_of(submission: &Submission) -> Message {
    let send = &submission.send;
    Message {
        conversation_id: send.conversation_id.clone(),
        client_msg_id: send.client_msg_id.clone(),
        sender_id: submission.session.user_id.to_string(),
        r#type: send.r#type,
        text: send.text.clone(),
        seq: 1,
        ..Message::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RECORD_TYPES;
    use crate::fields::fields_of;

    fn make(
        record: RecordType,
        given: &[(String, Scalar)],
    ) -> Result<Record, Vec<(String, Unfit)>> {
        construct(&Shape::Native(record), given, Making { now_ms: 1_000, number: 1 })
    }

    /// A value other than any default, where the field is not a name that stands for something.
    fn sample(kind: FieldType) -> Scalar {
        match kind {
            FieldType::Bool => Scalar::Bool(true),
            FieldType::Int => Scalar::Int(77),
            FieldType::Double => Scalar::Double(7.5),
            FieldType::String => Scalar::String("other".into()),
            FieldType::Strings => Scalar::Strings(Arc::from([Arc::from("other")])),
        }
    }

    #[test]
    fn what_is_written_under_a_name_is_read_under_it() {
        // Rows have the fields of their schema.
        for record in RECORD_TYPES.into_iter().filter(|record| *record != RecordType::Row) {
            assert_eq!(make(record, &[]).expect("defaults").record_type(), record);
            for (name, slot) in fields_of(record) {
                let value = sample(slot.field_type());
                match make(record, &[((*name).to_owned(), value.clone())]) {
                    Ok(made) => assert_eq!(slot.value(&made), value, "{record:?}.{name}"),
                    Err(unfit) => assert!(
                        matches!(&unfit[..], [(_, Unfit::Unknown(_) | Unfit::Value(_))]),
                        "{record:?}.{name}: {unfit:?}"
                    ),
                }
            }
        }
    }

    #[test]
    fn every_field_that_does_not_fit_is_named() {
        let text = |text: &str| Scalar::String(text.into());
        let given = [
            ("senderId".to_owned(), Scalar::Int(1)),
            ("colour".to_owned(), text("red")),
            ("type".to_owned(), text("SONG")),
        ];
        let mut unfit = make(RecordType::Submission, &given).expect_err("three mistakes");
        unfit.sort_by(|a, b| a.0.cmp(&b.0));
        assert!(
            matches!(&unfit[0], (name, Unfit::Unknown(known)) if name == "colour" && known.contains(&"text".to_owned()))
        );
        assert_eq!(unfit[1], ("senderId".to_owned(), Unfit::Type(FieldType::String)));
        assert!(matches!(&unfit[2], (name, Unfit::Value(_)) if name == "type"));
    }
}
