//! The timeline of a log that was cut, with an archive behind it, is that of one that was not.

use imflow_kind::{Archive, Logged, Store, place_of};
use imflow_proto::record::{Ask, Committed, Query};
use imflow_proto::wire::{Action, MessageType, Messages, Place, Timeline};

use super::*;
use crate::follower::kept::Kept;
use crate::reader::answer::answer;
use crate::reader::layers::Layers;

/// Three conversations, which often share their time: one that has been still for long, one that goes on, and
/// one that came late. Some entries act on earlier ones.
fn story() -> Vec<Message> {
    let mut seqs = std::collections::BTreeMap::<&str, u64>::new();
    let entry = |n: u64| {
        let id = match n {
            ..60 if n.is_multiple_of(3) => "still",
            120.. if n.is_multiple_of(2) => "young",
            _ => "busy",
        };
        let seq = seqs.entry(id).or_default();
        *seq += 1;
        let mut entry = message(id, *seq);
        entry.client_msg_id = format!("alice-phone-{n}-1");
        entry.r#type = MessageType::Text.into();
        entry.created_at = 1_000 + n as i64 / 3;
        let act = match n % 11 {
            5 if *seq > 30 => Some((MessageType::Revoke, *seq - 30)),
            7 if *seq > 1 => Some((MessageType::Edit, *seq - 1)),
            _ => None,
        };
        if let Some((kind, target_seq)) = act {
            entry.r#type = kind.into();
            entry.action = Some(Action { target_seq, ..Action::default() }.into());
        }
        entry
    };
    (1..=170).map(entry).collect()
}

/// A log with all of it, one that was cut, and an archive. Alice sees `busy` from some seq on.
fn whole_cut_and_archive() -> (Rig, Rig, Kept) {
    let (story, kept) = (story(), Kept::default());
    let mut rigs = [Rig::memory(), Rig::memory()];
    for rig in &mut rigs {
        for id in ["still", "young"] {
            rig.commit(vec![rig.created(id)]);
        }
        let created = ConversationCreated { history_since_join: true, ..Default::default() };
        let change = Some(FactChange::Created(created));
        let fact = Fact { conversation_id: "busy".into(), at: 1, change, ..Fact::default() };
        rig.commit(vec![rig.change(&Arc::new(fact))]);
        for (n, entry) in story.iter().enumerate() {
            if n == 20 {
                let set = vec![MemberInfo { user_id: "alice".into(), role: 1 }];
                let change = imflow_proto::log::MembersChanged { set, ..Default::default() };
                let change = Some(FactChange::Members(change));
                let fact = Fact { conversation_id: "busy".into(), change, ..Fact::default() };
                rig.commit(vec![rig.change(&Arc::new(fact))]);
            }
            rig.commit(vec![rig.ordered(entry.clone())]);
        }
        rig.ingest();
    }
    let record = |(lsn, entry): (u64, &Message)| {
        Logged::Message(Box::new(Committed::recovered(lsn, entry.clone())))
    };
    kept.take(&(1..).zip(&story).map(record).collect::<Vec<_>>());
    let [whole, mut cut] = rigs;
    cut.ingester.trim.keep = Keep { bytes: 2 * SIZES.segment, ..Keep::default() };
    cut.snapshots.save(0, cut.index.lag().committed, b"state");
    cut.ingester.trim();
    assert_eq!(cut.index.removed_up_to("still").expect("read"), 19, "all of it");
    assert!(cut.index.removed_up_to("busy").expect("read") > 60);
    (whole, cut, kept)
}

fn read(layers: &Layers<'_>, timeline: Timeline) -> Messages {
    let scopes = Scopes { read: true, ..Scopes::default() };
    let (user_id, device_id) = ("alice".into(), "phone".into());
    let session = Arc::new(Session { number: 1, user_id, device_id, scopes });
    let ticket = Arc::new(Answers::default()).ticket(1);
    match answer(layers, None, &Query { ticket, session, ask: Ask::Timeline(timeline) }) {
        Body::Messages(page) => page,
        other => panic!("{other:?}"),
    }
}

fn place(message: &Message) -> Place {
    let (created_at, id, seq) = place_of(message);
    Place { created_at, conversation_id: id.into(), seq }
}

#[test]
fn the_timeline_of_a_cut_log_with_its_archive_is_that_of_one_never_cut() {
    let (whole, cut, archive) = whole_cut_and_archive();
    let whole = Layers::log_alone(&*whole.index);
    let layers = Layers::new(&*cut.index, Some(&archive as &dyn Archive));
    let all = read(&whole, Timeline { limit: 200, ..Timeline::default() }).items;
    assert_eq!(all.len(), 170 - 14, "what came before she joined is not hers");
    let timed = (995..1_060).map(|at| Place { created_at: at, ..Place::default() });
    let places: Vec<Option<Place>> =
        all.iter().map(place).chain(timed).map(Some).chain([None]).collect();
    for limit in [1, 3, 20, 200] {
        for at in &places {
            for forwards in [false, true] {
                let (after, before) =
                    if forwards { (at.clone(), None) } else { (None, at.clone()) };
                let asked = Timeline { after, before, limit };
                let (wanted, read) = (read(&whole, asked.clone()), read(&layers, asked.clone()));
                assert!(read.items == wanted.items, "{asked:?}");
                // That the archive has more shows when it is asked.
                assert!(read.more == wanted.more, "{asked:?}");
            }
        }
    }
}

#[test]
fn the_newest_messages_wait_for_no_archive() {
    let (_whole, cut, archive) = whole_cut_and_archive();
    let elsewhere = Layers::new(&*cut.index, None);
    let page = read(&elsewhere, Timeline { limit: 5, ..Timeline::default() });
    assert_eq!((page.items.len(), page.more, elsewhere.is_wanted()), (5, true, false));
    let after = Some(place(&page.items[0]));
    let later = Timeline { after, ..Timeline::default() };
    assert_eq!((read(&elsewhere, later).items.len(), elsewhere.is_wanted()), (4, false));
    archive.put_away(true);
    let layers = Layers::new(&*cut.index, Some(&archive as &dyn Archive));
    assert_eq!(read(&layers, Timeline { limit: 5, ..Timeline::default() }), page);
}

#[test]
fn what_only_an_archive_has_is_wanted_from_it() {
    let (_whole, cut, _archive) = whole_cut_and_archive();
    let elsewhere = Layers::new(&*cut.index, None);
    let scopes = Scopes { read: true, ..Scopes::default() };
    let (user_id, device_id) = ("alice".into(), "phone".into());
    let session = Arc::new(Session { number: 1, user_id, device_id, scopes });
    let ticket = Arc::new(Answers::default()).ticket(1);
    let ask = Ask::Timeline(Timeline { limit: 200, ..Timeline::default() });
    answer(&elsewhere, None, &Query { ticket, session, ask });
    assert!(elsewhere.is_wanted());
    // Without an archive the timeline ends where the log does.
    let alone =
        read(&Layers::log_alone(&*cut.index), Timeline { limit: 200, ..Timeline::default() });
    assert!(!alone.more && alone.items.iter().all(|message| message.conversation_id != "still"));
}
