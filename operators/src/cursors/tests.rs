use std::collections::BTreeMap;

use imflow_kind::testing::{Driver, drive};
use imflow_proto::log::CursorsMoved;
use imflow_proto::wire::envelope::Body;

use super::*;
use crate::testing::{Dice, Sender, committed};

const PARTITIONS: u32 = 4;

fn cursors() -> Driver<Cursors> {
    let (ledger, watch) = (Ledger::new(1_000, PARTITIONS), Watch::new(5_000, 3, 10));
    drive(Cursors { ledger, watch }, &DESCRIPTION)
}

fn moves(driver: &mut Driver<Cursors>) -> Vec<Arc<CursorsMoved>> {
    let moves = driver.take("moves").into_iter();
    moves.map(|record| if let Record::Moves(moves) = record { moves } else { panic!() }).collect()
}

/// User, read, delivered.
fn rows(moves: &CursorsMoved) -> Vec<(&str, u64, u64)> {
    moves.members.iter().map(|row| (&*row.user_id, row.read, row.delivered())).collect()
}

/// What the log does: the fold learns, then the port tells.
fn log(driver: &mut Driver<Cursors>, moves: Arc<CursorsMoved>) {
    let moved = Moved { lsn: 1, moves };
    driver.operator.apply_moved(&moved);
    driver.send("moved", [Record::Moved(Arc::new(moved))]);
}

fn nudged(driver: &mut Driver<Cursors>) -> Vec<(u64, u64)> {
    let nudges = driver.take("nudges").into_iter().map(|record| match record {
        Record::Nudge(nudge) => (nudge.session.number, nudge.notify.up_to_seq),
        other => panic!("{other:?}"),
    });
    nudges.collect()
}

#[test]
fn a_read_is_answered_when_it_is_durable() {
    let (mut driver, alice) = (cursors(), Sender::new("alice", "phone"));
    driver.send("marks", [alice.mark("c1", MarkKind::Read, 3)]);
    let sent = moves(&mut driver);
    assert_eq!(rows(&sent[0]), [("alice", 3, 3)]);
    assert!(alice.answers.take().is_empty(), "nothing is durable yet");
    // These come while the first is on its way: one record for all of them.
    let more = [(4, MarkKind::Read), (6, MarkKind::Read), (5, MarkKind::Read)];
    driver.send("marks", more.map(|(seq, kind)| alice.mark("c1", kind, seq)));
    assert!(moves(&mut driver).is_empty());
    log(&mut driver, Arc::clone(&sent[0]));
    assert_eq!(alice.answers.take().len(), 1);
    let sent = moves(&mut driver);
    assert_eq!((sent.len(), rows(&sent[0])), (1, vec![("alice", 6, 6)]));
    log(&mut driver, Arc::clone(&sent[0]));
    assert!(alice.answers.take().iter().all(|(_, body)| matches!(body, Body::Done(_))));
    driver.send("marks", [alice.mark("c1", MarkKind::Read, 2)]);
    assert!(moves(&mut driver).is_empty(), "a cursor does not go back");
    assert_eq!(alice.answers.take().len(), 1);
}

#[test]
fn deliveries_gather_for_a_while_and_leave_together() {
    let mut driver = cursors();
    let (alice, bob) = (Sender::new("alice", "phone"), Sender::new("bob", "pad"));
    driver.send("marks", [alice.mark("c1", MarkKind::Delivered, 3)]);
    assert_eq!(alice.answers.take().len(), 1, "answered at once");
    driver.pass(600);
    driver.send(
        "marks",
        [bob.mark("c1", MarkKind::Delivered, 2), alice.mark("c1", MarkKind::Delivered, 4)],
    );
    driver.pass(399);
    assert!(moves(&mut driver).is_empty());
    driver.pass(1);
    let sent = moves(&mut driver);
    assert_eq!(rows(&sent[0]), [("alice", 0, 4), ("bob", 0, 2)]);
    log(&mut driver, Arc::clone(&sent[0]));
    driver.send("marks", [alice.mark("c1", MarkKind::Delivered, 4)]);
    driver.pass(10_000);
    assert!(moves(&mut driver).is_empty(), "nothing moved");
}

#[test]
fn a_read_takes_waiting_deliveries_along() {
    let mut driver = cursors();
    let (alice, bob) = (Sender::new("alice", "phone"), Sender::new("bob", "pad"));
    driver.send(
        "marks",
        [alice.mark("c1", MarkKind::Delivered, 3), bob.mark("c1", MarkKind::Read, 1)],
    );
    let sent = moves(&mut driver);
    assert_eq!(rows(&sent[0]), [("alice", 0, 3), ("bob", 1, 1)]);
    log(&mut driver, Arc::clone(&sent[0]));
    driver.pass(10_000);
    assert!(moves(&mut driver).is_empty(), "its time was that record's");
}

