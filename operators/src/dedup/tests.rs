use std::collections::HashMap;

use imflow_kind::testing::{Driver, drive};
use imflow_proto::record::Rejection;
use imflow_proto::wire::Ack;

use super::*;
use crate::testing::{Dice, Sender, committed, error_of};

fn dedup(window: usize, marks: usize) -> Driver<Dedup> {
    drive(Dedup::new(Memory::new(7 * 86_400_000, window, marks, 4)), &DESCRIPTION)
}

fn fresh(driver: &mut Driver<Dedup>) -> Vec<Arc<Submission>> {
    let submission = |record| match record {
        Record::Submission(submission) => submission,
        other => panic!("{other:?}"),
    };
    driver.take("fresh").into_iter().map(submission).collect()
}

fn acks(driver: &mut Driver<Dedup>) -> Vec<Ack> {
    let ack = |record: &Record| match record {
        Record::Reply(reply) => match &reply.body {
            Body::Ack(ack) => *ack,
            body => panic!("{body:?}"),
        },
        other => panic!("{other:?}"),
    };
    driver.take("repeated").iter().map(ack).collect()
}

fn commit(driver: &mut Driver<Dedup>, submission: &Submission, seq: u64) -> Arc<Committed> {
    let send = &submission.send;
    let record = committed(
        &send.conversation_id,
        &submission.session.user_id,
        &send.client_msg_id,
        &send.text,
        seq,
    );
    driver.operator.apply(&record);
    driver.send("outcomes", [Record::Committed(Arc::clone(&record))]);
    record
}

fn deny(driver: &mut Driver<Dedup>, submission: &Arc<Submission>) {
    let error = Error::of(ErrorCode::NotAMember, "no");
    let rejection = Rejection { refused: Refused::Submission(Arc::clone(submission)), error };
    driver.send("outcomes", [Record::Rejection(Arc::new(rejection))]);
}

#[test]
fn a_repeat_in_flight_waits_and_gets_the_same_ack() {
    let (mut driver, alice) = (dedup(9, 9), Sender::new("alice", "phone"));
    driver.send("messages", [alice.send("c1", "x", "hi"), alice.send("c1", "x", "hi")]);
    let first = fresh(&mut driver);
    assert_eq!((first.len(), acks(&mut driver).len()), (1, 0));
    let record = commit(&mut driver, &first[0], 1);
    driver.send("messages", [alice.send("c1", "x", "hi")]);
    assert_eq!(acks(&mut driver), [record.ack(), record.ack()]);
    assert!(fresh(&mut driver).is_empty());
}

#[test]
fn the_same_id_with_other_content_is_a_conflict_and_scopes_are_apart() {
    let (mut driver, alice, bob) =
        (dedup(9, 9), Sender::new("alice", "phone"), Sender::new("bob", "phone"));
    driver.send("messages", [alice.send("c1", "x", "hi"), alice.send("c1", "x", "other")]);
    driver.send("messages", [bob.send("c1", "x", "other"), alice.send("c2", "x", "other")]);
    assert_eq!(error_of(&driver.take("repeated")[0]).code(), ErrorCode::Conflict);
    assert_eq!(fresh(&mut driver).len(), 3);
}

#[test]
fn a_denied_message_leaves_no_trace_and_a_waiting_repeat_goes_forward() {
    let (mut driver, alice) = (dedup(9, 9), Sender::new("alice", "phone"));
    driver.send(
        "messages",
        [alice.send("c1", "x", "hi"), alice.send("c1", "x", "hi"), alice.send("c1", "x", "hi")],
    );
    let first = fresh(&mut driver);
    deny(&mut driver, &first[0]);
    let second = fresh(&mut driver);
    assert_eq!(second.len(), 1);
    commit(&mut driver, &second[0], 1);
    assert_eq!(acks(&mut driver).len(), 1);
    driver.send("messages", [alice.send("c1", "y", "hi")]);
    let denied = fresh(&mut driver);
    deny(&mut driver, &denied[0]);
    driver.send("messages", [alice.send("c1", "y", "changed")]);
    assert_eq!(fresh(&mut driver).len(), 1);
}

