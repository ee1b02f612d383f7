//! What every store of messages must do, whatever it is made of: one suite that each passes.
//!
//! A naive model in memory says what is right.

use std::ops::Range;
use std::sync::Arc;

use imflow_proto::id::first_server_msg_id_at;
use imflow_proto::log::fact::Change;
use imflow_proto::log::{ConversationCreated, Erased, Fact, MembersChanged};
use imflow_proto::record::{Committed, CommittedFact, Lsn};
use imflow_proto::wire::{Action, MemberInfo, Message, MessageType, Origin, Place};

use crate::{Archive, Logged, Side, Spans, place_of};

/// A store under test.
pub trait Subject {
    /// Writes records that follow each other in the log. Those up to `again` may have been written before, and
    /// are given once more since a crash came before that was noted.
    fn write(&mut self, records: &[Logged], again: Lsn);

    /// Its reading side.
    fn archive(&self) -> Arc<dyn Archive>;

    /// Makes it that time: what is old goes where old messages are kept.
    fn age(&mut self, now_ms: i64);
}

const DAY_MS: i64 = 86_400_000;
/// 2026-01-01T00:00:00Z
const BEGIN_MS: i64 = 1_767_225_600_000;
/// A message a day in each conversation.
const DAYS: u64 = 150;
const CONVERSATIONS: [&str; 3] = ["c1", "c2", "群聊"];

