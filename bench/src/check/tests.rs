//! Each promise is seen kept, and seen broken: a check that cannot fail proves nothing.

use super::verify::Verdict;
use super::*;

/// Three sessions in one conversation.
fn checker() -> Checker {
    Checker::new(3, [vec![0, 1, 2]])
}

fn print(session: u32, local: u32) -> Print {
    Print::new(MessageId { session, local }, i64::from(session * 1_000 + local), 7)
}

/// Session 0 sends two messages, session 1 one, and everybody gets what they should.
fn good() -> Checker {
    let mut checker = checker();
    for (seq, print) in [(1, print(0, 1)), (2, print(1, 1)), (3, print(0, 2))] {
        checker.acked(0, seq, print);
        (0..3)
            .filter(|session| *session != print.id.session)
            .for_each(|s| checker.pushed(s, 0, seq, print));
    }
    checker
}

fn found(verdict: &Verdict, what: &str) -> bool {
    verdict.broken.iter().any(|line| line.starts_with(what))
}

#[test]
fn a_good_run_breaks_nothing() {
    let checker = good();
    assert_eq!((checker.outstanding(), checker.last_seq(0)), (0, 3));
    let verdict = checker.verify();
    assert!(verdict.broken.is_empty(), "{:?}", verdict.broken);
    assert!(
        verdict.summary.starts_with("0 lost, 0 duplicated, 0 reordered, 0 gaps, of 3"),
        "{}",
        verdict.summary
    );
}

#[test]
fn a_push_may_overtake_its_ack() {
    let mut checker = checker();
    checker.pushed(1, 0, 1, print(0, 1));
    checker.acked(0, 1, print(0, 1));
    checker.pushed(2, 0, 1, print(0, 1));
    assert!(checker.verify().broken.is_empty());
}

#[test]
fn a_lost_push_is_found_in_the_middle_and_at_the_end() {
    let mut checker = checker();
    for seq in 1..=3 {
        checker.acked(0, seq, print(0, seq as u32));
        checker.pushed(1, 0, seq, print(0, seq as u32));
    }
    checker.pushed(2, 0, 2, print(0, 2));
    assert_eq!(checker.outstanding(), 2);
    let verdict = checker.verify();
    assert_eq!(verdict.broken.len(), 2);
    assert!(found(&verdict, "lost: session 2 was never pushed g0 seq 1"), "{:?}", verdict.broken);
}

#[test]
fn a_second_push_is_a_duplicate() {
    let mut checker = good();
    checker.pushed(2, 0, 2, print(1, 1));
    assert!(found(&checker.verify(), "duplicated: session 2"));
}

#[test]
fn a_push_to_the_sending_session_is_a_duplicate() {
    let mut checker = good();
    checker.pushed(0, 0, 3, print(0, 2));
    assert!(found(&checker.verify(), "duplicated: session 0"));
}

#[test]
fn a_late_push_is_reordered_and_not_lost() {
    let mut checker = checker();
    for seq in 1..=2 {
        checker.acked(0, seq, print(0, seq as u32));
        checker.pushed(1, 0, seq, print(0, seq as u32));
        checker.pushed(2, 0, 3 - seq, print(0, 3 - seq as u32));
    }
    let verdict = checker.verify();
    assert!(
        found(&verdict, "reordered: session 2") && !found(&verdict, "lost"),
        "{:?}",
        verdict.broken
    );
}

#[test]
fn a_seq_without_a_message_is_a_gap() {
    let mut checker = good();
    checker.acked(0, 5, print(2, 1));
    assert!(found(&checker.verify(), "gaps: g0 seq 4 is missing"));
    let mut checker = good();
    checker.acked(0, 1 << 40, print(2, 1));
    assert!(found(&checker.verify(), "gaps: g0 has seq"));
}

#[test]
fn a_repeat_gets_the_first_answer() {
    let mut checker = good();
    checker.acked(0, 1, print(0, 1));
    assert_eq!(checker.repeats, 1);
    assert!(checker.verify().broken.is_empty());
}

#[test]
fn a_repeat_that_was_stored_again_is_a_duplicate() {
    let mut checker = good();
    checker.acked(0, 4, print(0, 1));
    assert!(found(&checker.verify(), "duplicated: g0 holds"));
}

#[test]
fn one_seq_for_two_messages_is_a_wrong_ack() {
    let mut checker = good();
    checker.acked(0, 1, print(2, 1));
    assert!(found(&checker.verify(), "acked wrongly: g0 seq 1"));
}

#[test]
fn another_text_or_server_id_is_a_mix_up() {
    let mut checker = checker();
    checker.acked(0, 1, print(0, 1));
    let other = Print { hash: 1, ..print(0, 1) };
    checker.pushed(1, 0, 1, other);
    checker.read(0, 1, other);
    checker.pushed(2, 0, 1, print(0, 1));
    let verdict = checker.verify();
    assert_eq!(verdict.broken.iter().filter(|line| line.starts_with("mixed up")).count(), 2);
}

#[test]
fn a_sender_overtaken_by_itself_is_reordered_unless_it_sent_again() {
    for resent in [false, true] {
        let mut checker = checker();
        for (seq, print) in [(1, print(0, 2)), (2, print(0, 1))] {
            checker.acked(0, seq, print);
            (1..3).for_each(|session| checker.pushed(session, 0, seq, print));
        }
        if resent {
            checker.resent(print(0, 1).id);
        }
        assert_eq!(found(&checker.verify(), "reordered"), !resent);
    }
}
