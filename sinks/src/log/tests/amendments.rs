//! What is read of a message is what later entries have made of it, wherever their rows stand.

use std::collections::BTreeMap;

use imflow_kind::Store as _;
use imflow_proto::record::{Submission, Target};
use imflow_proto::wire::{self, Action, Amended, MessageType, Reaction};

use super::*;
use crate::log::completions::REFERENTS;
use crate::log::references::References;

/// An entry of alice in `c`: about `target`, or a plain message where that is 0.
fn entry(seq: u64, target: u64, kind: MessageType, emoji: &str, remove: bool) -> Message {
    let action = Action {
        target_seq: target,
        target_sender_id: "alice".into(),
        emoji: emoji.into(),
        remove,
    };
    Message {
        r#type: kind.into(),
        text: if kind == MessageType::Edit { format!("edit {seq}") } else { String::new() },
        action: Some(action.into()),
        ..message("c", seq)
    }
}

/// What a reader is shown of all entries, told one by one.
fn naive(entries: &[Message]) -> Vec<Message> {
    let mut shown = entries.to_vec();
    for message in entries.iter().filter(|message| !message.is_action()) {
        let about = entries.iter().filter(|entry| {
            entry.action.as_ref().is_some_and(|action| action.target_seq == message.seq)
        });
        let (mut amended, mut revoke) = (Amended::default(), None);
        let mut reactions: BTreeMap<&str, u64> = BTreeMap::new();
        let now = &mut shown[message.seq as usize - 1];
        for entry in about.clone() {
            let action = entry.action.as_ref().expect("an action");
            match entry.r#type() {
                MessageType::Revoke => revoke = revoke.or(Some(entry)),
                MessageType::Edit => {
                    (amended.edits, amended.edited_at) = (amended.edits + 1, entry.created_at);
                    now.text.clone_from(&entry.text);
                }
                _ if action.remove => drop(reactions.remove(&*action.emoji)),
                _ => drop(reactions.entry(&action.emoji).or_insert(entry.seq)),
            }
        }
        let mut in_order: Vec<_> = reactions.into_iter().map(|(emoji, seq)| (seq, emoji)).collect();
        in_order.sort_unstable();
        let users = vec!["alice".to_owned()];
        let reaction = |(_, emoji): (u64, &str)| Reaction {
            emoji: emoji.into(),
            count: 1,
            user_ids: users.clone(),
        };
        amended.reactions = in_order.into_iter().map(reaction).collect();
        if let Some(revoke) = revoke {
            let revoked_by = "alice".to_owned();
            amended = Amended { revoked_at: revoke.created_at, revoked_by, ..Amended::default() };
            now.text.clear();
            for edit in about.filter(|entry| entry.r#type() == MessageType::Edit) {
                let edit = &mut shown[edit.seq as usize - 1];
                edit.text.clear();
                edit.amended = Some(amended.clone().into());
            }
        }
        if amended != Amended::default() {
            shown[message.seq as usize - 1].amended = Some(amended.into());
        }
    }
    shown
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

#[test]
fn any_history_reads_as_told_one_by_one_over_any_border_and_page() {
    for seed in 0..60 {
        let (mut dice, mut rig) = (Dice(seed), Rig::memory());
        let mut entries: Vec<Message> = Vec::new();
        for seq in 1..=120 {
            let target = dice.below(seq) + 1;
            let is_message = |seq: u64| {
                entries.get(seq as usize - 1).is_some_and(|message| !message.is_action())
            };
            let emoji = ["👍", "🎉", "x"][dice.below(3) as usize];
            let next = match dice.below(8) {
                0..=2 if is_message(target) => {
                    entry(seq, target, MessageType::React, emoji, dice.below(3) == 0)
                }
                3 | 4 if is_message(target) => entry(seq, target, MessageType::Edit, "", false),
                5 if is_message(target) && dice.below(3) == 0 => {
                    entry(seq, target, MessageType::Revoke, "", false)
                }
                _ => message("c", seq),
            };
            rig.commit(vec![rig.ordered(next.clone())]);
            entries.push(next);
            if dice.below(25) == 0 {
                rig.ingest();
            }
        }
        let expected = naive(&entries);
        for seq in [0, 1, 60, 119, 120] {
            let later = entries.iter().filter(|entry| entry.seq > seq && entry.is_action());
            let counted = rig.index.actions_after("c", seq).expect("read");
            assert_eq!(counted, later.count() as u64, "seed {seed}, after {seq}");
        }
        for limit in [1, 7, 200] {
            let mut read: Vec<Message> = Vec::new();
            loop {
                let after = read.last().map_or(0, |message| message.seq);
                let page = rig.index.messages("c", after, limit).expect("read");
                read.extend(page.items);
                if !page.more {
                    break;
                }
            }
            assert_eq!(read, expected, "seed {seed}, pages of {limit}");
        }
    }
}

#[test]
fn a_reference_finds_what_its_sender_may_read() {
    let mut rig = Rig::memory();
    rig.commit(vec![rig.created("c"), rig.created("d")]);
    rig.commit(vec![rig.message("c", 1), rig.message("c", 2)]);
    rig.commit(vec![rig.ordered(entry(3, 1, MessageType::React, "x", false))]);
    rig.commit(vec![rig.ordered(entry(4, 2, MessageType::Revoke, "", false))]);
    rig.sent.take_records();
    let references = References {
        index: Arc::clone(&rig.index),
        injector: Arc::clone(&rig.sent) as Arc<dyn Injector>,
    };
    let ask = |user: &str, from: &str, seq: u64| {
        let session = Session {
            number: 1,
            user_id: user.into(),
            device_id: "phone".into(),
            scopes: Scopes::default(),
        };
        let origin = wire::Origin { conversation_id: from.into(), seq, ..Default::default() };
        let send = wire::Send {
            conversation_id: "d".into(),
            forward_of: Some(origin.into()),
            ..Default::default()
        };
        let submission = Submission::new(rig.ticket(1), Arc::new(session), send);
        references.answer(2, vec![Record::Reference(Arc::new(submission))]);
        match &rig.sent.take_records()[..] {
            [(2, REFERENTS, Record::Referent(referent))] => referent.target.clone(),
            other => panic!("{other:?}"),
        }
    };
    let found = |seq| ask("alice", "c", seq).expect("she is a member");
    let Some(Target { message, reactions }) = found(1) else { panic!("it is there") };
    assert_eq!(
        (message.seq, reactions, message.amended.as_ref().map(|it| it.edits)),
        (1, 1, Some(0))
    );
    assert!(found(2).is_some_and(|target| target.message.is_revoked()));
    assert!(found(3).is_some_and(|target| target.message.is_action()));
    assert_eq!((found(0), found(5)), (None, None));
    let code = |user: &str, from: &str| ask(user, from, 1).expect_err("refused").code();
    assert_eq!(code("eve", "c"), wire::ErrorCode::NotAMember);
    assert_eq!(code("alice", "nowhere"), wire::ErrorCode::UnknownConversation);
}