/// Passes when the stores that `make` gives, each a new and empty one, do what they must.
///
/// # Panics
/// When one does not.
pub fn conforms(make: &mut dyn FnMut() -> Box<dyn Subject>) {
    what_is_written_is_read_whole(&mut *make());
    who_has_the_seq_keeps_it(&mut *make());
    written_in_parts_and_twice_it_is_the_same(&mut *make());
    ranges_and_times_are_as_the_model_says_at_every_age(&mut *make());
    what_acts_on_a_message_is_found(&mut *make());
    what_a_fact_erases_is_empty_and_what_comes_later_is_not(&mut *make());
    a_timeline_merges_conversations_by_time_at_every_age(&mut *make());
    what_a_user_wrote_is_found_at_every_age(&mut *make());
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn record(lsn: Lsn, message: Message) -> Logged {
    Logged::Message(Box::new(Committed::recovered(lsn, message)))
}

/// A message of alice that its place in the log and its time make unique.
pub fn message(lsn: Lsn, conversation: &str, seq: u64, at_ms: i64) -> Message {
    Message {
        conversation_id: conversation.into(),
        seq,
        server_msg_id: first_server_msg_id_at(at_ms) + lsn as i64,
        client_msg_id: format!("alice-phone-{lsn}-{at_ms}"),
        sender_id: "alice".into(),
        r#type: MessageType::Text.into(),
        text: format!("number {lsn}, 你好"),
        created_at: at_ms,
        ..Message::default()
    }
}

/// A message a day in each conversation, one after the other; some share their time.
fn story() -> Vec<Message> {
    let mut lsn = 0;
    let mut story = Vec::new();
    for day in 1..=DAYS {
        for id in CONVERSATIONS {
            lsn += 1;
            let day = if day % 10 == 0 { day - 1 } else { day };
            story.push(message(
                lsn,
                id,
                story.len() as u64 / 3 + 1,
                BEGIN_MS + day as i64 * DAY_MS,
            ));
        }
    }
    story
}

fn records(story: &[Message]) -> Vec<Logged> {
    (1..).zip(story).map(|(lsn, message)| record(lsn, message.clone())).collect()
}

/// All that a store has of a conversation.
fn all(archive: &dyn Archive, id: &str) -> Vec<Message> {
    archive.first(id, 0..u64::MAX, 10_000).expect("read")
}

fn what_is_written_is_read_whole(store: &mut dyn Subject) {
    let mut whole = message(1, "c1", 1, BEGIN_MS);
    whole.payload = vec![0, 1, 255].into();
    whole.mentions = vec!["bob".into()];
    (whole.mention_all, whole.reply_to) = (true, 7);
    let mut edit = message(2, "c1", 2, BEGIN_MS + 1);
    edit.r#type = MessageType::Edit.into();
    edit.action = Some(
        Action { target_seq: 1, target_sender_id: "alice".into(), ..Action::default() }.into(),
    );
    store.write(&records(&[whole.clone(), edit.clone()]), 0);
    assert_eq!(all(&*store.archive(), "c1"), [whole, edit]);
    assert_eq!(all(&*store.archive(), "c2"), []);
}

fn who_has_the_seq_keeps_it(store: &mut dyn Subject) {
    let first = message(1, "c1", 1, BEGIN_MS);
    store.write(&records(std::slice::from_ref(&first)), 0);
    let mut other = message(1, "c1", 1, BEGIN_MS + 5);
    (other.server_msg_id, other.text) = (first.server_msg_id + 77, "of another owner".into());
    store.write(&[record(1, other)], 1);
    let second = message(2, "c1", 2, BEGIN_MS + 6);
    store.write(&[record(2, second.clone())], 0);
    assert_eq!(all(&*store.archive(), "c1"), [first, second]);
}

fn written_in_parts_and_twice_it_is_the_same(store: &mut dyn Subject) {
    let story = story();
    let records = records(&story);
    // Each part begins before the end of the one before, or at it.
    let mut written = 0;
    for end in [1, 2, 40, 41, 200, 333, records.len()] {
        let begin = written - written / 3;
        store.write(&records[begin..end], written as Lsn);
        written = end;
    }
    let read = |store: &dyn Subject| CONVERSATIONS.map(|id| all(&*store.archive(), id));
    let once = read(store);
    for (id, read) in CONVERSATIONS.iter().zip(&once) {
        let of: Vec<_> = story.iter().filter(|m| m.conversation_id == *id).cloned().collect();
        assert_eq!(read, &of, "{id}");
    }
    store.write(&records, records.len() as Lsn);
    assert!(read(store) == once, "again from the first on");
    store.age(BEGIN_MS + 100 * DAY_MS);
    store.write(&records, records.len() as Lsn);
    assert!(read(store) == once, "and again when some had moved");
    store.age(BEGIN_MS + 101 * DAY_MS);
    assert!(read(store) == once, "and moved anew");
}

fn ranges_and_times_are_as_the_model_says_at_every_age(store: &mut dyn Subject) {
    let story = story();
    store.write(&records(&story), 0);
    let mut dice = Dice(1);
    let mut below = |bound: u64| dice.below(bound);
    for age in [0, 35, 64, 95, 140, 179] {
        store.age(BEGIN_MS + age * DAY_MS);
        let archive = store.archive();
        for _ in 0..25 {
            let id = CONVERSATIONS[below(3) as usize];
            let of = story.iter().filter(|message| message.conversation_id == id);
            let of: Vec<&Message> = of.collect();
            let (start, limit) = (below(DAYS + 10), below(60) as usize + 1);
            let range = start..start + below(DAYS);
            let told = |read: &[Message]| read.iter().map(|m| m.seq).collect::<Vec<_>>();
            let first = archive.first(id, range.clone(), limit).expect("read");
            assert_eq!(
                told(&first),
                of_range(&of, &range).take(limit).collect::<Vec<_>>(),
                "{range:?}, {limit}, day {age}"
            );
            let last = archive.last(id, range.clone(), limit).expect("read");
            let mut wanted: Vec<u64> = of_range(&of, &range).rev().take(limit).collect();
            wanted.reverse();
            assert_eq!(told(&last), wanted, "the last of {range:?}, {limit}, day {age}");
            assert!(first.iter().all(|read| of.contains(&read)), "whole");
            let time = BEGIN_MS + below(DAYS + 10) as i64 * DAY_MS + below(2) as i64;
            let earlier = of.iter().filter(|m| m.created_at < time && m.seq < range.end);
            let wanted = earlier.map(|m| m.seq).max().unwrap_or(0);
            assert_eq!(
                archive.seq_before(id, time, range.end).expect("read"),
                wanted,
                "{time}, day {age}"
            );
        }
    }
}

fn of_range<'m>(
    of: &'m [&Message],
    range: &'m Range<u64>,
) -> impl DoubleEndedIterator<Item = u64> + 'm {
    of.iter().map(|message| message.seq).filter(|seq| range.contains(seq))
}