#[test]
fn a_device_that_counts_up_needs_no_look_up_however_much_was_forgotten() {
    let (mut driver, alice) = (dedup(2, 9), Sender::new("alice", "phone"));
    for seq in 1..=1_000 {
        driver.send("messages", [alice.send("c1", &format!("alice-phone-{seq}-1"), "hi")]);
        let first = fresh(&mut driver);
        commit(&mut driver, &first[0], seq);
    }
    assert_eq!(driver.take("lookups").len(), 0);
    driver.send("messages", [alice.send("c1", "alice-phone-5-1", "hi")]);
    assert_eq!(driver.take("lookups").len(), 1, "only a repeat asks the index");
}

#[test]
fn behind_a_look_up_the_sender_queues_in_order_and_others_pass() {
    let (mut driver, alice, bob) =
        (dedup(2, 9), Sender::new("alice", "phone"), Sender::new("bob", "phone"));
    for (seq, id) in ["a", "b", "c"].iter().enumerate() {
        driver.send("messages", [alice.send("c1", id, "hi")]);
        let first = fresh(&mut driver);
        commit(&mut driver, &first[0], seq as u64 + 1);
    }
    driver.send(
        "messages",
        [
            alice.send("c1", "a", "hi"),
            alice.send("c1", "alice-phone-1-1", "hi"),
            bob.send("c1", "bob-phone-1-1", "hi"),
        ],
    );
    assert_eq!(fresh(&mut driver).len(), 1, "only bob's");
    let Record::Lookup(parked) = driver.take("lookups").remove(0) else { panic!("not a look-up") };
    let original = Ok(Some(Arc::new(committed("c1", "alice", "a", "hi", 1).message.clone())));
    driver.send("answers", [Record::Found(Arc::new(Found { submission: parked, original }))]);
    assert_eq!(acks(&mut driver)[0].seq, 1);
    assert_eq!(fresh(&mut driver)[0].send.client_msg_id, "alice-phone-1-1");
}

#[test]
fn a_look_up_that_fails_is_answered_and_frees_the_sender() {
    let (mut driver, alice) = (dedup(2, 9), Sender::new("alice", "phone"));
    // A counter below the mark, and ids that were forgotten: only the index may know this one.
    for (seq, id) in ["alice-phone-4-1", "alice-phone-5-1", "alice-phone-6-1"].iter().enumerate() {
        driver.send("messages", [alice.send("c1", id, "hi")]);
        let first = fresh(&mut driver);
        commit(&mut driver, &first[0], seq as u64 + 1);
    }
    driver.send(
        "messages",
        [alice.send("c1", "alice-phone-3-1", "hi"), alice.send("c1", "alice-phone-7-1", "hi")],
    );
    let Record::Lookup(parked) = driver.take("lookups").remove(0) else { panic!("not a look-up") };
    let original = Err(Error::of(ErrorCode::Internal, "the log is damaged"));
    driver.send("answers", [Record::Found(Arc::new(Found { submission: parked, original }))]);
    let error = error_of(&driver.take("repeated")[0]);
    assert!(error.code() == ErrorCode::Internal && error.retryable, "{error:?}");
    assert_eq!(fresh(&mut driver)[0].send.client_msg_id, "alice-phone-7-1", "it was behind");
    // Sent again, it is looked up again.
    driver.send("messages", [alice.send("c1", "alice-phone-3-1", "hi")]);
    assert_eq!(driver.take("lookups").len(), 1);
}

/// The world around the operator: a path that commits or denies what is fresh, and an index.
#[derive(Default)]
struct World {
    on_path: VecDeque<Arc<Submission>>,
    asked: VecDeque<Arc<Submission>>,
    /// By conversation, sender and id: the one committed message.
    history: HashMap<(String, String, String), Arc<Committed>>,
    /// By conversation: the counter.
    seqs: HashMap<String, u64>,
    answered: usize,
}

