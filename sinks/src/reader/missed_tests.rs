use std::collections::BTreeMap;

use imflow_proto::log::Cursors;
use imflow_proto::record::Ask;
use imflow_proto::wire::envelope::Body;

use super::super::testing::{Dice, Shelf, any_shelf};
use super::*;

fn synced(shelf: &Shelf, ask: Ask) -> Synced {
    match shelf.ask(ask) {
        Body::Synced(synced) => synced,
        other => panic!("{other:?}"),
    }
}

/// Takes what an answer holds of each conversation; says which of them go on.
fn take(shelf: &mut BTreeMap<String, Vec<u64>>, synced: Synced) -> Vec<String> {
    let mut go_on = Vec::new();
    for conversation in synced.conversations {
        let seqs = shelf.entry(conversation.conversation_id.clone()).or_default();
        seqs.extend(conversation.items.iter().map(|message| message.seq));
        if conversation.more {
            go_on.push(conversation.conversation_id);
        }
    }
    go_on
}

fn follow(
    shelf: &Shelf,
    got: &mut BTreeMap<String, Vec<u64>>,
    from: &BTreeMap<String, u64>,
    mut open: Vec<String>,
) {
    while !open.is_empty() {
        let cursor = |id: &String| {
            let seq = got.get(id).and_then(|seqs| seqs.last()).copied();
            Cursor { seq: seq.unwrap_or(from[id]), conversation_id: id.clone() }
        };
        let cursors: Vec<_> = open.iter().map(cursor).collect();
        let before: usize = got.values().map(Vec::len).sum();
        open = take(got, synced(shelf, Ask::Sync(Sync { cursors })));
        assert!(
            open.is_empty() || got.values().map(Vec::len).sum::<usize>() > before,
            "it goes on"
        );
    }
}

#[test]
fn a_sync_and_its_continuation_give_each_message_once() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let shelf = any_shelf(&mut dice, 12 << 10);
        let from: BTreeMap<String, u64> = (shelf.messages.iter())
            .map(|(id, all)| (id.clone(), dice.below(all.len() + 2) as u64))
            .collect();
        let mut got = BTreeMap::new();
        follow(&shelf, &mut got, &from, from.keys().cloned().collect());
        for (id, seq) in &from {
            let expected: Vec<u64> = (seq + 1..=shelf.messages[id].len() as u64).collect();
            assert_eq!(got[id], expected, "seed {seed}: {id}");
        }
    }
}

#[test]
fn a_resume_and_its_continuation_give_each_message_once() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut shelf = any_shelf(&mut dice, 12 << 10);
        let mut from = BTreeMap::new();
        for (id, all) in &shelf.messages {
            let mut cursors = Cursors::default();
            let seq = dice.below(all.len() + 1) as u64;
            // Another device of the user counts for nothing.
            cursors.advance_device("other", all.len() as u64);
            cursors.advance_device("d", seq);
            shelf.cursors.insert(id.clone(), cursors);
            from.insert(id.clone(), seq);
        }
        let (mut got, mut open, mut after) = (BTreeMap::new(), Vec::new(), String::new());
        loop {
            let answer = synced(&shelf, Ask::Resume(Resume { after: after.clone() }));
            let mut answers = answer.conversations.iter();
            assert!(answers.all(|c| c.redelivered != c.items.is_empty()), "seed {seed}");
            let more = answer.more;
            after.clone_from(&answer.after);
            open.extend(take(&mut got, answer));
            if !more {
                break;
            }
        }
        follow(&shelf, &mut got, &from, open);
        for (id, seq) in &from {
            let expected: Vec<u64> = (seq + 1..=shelf.messages[id].len() as u64).collect();
            assert_eq!(got.get(id).cloned().unwrap_or_default(), expected, "seed {seed}: {id}");
        }
    }
}
