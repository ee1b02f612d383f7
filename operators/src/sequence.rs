//! Gives each message its place: the next seq of its conversation, an id and a time.
//!
//! Within a conversation seq is gapless from 1 and createdAt never decreases. Two counters are kept: what
//! is *assigned* runs ahead of what is *committed*; only the latter is exported, so that a seq which never
//! became durable is used again. Marks of cursors pass by, since it is known here how far they can mean. Making it durable is for the log, which keeps the order of this port.

use std::sync::Arc;

use imflow_kind::{
    Description, Duty, Family, Key, Operator, OperatorContext, Out, Port, Snapshot, StartError,
    State, Time,
};
use imflow_proto::id::{self, ServerMsgIds};
use imflow_proto::record::{Committed, Entry, Mark, Submission};
use imflow_proto::{Fingerprint, FingerprintMap, Keys, Record, RecordType, warm, wire};

use crate::snapshot::{Reader, Writer, expect_version};

/// `messages: Submission`, `marks: Mark` → `ordered: Ordered`, `marks: Mark`
///
/// Errors: none. Source: SPEC M3.
pub const DESCRIPTION: Description = Description {
    name: "sequence",
    family: Family::Operator,
    summary: "gives each message the next seq of its conversation",
    doc: "Assigns a gapless `seq` per conversation, a `serverMsgId` (63 bits, increasing on this node) and \
          `createdAt`. Its state is a fold of the log, so a restart goes on where the log ends.\n\n\
          `marks` are let through; one that says more than has been committed is held to the last message.",
    key: Key::Conversation,
    state: State::Log,
    inputs: &[
        Port::of("messages", &[RecordType::Submission], "messages that may be stored"),
        Port::of("marks", &[RecordType::Mark], "what devices received and read").optional(),
    ],
    outputs: &[
        Port::of(
            "ordered",
            &[RecordType::Ordered],
            "messages in their order, on their way to the log",
        ),
        Port::of("marks", &[RecordType::Mark], "marks of messages that are durable"),
    ],
    options: &[],
    provides: &[],
    duties: &[Duty::Orders],
    example: "[operators.ordered]\n\
              kind = \"sequence\"\n\
              inputs = { messages = [\"allowed\"], marks = [\"allowed.marks\"] }\n",
    ..Description::EMPTY
};

const ORDERED: usize = 0;
const MARKS: usize = 1;
/// Version 1 lacked the last serverMsgId, which stands first.
const VERSION: u16 = 2;

pub(crate) struct Sequence {
    ids: Arc<ServerMsgIds>,
    /// So that an export touches no other partition's conversations.
    partitions: Vec<Positions>,
}

/// The conversations of one partition.
#[derive(Default)]
struct Positions {
    by_conversation: FingerprintMap<Position>,
    /// Their ids, in the order in which they came.
    names: Vec<(Fingerprint, Box<str>)>,
}

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    assigned: u64,
    assigned_at: i64,
    committed: u64,
    committed_at: i64,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    Ok(Box::new(Sequence::new(context.ids, context.partitions)))
}

impl Operator for Sequence {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        if port == MARKS {
            let marks = records.drain(..).map(|record| match record {
                Record::Mark(mark) => Record::Mark(self.hold(mark)),
                record => crate::misrouted("sequence", &record),
            });
            return out.port(MARKS).extend(marks);
        }
        let ordered = out.port(ORDERED);
        ordered.reserve(records.len());
        for record in &*records {
            if let Record::Submission(submission) = record {
                let Keys { conversation, .. } = &submission.keys;
                let partition = self.partition_of(&submission.keys);
                warm(&self.partitions[partition].by_conversation, conversation);
            }
        }
        for record in records.drain(..) {
            let Record::Submission(submission) = record else {
                crate::misrouted("sequence", &record)
            };
            ordered.push(Record::Ordered(Arc::new(self.order(submission, now.ms() as i64))));
        }
    }

    fn apply(&mut self, committed: &Committed) {
        let message = &committed.message;
        self.ids.observe(message.server_msg_id);
        let position = self.position(&committed.keys, &message.conversation_id);
        if message.seq > position.committed {
            position.committed = message.seq;
            position.committed_at = message.created_at;
        }
        position.assigned = position.assigned.max(position.committed);
        position.assigned_at = position.assigned_at.max(position.committed_at);
    }

    fn export(&self, partition: u32) -> Option<Snapshot> {
        let mut writer = Writer::default();
        // The messages that carry the last ids may lie before the snapshot, and a clock may go back.
        writer.number(self.ids.last() as u64);
        let positions = &self.partitions[partition as usize];
        for (conversation, id) in &positions.names {
            let position = positions.by_conversation[conversation];
            if position.committed > 0 {
                writer.text(id).number(position.committed).number(position.committed_at as u64);
            }
        }
        Some(Snapshot { version: VERSION, bytes: writer.finish() })
    }

    fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        let mut reader = Reader(&snapshot.bytes);
        if snapshot.version != 1 {
            expect_version("sequence", snapshot.version, VERSION)?;
            self.ids.observe(reader.number()? as i64);
        }
        while !reader.is_empty() {
            let (conversation, seq, at) =
                (reader.text()?, reader.number()?, reader.number()? as i64);
            let position =
                Position { assigned: seq, assigned_at: at, committed: seq, committed_at: at };
            let positions = &mut self.partitions[partition as usize];
            *positions.of(Fingerprint::of(conversation), conversation) = position;
        }
        Ok(())
    }
}

