use imflow_kind::testing::{Driver, drive};
use imflow_proto::record::Target;
use imflow_proto::wire::{Action, Amended, Message, MessageType, Origin, Role};

use super::*;
use crate::testing::{Dice, Sender};

const MINUTE: u64 = 60_000;

fn amend() -> Driver<Amend> {
    let judge = Judge {
        revoke_within_ms: 2 * MINUTE as i64,
        edit_within_ms: 15 * MINUTE as i64,
        max_edits: 2,
        max_reactions: 3,
        mention_all: Role::Admin,
    };
    drive(Amend::new(judge, 5_000), &DESCRIPTION)
}

fn act(sender: &Sender, kind: MessageType, target_seq: u64) -> Submission {
    let mut submission = sender.submission("c1", "x", "new");
    submission.send.r#type = kind.into();
    let Submission { ticket, session, send, .. } = submission;
    Submission::acting(ticket, session, send, Action { target_seq, ..Action::default() })
}

fn reply(sender: &Sender, id: &str, to: u64) -> Record {
    let Submission { ticket, session, mut send, .. } = sender.submission("c1", id, "hi");
    send.reply_to = to;
    Record::Submission(Arc::new(Submission::new(ticket, session, send)))
}

/// A message of alice, sent when the driver's clock began.
fn target(change: impl FnOnce(&mut Message)) -> Option<Target> {
    let mut message = Message {
        conversation_id: "c1".into(),
        seq: 3,
        sender_id: "alice".into(),
        r#type: MessageType::Image.into(),
        text: "first".into(),
        payload: b"ref".as_slice().into(),
        created_at: 1_000_000,
        ..Message::default()
    };
    change(&mut message);
    Some(Target { message: Arc::new(message), reactions: 0 })
}

fn asked(driver: &mut Driver<Amend>) -> Vec<Arc<Submission>> {
    let submission = |record| match record {
        Record::Reference(submission) => submission,
        other => panic!("{other:?}"),
    };
    driver.take("references").into_iter().map(submission).collect()
}

fn judged(driver: &mut Driver<Amend>) -> Vec<Arc<Submission>> {
    let submission = |record| match record {
        Record::Submission(submission) => submission,
        other => panic!("{other:?}"),
    };
    driver.take("judged").into_iter().map(submission).collect()
}

fn verdict(submission: &Submission) -> &Verdict {
    &submission.reference.as_ref().expect("it leans on something").verdict
}

fn code(submission: &Submission) -> Option<ErrorCode> {
    match verdict(submission) {
        Verdict::Fault(error) => Some(error.code()),
        _ => None,
    }
}

/// What becomes of a submission that finds this target after so long.
fn judge(submission: Submission, after_ms: u64, found: Option<Target>) -> Arc<Submission> {
    let mut driver = amend();
    driver.pass(after_ms);
    driver.send("messages", [Record::Submission(Arc::new(submission))]);
    let submission = asked(&mut driver).remove(0);
    let referent = Referent { submission, target: Ok(found) };
    driver.send("referents", [Record::Referent(Arc::new(referent))]);
    judged(&mut driver).remove(0)
}