fn what_acts_on_a_message_is_found(store: &mut dyn Subject) {
    let mut story = Vec::new();
    for seq in 1..=60 {
        let mut message = message(seq, "c1", seq, BEGIN_MS + seq as i64 * DAY_MS);
        if seq % 4 == 0 {
            message.r#type =
                [MessageType::Edit, MessageType::Revoke][(seq / 4 % 2) as usize].into();
            message.action = Some(Action { target_seq: seq / 8, ..Action::default() }.into());
        }
        story.push(message);
    }
    store.write(&records(&story), 0);
    for age in [0, 50, 75, 150] {
        store.age(BEGIN_MS + age * DAY_MS);
        let archive = store.archive();
        let about = |targets: &[u64], end| {
            let found = archive.about("c1", targets, end, 100).expect("read");
            let mut seqs: Vec<u64> = found.iter().map(|entry| entry.seq).collect();
            seqs.sort_unstable();
            assert!(found.iter().all(|entry| story.contains(entry)));
            seqs
        };
        assert_eq!(about(&[1], 61), [8, 12], "day {age}");
        assert_eq!(about(&[2, 5, 99], 61), [16, 20, 40, 44], "day {age}");
        assert_eq!(about(&[2, 5, 99], 44), [16, 20, 40], "day {age}");
        assert_eq!(about(&[33], 61), Vec::<u64>::new(), "day {age}");
    }
}

fn what_a_fact_erases_is_empty_and_what_comes_later_is_not(store: &mut dyn Subject) {
    const BEFORE: u64 = 60;
    let said = |lsn: u64, seq: u64| {
        let mut message = message(lsn, "c1", seq, BEGIN_MS + seq as i64 * DAY_MS);
        if seq.is_multiple_of(2) {
            message.sender_id = "bob".into();
        }
        if seq == 10 {
            let (conversation_id, sender_id) = ("c2".into(), "alice".into());
            message.forward_of = Some(Origin { conversation_id, seq: 1, sender_id }.into());
        }
        if seq == 21 {
            message.text.clear();
            message.r#type = MessageType::React.into();
            let emoji = "secret".into();
            message.action = Some(Action { target_seq: 2, emoji, ..Action::default() }.into());
        }
        record(lsn, message)
    };
    let change = Some(Change::Erased(Erased { user_id: "alice".into() }));
    let at = BEGIN_MS + BEFORE as i64 * DAY_MS;
    let fact = Arc::new(Fact { at, change, ..Fact::default() });
    let mut all: Vec<Logged> = (1..=BEFORE).map(|seq| said(seq, seq)).collect();
    store.write(&all, 0);
    // Some lie where old messages are kept.
    store.age(BEGIN_MS + 50 * DAY_MS);
    all.push(Logged::Fact(CommittedFact { lsn: BEFORE + 1, fact }));
    all.extend((1..=4).map(|n| said(BEFORE + 1 + n, BEFORE + n)));
    store.write(&all[BEFORE as usize..], 0);
    for again in [false, true] {
        if again {
            store.write(&all[BEFORE as usize - 5..], all.len() as Lsn);
        }
        store.age(BEGIN_MS + 70 * DAY_MS);
        let archive = store.archive();
        let read = self::all(&*archive, "c1");
        assert!(read.iter().map(|message| message.seq).eq(1..=BEFORE + 4));
        for message in read {
            let hers = message.sender_id == "alice" || message.seq == 10;
            let is_meant = hers && message.seq <= BEFORE;
            assert_eq!(message.is_erased(), is_meant, "{message:?}");
            assert_eq!(message.text.is_empty(), is_meant, "{message:?}");
            let emoji = message.action.is_some_and(|action| !action.emoji.is_empty());
            assert!(!emoji && (!is_meant || message.forward_of.is_none()), "{}", message.seq);
        }
    }
}

fn members(users: &[&str]) -> Vec<MemberInfo> {
    users.iter().map(|user| MemberInfo { user_id: (*user).into(), role: 1 }).collect()
}

/// Conversations of alice's: small, large, one that she came to late, and one that she left.
const HERS: [&str; 4] = ["few", "late", "left", "many"];

