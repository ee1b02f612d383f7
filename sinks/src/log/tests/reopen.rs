//! An index whose store takes no more writes after one that failed works again without a restart, and
//! has lost nothing.

use std::sync::atomic::Ordering;

use imflow_kind::Store as _;

use super::ground::{Folder, Ground};
use super::*;
use crate::log::index::Reopening;

fn rig() -> (Rig, Arc<Ground>) {
    let ground = Arc::new(Ground::default());
    let tables = Reopening::open(Box::new(Folder(Arc::clone(&ground)))).expect("opened");
    (Rig::open(Arc::new(Memory::default()), Arc::new(tables)).expect("a new log"), ground)
}

/// Messages over several segments and facts between them.
fn fill(rig: &mut Rig, conversations: std::ops::Range<u64>) {
    for n in conversations {
        rig.commit(vec![rig.created(&format!("g{n}")), rig.message("c", n + 1)]);
    }
}

fn assert_whole(rig: &Rig, conversations: u64) {
    for n in 0..conversations {
        let view = rig.index.conversation(&format!("g{n}"), "alice").expect("read");
        assert!(view.is_some_and(|view| view.info.member_count == 1), "g{n} was forgotten");
    }
    let page = rig.index.messages("c", 0, 1_000).expect("read");
    assert!(page.items.iter().map(|message| message.seq).eq(1..=conversations));
    for seq in 1..=conversations {
        let id = format!("alice-phone-{seq}-1");
        assert!(rig.index.by_client_msg_id("c", "alice", &id).expect("read").is_some(), "{id}");
    }
}

#[test]
fn a_fact_that_the_index_could_not_take_is_applied_when_there_is_room_and_none_before_it_is_lost() {
    let (mut rig, ground) = rig();
    fill(&mut rig, 0..40);
    rig.ingest();
    // Applied but not durable in the tables: forgotten when they are opened anew.
    fill(&mut rig, 40..45);
    ground.full_for.store(5, Ordering::Release);
    fill(&mut rig, 45..60);
    assert!(!rig.gate.is_closed());
    assert_whole(&rig, 60);
}

#[test]
fn a_segment_that_the_index_could_not_take_is_moved_when_there_is_room() {
    for fails in 1..8 {
        let (mut rig, ground) = rig();
        fill(&mut rig, 0..60);
        ground.full_for.store(fails, Ordering::Release);
        for segment in rig.sealed.drain(..) {
            assert!(rig.ingester.take(&segment));
        }
        assert_whole(&rig, 60);
        assert_eq!(rig.index.directory.facts_lsn().expect("read"), 119);
    }
}

#[test]
fn an_index_that_cannot_be_opened_again_is_rebuilt_from_the_log() {
    let (mut rig, ground) = rig();
    fill(&mut rig, 0..60);
    rig.ingest();
    ground.full_for.store(2, Ordering::Release);
    ground.damaged.store(true, Ordering::Release);
    fill(&mut rig, 60..61);
    assert_whole(&rig, 61);
}

#[test]
fn reads_go_on_while_the_index_waits_for_room() {
    let (mut rig, ground) = rig();
    fill(&mut rig, 0..10);
    ground.full_for.store(u32::MAX, Ordering::Release);
    let record = rig.created("late");
    rig.committer.add(0, record);
    let group = rig.committer.commit().expect("a group");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.indexer.apply(&group).expect("nobody gives up"));
        while !rig.gate.is_closed() {
            std::thread::yield_now();
        }
        // Behind the log, which a reader otherwise waits for.
        assert_whole(&rig, 10);
        ground.full_for.store(0, Ordering::Release);
        waiting.join().expect("applied");
    });
    assert!(rig.index.conversation("late", "alice").expect("read").is_some());
    assert!(!rig.gate.is_closed());
}