impl World {
    fn collect(&mut self, driver: &mut Driver<Dedup>, seed: u64) {
        self.on_path.extend(fresh(driver));
        for record in driver.take("lookups") {
            let Record::Lookup(submission) = record else { panic!("{record:?}") };
            self.asked.push_back(submission);
        }
        for record in driver.take("repeated") {
            let Record::Reply(reply) = record else { panic!("{record:?}") };
            assert!(reply.ticket.answer(reply.body.clone()), "seed {seed}: two answers");
            self.answered += 1;
            match &reply.body {
                Body::Ack(ack) => assert!(
                    self.history.values().any(|m| m.ack() == *ack),
                    "seed {seed}: an ack of nothing"
                ),
                Body::Error(error) => assert_eq!(error.code(), ErrorCode::Conflict, "seed {seed}"),
                other => panic!("seed {seed}: {other:?}"),
            }
        }
    }

    /// Finishes one message of the path; one in five is denied.
    fn finish(&mut self, driver: &mut Driver<Dedup>, dice: &mut Dice, seed: u64) {
        let Some(submission) = self.on_path.pop_front() else { return };
        submission.ticket.answer(Body::Done(Default::default()));
        self.answered += 1;
        if dice.below(5) == 0 {
            return deny(driver, &submission);
        }
        let send = &submission.send;
        let seq = self.seqs.entry(send.conversation_id.clone()).or_default();
        *seq += 1;
        let record = commit(driver, &submission, *seq);
        let key = (
            send.conversation_id.clone(),
            submission.session.user_id.to_string(),
            send.client_msg_id.clone(),
        );
        assert!(
            self.history.insert(key, record).is_none(),
            "seed {seed}: {} stored twice",
            send.client_msg_id
        );
    }

    fn look_up(&mut self, driver: &mut Driver<Dedup>) {
        let Some(submission) = self.asked.pop_front() else { return };
        let send = &submission.send;
        let key = (
            send.conversation_id.clone(),
            submission.session.user_id.to_string(),
            send.client_msg_id.clone(),
        );
        let original = self.history.get(&key).map(|record| Arc::new(record.message.clone()));
        let original = Ok(original);
        driver.send("answers", [Record::Found(Arc::new(Found { submission, original }))]);
    }
}

/// Any batching and interleaving, with a memory of two ids and restarts in between, is as good as a
/// set of all ids: no message twice, none without an answer, no ack for what was not stored.
#[test]
fn any_interleaving_stores_each_id_once_and_answers_each_message() {
    for seed in 0..300 {
        let (mut dice, mut driver, mut world) = (Dice(seed), dedup(2, 2), World::default());
        let senders = [
            Sender::new("alice", "phone"),
            Sender::new("alice", "pad"),
            Sender::new("bob", "phone"),
        ];
        let mut sent = 0;
        for _ in 0..150 {
            match dice.below(6) {
                0..=2 => {
                    let sender = &senders[dice.below(3)];
                    let count = dice.below(4);
                    sent += count;
                    let batch: Vec<_> =
                        (0..count).map(|_| any_message(sender, &mut dice)).collect();
                    driver.send("messages", batch);
                }
                3 => world.finish(&mut driver, &mut dice, seed),
                4 => world.look_up(&mut driver),
                _ if world.on_path.is_empty() && world.asked.is_empty() => {
                    let mut restarted = dedup(2, 2);
                    for partition in 0..4 {
                        let snapshot = driver.operator.export(partition).unwrap();
                        restarted.operator.import(partition, &snapshot).unwrap();
                    }
                    driver = restarted;
                }
                _ => {}
            }
            world.collect(&mut driver, seed);
        }
        while !(world.on_path.is_empty() && world.asked.is_empty()) {
            world.finish(&mut driver, &mut dice, seed);
            world.look_up(&mut driver);
            world.collect(&mut driver, seed);
        }
        assert_eq!(world.answered, sent, "seed {seed}");
    }
}

fn any_message(sender: &Sender, dice: &mut Dice) -> Record {
    let number = dice.below(6);
    let session = &sender.session;
    let id = match dice.below(3) {
        0 => format!("free-{number}"),
        _ => format!("{}-{}-{number}-1", session.user_id, session.device_id),
    };
    let text = if dice.below(8) == 0 { "other" } else { "hi" };
    sender.send(["c1", "c2"][dice.below(2)], &id, text)
}