/// Any interleaving of marks, commits of the log, snapshots and crashes: what the log was given adds up to
/// what a naive fold says, and nothing that was answered as durable is lost.
#[test]
fn any_run_adds_up_to_the_highest_marks() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut driver = cursors();
        let users = [Sender::new("alice", "phone"), Sender::new("bob", "phone")];
        let mut durable: Vec<Moved> = Vec::new();
        let mut model: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut snapshots = vec![(0, None); PARTITIONS as usize];
        let mut flying: Vec<Arc<CursorsMoved>> = Vec::new();
        let mut unanswered = Vec::new();
        for _ in 0..120 {
            let (user, room) = (&users[dice.below(2)], format!("c{}", dice.below(3)));
            match dice.below(8) {
                0..=3 => {
                    let seq = 1 + dice.below(50) as u64;
                    driver.send("marks", [user.mark(&room, MarkKind::Read, seq)]);
                    unanswered.push((room, user.session.user_id.to_string(), seq));
                }
                4 => drop(driver.pass(dice.below(1_500) as u64)),
                5 | 6 if !flying.is_empty() => {
                    let moves = flying.remove(0);
                    durable
                        .push(Moved { lsn: durable.len() as u64 + 1, moves: Arc::clone(&moves) });
                    log(&mut driver, moves);
                }
                7 if dice.below(3) == 0 => {
                    // A crash: what is not durable is forgotten, and so is who waits.
                    let partition = dice.below(PARTITIONS as usize);
                    snapshots[partition] =
                        (durable.len(), driver.operator.export(partition as u32));
                    driver = cursors();
                    for (partition, (_, snapshot)) in snapshots.iter().enumerate() {
                        if let Some(snapshot) = snapshot {
                            driver.operator.import(partition as u32, snapshot).expect("own format");
                        }
                    }
                    durable.iter().for_each(|moved| driver.operator.apply_moved(moved));
                    (flying, unanswered) = (Vec::new(), Vec::new());
                    users.iter().for_each(|user| drop(user.answers.take()));
                }
                _ => {}
            }
            flying.extend(moves(&mut driver));
        }
        while !flying.is_empty() {
            let moves_ = flying.remove(0);
            durable.push(Moved { lsn: durable.len() as u64 + 1, moves: Arc::clone(&moves_) });
            log(&mut driver, moves_);
            flying.extend(moves(&mut driver));
        }
        for (room, user, seq) in &unanswered {
            let best = model.entry((room.clone(), user.clone())).or_default();
            *best = (*best).max(*seq);
        }
        let mut found: BTreeMap<(String, String), u64> = BTreeMap::new();
        for moved in &durable {
            for row in &moved.moves.members {
                let key = (moved.moves.conversation_id.clone(), row.user_id.clone());
                let before = found.entry(key).or_default();
                assert!(row.read >= *before, "seed {seed}: a cursor went back");
                *before = row.read;
            }
        }
        for (key, seq) in &model {
            assert!(found.get(key) >= Some(seq), "seed {seed}: {key:?} {seq}");
        }
    }
}

#[test]
fn a_session_that_does_not_confirm_is_reminded_a_few_times() {
    let (mut driver, alice) = (cursors(), Sender::new("alice", "phone"));
    let message = |seq| Record::Committed(committed("c1", "bob", "x", "hi", seq));
    driver.send("messages", [message(1)]);
    driver.pass(60_000);
    assert!(nudged(&mut driver).is_empty(), "nobody has asked for it");
    driver.send("marks", [alice.mark("c1", MarkKind::Delivered, 1)]);
    driver.pass(60_000);
    assert!(nudged(&mut driver).is_empty(), "everything is confirmed");
    driver.send("messages", [message(2), message(3)]);
    driver.pass(4_999);
    assert!(nudged(&mut driver).is_empty());
    driver.pass(1);
    assert_eq!(nudged(&mut driver), [(7, 3)]);
    driver.pass(9_999);
    assert!(nudged(&mut driver).is_empty(), "the next comes after twice the time");
    driver.pass(1);
    assert_eq!(nudged(&mut driver), [(7, 3)]);
    driver.pass(20_000);
    assert_eq!(nudged(&mut driver), [(7, 3)]);
    driver.pass(3_600_000);
    assert!(nudged(&mut driver).is_empty(), "three times are enough");
    assert_eq!(driver.operator.next_deadline(), None);
    driver.send("marks", [alice.mark("c1", MarkKind::Delivered, 3)]);
    driver.send("messages", [message(4)]);
    driver.pass(5_000);
    assert_eq!(nudged(&mut driver), [(7, 4)], "it confirms again");
}

#[test]
fn who_confirms_in_time_is_left_alone() {
    let (mut driver, alice) = (cursors(), Sender::new("alice", "phone"));
    let message = |seq| Record::Committed(committed("c1", "bob", "x", "hi", seq));
    driver.send("marks", [alice.mark("c1", MarkKind::Delivered, 0)]);
    for seq in 1..=40 {
        driver.send("messages", [message(seq)]).pass(1_000);
        driver.send("marks", [alice.mark("c1", MarkKind::Delivered, seq)]);
    }
    driver.pass(60_000);
    assert!(nudged(&mut driver).is_empty());
}

#[test]
fn no_more_sessions_are_watched_than_the_option_says() {
    let mut driver = cursors();
    for number in 0..20 {
        let user = Sender::new(&format!("u{number}"), "phone");
        driver.send("marks", [user.mark("c1", MarkKind::Delivered, 1)]);
    }
    driver.send("messages", [Record::Committed(committed("c1", "bob", "x", "hi", 2))]);
    driver.pass(5_000);
    assert_eq!(nudged(&mut driver).len(), 10);
    driver.pass(3_600_000);
    assert_eq!(driver.operator.watch.next_deadline(), None);
}