impl Sequence {
    fn new(ids: &Arc<ServerMsgIds>, partitions: u32) -> Self {
        Self {
            ids: Arc::clone(ids),
            partitions: (0..partitions.max(1)).map(|_| Positions::default()).collect(),
        }
    }

    fn order(&mut self, submission: Arc<Submission>, now_ms: i64) -> Entry {
        // Nobody else holds a submission here unless a tap or a second branch does: move the strings out.
        let Submission { ticket, session, send, keys, reference, .. } =
            Arc::unwrap_or_clone(submission);
        let position = self.position(&keys, &send.conversation_id);
        position.assigned += 1;
        position.assigned_at = position.assigned_at.max(now_ms);
        let (seq, created_at) = (position.assigned, position.assigned_at);
        let message = wire::Message {
            conversation_id: send.conversation_id,
            seq,
            server_msg_id: self.ids.next(now_ms),
            client_msg_id: send.client_msg_id,
            sender_id: session.user_id.as_ref().to_owned(),
            r#type: send.r#type,
            text: send.text,
            payload: send.payload,
            created_at,
            reply_to: send.reply_to,
            forward_of: send.forward_of,
            mentions: send.mentions,
            mention_all: send.mention_all,
            action: reference.and_then(|reference| reference.action),
            amended: None,
        };
        Entry { lsn: 0, ticket: Some(ticket), session: Some(session), message, keys }
    }

    /// Holds a mark to what is committed.
    fn hold(&self, mut mark: Arc<Mark>) -> Arc<Mark> {
        let partition = id::partition_of(&mark.conversation_id, self.partitions.len() as u32);
        let positions = &self.partitions[partition as usize].by_conversation;
        let position = positions.get(&Fingerprint::of(&mark.conversation_id));
        let last = position.map_or(0, |position| position.committed);
        let held = Arc::make_mut(&mut mark);
        held.last_seq = last;
        held.seq = held.seq.min(last);
        mark
    }

    fn position(&mut self, keys: &Keys, conversation_id: &str) -> &mut Position {
        let partition = self.partition_of(keys);
        self.partitions[partition].of(keys.conversation, conversation_id)
    }

    fn partition_of(&self, keys: &Keys) -> usize {
        keys.partition(self.partitions.len() as u32) as usize
    }
}