/// Their facts and messages, which often share their time. With the facts come messages that alice does not see
/// as a member.
fn shared_story() -> (Vec<Logged>, Vec<Message>) {
    let fact = |lsn, id: &str, change| {
        let (conversation_id, change) = (id.to_owned(), Some(change));
        let fact = Arc::new(Fact { conversation_id, at: BEGIN_MS, change, ..Fact::default() });
        Logged::Fact(CommittedFact { lsn, fact })
    };
    let changed = |set: &[&str], removed: &[&str]| {
        let removed = removed.iter().map(|user| (*user).to_owned()).collect();
        Change::Members(MembersChanged { set: members(set), removed })
    };
    let (mut records, mut story, mut seqs) = (Vec::new(), Vec::new(), [0; 4]);
    for (lsn, id) in (1..).zip(HERS) {
        let of: &[&str] = match id {
            "late" => &["bob"],
            "many" => &["alice", "bob", "carol", "dave", "eve", "frank"],
            _ => &["alice", "bob"],
        };
        let created = ConversationCreated { members: members(of), ..Default::default() };
        records.push(fact(lsn, id, Change::Created(created)));
    }
    let mut dice = Dice(2);
    for n in 0..240 {
        let lsn = records.len() as Lsn + 1;
        match n {
            100 => records.push(fact(lsn, "late", changed(&["alice"], &[]))),
            150 => records.push(fact(lsn, "left", changed(&[], &["alice"]))),
            _ => {
                let of = dice.below(4) as usize;
                seqs[of] += 1;
                let message =
                    message(lsn, HERS[of], seqs[of], BEGIN_MS + n as i64 / 7 * 2 * DAY_MS);
                records.push(record(lsn, message.clone()));
                story.push(message);
            }
        }
    }
    (records, story)
}

fn a_timeline_merges_conversations_by_time_at_every_age(store: &mut dyn Subject) {
    let (records, story) = shared_story();
    store.write(&records, 0);
    let mut dice = Dice(3);
    for age in [0, 33, 70, 110] {
        store.age(BEGIN_MS + age * DAY_MS);
        let archive = store.archive();
        for round in 0..30 {
            let mut spans = Spans::new();
            for id in HERS {
                if dice.below(5) > 0 {
                    let start = dice.below(20);
                    spans.insert(id.to_owned(), start..start + 5 + dice.below(70));
                }
            }
            let any = &story[dice.below(story.len() as u64) as usize];
            let place = match round {
                0 => Place::default(),
                1 => Place { created_at: i64::MAX, ..Place::default() },
                2..10 => Place { created_at: any.created_at, ..Place::default() },
                _ => Place {
                    created_at: any.created_at,
                    conversation_id: any.conversation_id.clone(),
                    seq: any.seq,
                },
            };
            let limit = 1 + dice.below(if round % 2 == 0 { 12 } else { 90 }) as usize;
            for side in [Side::After, Side::Before] {
                let in_spans = |message: &&Message| {
                    let span = spans.get(&message.conversation_id);
                    span.is_some_and(|span| span.contains(&message.seq))
                        && side.has(place_of(message), &place)
                };
                let mut wanted: Vec<Message> = story.iter().filter(in_spans).cloned().collect();
                side.nearest(&mut wanted, limit);
                let read = archive.timeline("alice", &spans, (side, &place), limit).expect("read");
                let told = |read: &[Message]| {
                    read.iter().map(|m| (m.conversation_id.clone(), m.seq)).collect::<Vec<_>>()
                };
                let what = format!("{limit} {side:?} {place:?} of {spans:?}, day {age}");
                assert_eq!(told(&read), told(&wanted), "{what}");
                assert!(read == wanted, "whole: {what}");
            }
        }
    }
}

fn what_a_user_wrote_is_found_at_every_age(store: &mut dyn Subject) {
    let mut story = story();
    for (n, message) in story.iter_mut().enumerate() {
        message.sender_id = ["alice", "bob", "bob", "carol"][n % 4].into();
    }
    store.write(&records(&story), 0);
    for age in [0, 50, 100] {
        store.age(BEGIN_MS + age * DAY_MS);
        for (range, limit) in [(0..999, 999), (0..999, 7), (20..90, 40), (140..145, 9)] {
            let is_wanted = |message: &&Message| {
                let is_hers = message.sender_id == "alice" && message.conversation_id == "c1";
                is_hers && range.contains(&message.seq)
            };
            let wanted: Vec<Message> =
                story.iter().filter(is_wanted).take(limit).cloned().collect();
            let read = store.archive().written("c1", "alice", range.clone(), limit).expect("read");
            assert!(read == wanted, "{limit} of {range:?}, day {age}");
        }
        assert_eq!(store.archive().written("c1", "eve", 0..999, 9).expect("read"), []);
    }
}