#[test]
fn a_revoke_is_the_senders_for_a_while_and_the_admins_for_ever() {
    let (alice, bob) = (Sender::new("alice", "phone"), Sender::new("bob", "phone"));
    let revoke = |sender, after_ms| {
        let judged = judge(act(sender, MessageType::Revoke, 3), after_ms, target(|_| ()));
        assert_eq!(judged.action().map(|action| &*action.target_sender_id), Some("alice"));
        match verdict(&judged) {
            Verdict::Passes => None,
            Verdict::Needs(role, error) => Some((*role, error.code())),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(revoke(&alice, 2 * MINUTE), None);
    assert_eq!(revoke(&alice, 2 * MINUTE + 1), Some((Role::Admin, ErrorCode::TooLate)));
    assert_eq!(revoke(&bob, 1), Some((Role::Admin, ErrorCode::Forbidden)));
    assert_eq!(revoke(&Sender::admin(), 1), Some((Role::Admin, ErrorCode::Forbidden)));
}

#[test]
fn an_edit_is_the_senders_alone_and_bounded_in_time_and_number() {
    let (alice, bob) = (Sender::new("alice", "phone"), Sender::new("bob", "phone"));
    let edit = |sender, after_ms, change: fn(&mut Message)| {
        code(&judge(act(sender, MessageType::Edit, 3), after_ms, target(change)))
    };
    assert_eq!(edit(&alice, 15 * MINUTE, |_| ()), None);
    assert_eq!(edit(&alice, 15 * MINUTE + 1, |_| ()), Some(ErrorCode::TooLate));
    assert_eq!(edit(&bob, 1, |_| ()), Some(ErrorCode::Forbidden));
    let forwarded = |message: &mut Message| message.forward_of = Some(Origin::default().into());
    assert_eq!(edit(&alice, 1, forwarded), Some(ErrorCode::Forbidden));
    let with = |edits| target(|m| m.amended = Some(Amended { edits, ..Amended::default() }.into()));
    for (edits, expected) in [(1, None), (2, Some(ErrorCode::TooLarge))] {
        assert_eq!(code(&judge(act(&alice, MessageType::Edit, 3), 1, with(edits))), expected);
    }
}

#[test]
fn nothing_refers_to_what_is_not_there_or_revoked_or_an_action() {
    let alice = Sender::new("alice", "phone");
    let revoked = |m: &mut Message| {
        m.amended = Some(Amended { revoked_at: 1, ..Amended::default() }.into());
    };
    let action = |m: &mut Message| m.action = Some(Action::default().into());
    for kind in MessageType::ACTIONS {
        let found = |target| code(&judge(act(&alice, kind, 3), 1, target));
        assert_eq!(found(None), Some(ErrorCode::UnknownMessage), "{kind:?}");
        assert_eq!(found(target(revoked)), Some(ErrorCode::MessageRevoked), "{kind:?}");
        assert_eq!(found(target(action)), Some(ErrorCode::Invalid), "{kind:?}");
        assert_eq!(found(target(|_| ())), None, "{kind:?}");
    }
}

#[test]
fn reactions_of_a_message_are_bounded_and_can_still_be_removed() {
    let bob = Sender::new("bob", "phone");
    let react = |remove, reactions| {
        let Submission { ticket, session, send, .. } = act(&bob, MessageType::React, 3);
        let action = Action { target_seq: 3, emoji: "👍".into(), remove, ..Action::default() };
        let found = target(|_| ()).map(|target| Target { reactions, ..target });
        code(&judge(Submission::acting(ticket, session, send, action), 1, found))
    };
    assert_eq!((react(false, 2), react(false, 3)), (None, Some(ErrorCode::TooLarge)));
    assert_eq!((react(true, 5), react(true, 6)), (None, Some(ErrorCode::TooLarge)));
}

#[test]
fn a_forward_says_what_its_source_says_and_names_its_author() {
    let forward = |found| {
        let Submission { ticket, session, mut send, .. } =
            Sender::new("bob", "phone").submission("c1", "x", "");
        send.r#type = 0;
        let origin = Origin { conversation_id: "c2".into(), seq: 3, sender_id: "forged".into() };
        send.forward_of = Some(origin.into());
        let judged = judge(Submission::new(ticket, session, send), 1, found);
        assert_eq!(verdict(&judged), &Verdict::Passes);
        assert_eq!((judged.send.r#type(), &*judged.send.text), (MessageType::Image, "first"));
        assert_eq!(&judged.send.payload[..], b"ref");
        judged.send.forward_of.clone().expect("it stays a forward")
    };
    let origin = forward(target(|_| ()));
    assert_eq!((&*origin.conversation_id, origin.seq, &*origin.sender_id), ("c2", 3, "alice"));
    let of_carol = Origin { sender_id: "carol".into(), ..Origin::default() };
    let again = forward(target(|message| message.forward_of = Some(of_carol.into())));
    assert_eq!(&*again.sender_id, "carol");
}

#[test]
fn to_mention_all_takes_a_role_and_no_look_up() {
    let (mut driver, alice) = (amend(), Sender::new("alice", "phone"));
    let Submission { ticket, session, mut send, .. } = alice.submission("c1", "x", "all");
    send.mention_all = true;
    let submission = Submission::new(ticket, session, send);
    driver.send("messages", [Record::Submission(Arc::new(submission))]);
    assert!(asked(&mut driver).is_empty());
    let judged = judged(&mut driver);
    assert!(
        matches!(verdict(&judged[0]), Verdict::Needs(Role::Admin, error) if error.code() == ErrorCode::Forbidden)
    );
}

#[test]
fn a_store_that_is_silent_costs_its_message_and_not_those_behind() {
    let (mut driver, alice) = (amend(), Sender::new("alice", "phone"));
    driver.send("messages", [reply(&alice, "a", 3), alice.send("c1", "b", "hi")]);
    let late = asked(&mut driver).remove(0);
    driver.pass(4_999);
    assert!(judged(&mut driver).is_empty());
    driver.pass(1);
    let gone = judged(&mut driver);
    assert_eq!((gone.len(), code(&gone[0])), (2, Some(ErrorCode::Timeout)));
    assert!(gone[1].reference.is_none());
    assert_eq!(driver.operator.next_deadline(), None);
    let referent = Referent { submission: late, target: Ok(target(|_| ())) };
    driver.send("referents", [Record::Referent(Arc::new(referent))]);
    assert!(judged(&mut driver).is_empty(), "it was answered");
}

#[test]
fn what_waits_is_bounded() {
    let (mut driver, alice) = (amend(), Sender::new("alice", "phone"));
    let behind = (0..=MAX_BEHIND).map(|n| alice.send("c1", &format!("m{n}"), "hi"));
    driver.send("messages", std::iter::once(reply(&alice, "a", 3)).chain(behind));
    let refused = judged(&mut driver);
    assert_eq!((refused.len(), code(&refused[0])), (1, Some(ErrorCode::Busy)));
}

/// Whatever order the store answers in, each message leaves once, and those of a sender in a
/// conversation leave as they came.
#[test]
fn any_interleaving_keeps_the_order_of_a_sender() {
    for seed in 0..200 {
        let (mut dice, mut driver) = (Dice(seed), amend());
        let senders = [Sender::new("alice", "phone"), Sender::new("bob", "phone")];
        let (mut open, mut left, mut came) = (Vec::new(), Vec::new(), 0);
        for _ in 0..60 {
            if dice.below(2) == 0 {
                let batch: Vec<_> = (0..dice.below(4))
                    .map(|_| {
                        came += 1;
                        let (sender, id) = (&senders[dice.below(2)], came.to_string());
                        match dice.below(2) {
                            0 => reply(sender, &id, 3),
                            _ => sender.send("c1", &id, "hi"),
                        }
                    })
                    .collect();
                driver.send("messages", batch);
            } else if !open.is_empty() {
                let submission = open.swap_remove(dice.below(open.len()));
                let found = (dice.below(3) > 0).then(|| target(|_| ())).flatten();
                let referent = Referent { submission, target: Ok(found) };
                driver.send("referents", [Record::Referent(Arc::new(referent))]);
            }
            open.extend(asked(&mut driver));
            left.extend(judged(&mut driver));
        }
        driver.pass(1_000_000);
        left.extend(judged(&mut driver));
        assert_eq!(left.len(), came, "seed {seed}");
        for sender in &senders {
            let of_sender = left.iter().filter(|it| it.session.user_id == sender.session.user_id);
            let ids = of_sender.map(|it| it.send.client_msg_id.parse::<usize>().expect("a number"));
            assert!(ids.is_sorted(), "seed {seed}");
        }
    }
}