impl Positions {
    fn of(&mut self, conversation: Fingerprint, id: &str) -> &mut Position {
        self.by_conversation.entry(conversation).or_insert_with(|| {
            self.names.push((conversation, id.into()));
            Position::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use imflow_kind::testing::{Driver, drive};

    use imflow_proto::id::partition_of;
    use imflow_proto::record::MarkKind;

    use super::*;
    use crate::testing::{Dice, Sender, committed};

    fn sequence() -> Driver<Sequence> {
        drive(Sequence::new(&Arc::new(ServerMsgIds::new(1)), 8), &DESCRIPTION)
    }

    fn messages(driver: &mut Driver<Sequence>) -> Vec<wire::Message> {
        let record = |record| match record {
            Record::Ordered(ordered) => ordered.message.clone(),
            other => panic!("{other:?}"),
        };
        driver.take("ordered").into_iter().map(record).collect()
    }

    #[test]
    fn any_batching_gives_each_conversation_one_gapless_order() {
        for seed in 0..50 {
            let (mut dice, mut driver, sender) =
                (Dice(seed), sequence(), Sender::new("alice", "phone"));
            let mut model: HashMap<String, u64> = HashMap::new();
            let mut last_id = 0;
            for _ in 0..20 {
                let batch: Vec<_> = (0..dice.below(9))
                    .map(|_| sender.send(&format!("c{}", dice.below(5)), "x", "hi"))
                    .collect();
                driver.send("messages", batch);
                driver.pass(dice.below(3) as u64);
                for message in messages(&mut driver) {
                    let seq = model.entry(message.conversation_id.clone()).or_default();
                    *seq += 1;
                    assert_eq!(message.seq, *seq, "seed {seed}");
                    assert!(message.server_msg_id > last_id, "seed {seed}");
                    last_id = message.server_msg_id;
                }
            }
        }
    }

    #[test]
    fn a_seq_that_never_became_durable_is_used_again() {
        let (mut driver, sender) = (sequence(), Sender::new("alice", "phone"));
        driver.send("messages", (0..5).map(|_| sender.send("c1", "x", "hi")));
        driver.operator.apply(&committed("c1", "alice", "x", "hi", 2));
        let partition = partition_of("c1", 8);
        let snapshot = driver.operator.export(partition).unwrap();
        let mut restarted = sequence();
        restarted.operator.import(partition, &snapshot).unwrap();
        restarted.operator.apply(&committed("c1", "alice", "y", "hi", 3));
        restarted.operator.apply(&committed("c1", "alice", "x", "hi", 2));
        restarted.send("messages", [sender.send("c1", "z", "hi")]);
        assert_eq!(messages(&mut restarted)[0].seq, 4);
        assert!(
            restarted.operator.import(partition, &Snapshot { version: 9, bytes: vec![] }).is_err()
        );
    }

    #[test]
    fn ids_go_on_after_a_restart_from_a_snapshot_with_an_earlier_clock() {
        let (mut driver, sender) = (sequence(), Sender::new("alice", "phone"));
        driver.pass(3_600_000);
        driver.send("messages", [sender.send("c1", "x", "hi")]);
        let last = messages(&mut driver)[0].server_msg_id;
        let mut restarted = sequence();
        restarted.operator.import(0, &driver.operator.export(0).unwrap()).unwrap();
        restarted.send("messages", [sender.send("c2", "y", "hi")]);
        assert!(messages(&mut restarted)[0].server_msg_id > last);
        // Snapshots of earlier builds hold positions only.
        let mut writer = Writer::default();
        writer.text("c9").number(4).number(7);
        let old = Snapshot { version: 1, bytes: writer.finish() };
        restarted.operator.import(partition_of("c9", 8), &old).unwrap();
        restarted.send("messages", [sender.send("c9", "z", "hi")]);
        assert_eq!(messages(&mut restarted)[0].seq, 5);
    }

    #[test]
    fn a_mark_beyond_the_last_message_is_held_to_it() {
        let (mut driver, sender) = (sequence(), Sender::new("alice", "phone"));
        driver.send("messages", [sender.send("c1", "x", "hi"), sender.send("c1", "y", "hi")]);
        driver.operator.apply(&committed("c1", "alice", "x", "hi", 1));
        let marks = [("c1", 1), ("c1", 2), ("c1", u64::MAX), ("nowhere", 3)];
        driver.send("marks", marks.map(|(id, seq)| sender.mark(id, MarkKind::Read, seq)));
        let held = driver.take("marks").into_iter().map(|record| match record {
            Record::Mark(mark) => (mark.seq, mark.last_seq),
            other => panic!("{other:?}"),
        });
        assert_eq!(held.collect::<Vec<_>>(), [(1, 1), (1, 1), (1, 1), (0, 0)]);
    }

    #[test]
    fn created_at_never_decreases_after_a_restart_with_an_earlier_clock() {
        let (mut driver, sender) = (sequence(), Sender::new("alice", "phone"));
        let mut late = Arc::unwrap_or_clone(committed("c1", "alice", "x", "hi", 1));
        late.message.created_at = i64::MAX / 2;
        driver.operator.apply(&late);
        driver.send("messages", [sender.send("c1", "z", "hi")]);
        assert_eq!(messages(&mut driver)[0].created_at, i64::MAX / 2);
    }
}
