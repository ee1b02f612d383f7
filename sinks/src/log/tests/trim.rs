//! The oldest segments go, and what is left is whole: seqs, facts, repeats, restarts, with the index or
//! without.

use imflow_kind::Store as _;

use super::*;
use crate::log::segments;

/// A log of two conversations over many segments, its tables following, with `keep` of it.
fn filled(keep: Keep) -> (Rig, Arc<Memory>) {
    let files = Arc::new(Memory::default());
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    rig.ingester.trim.keep = keep;
    rig.commit(vec![rig.created("c"), rig.created("old")]);
    rig.commit(vec![rig.message("old", 1), rig.message("old", 2)]);
    for seq in 1..=60 {
        rig.commit(vec![rig.message("c", seq)]);
    }
    rig.ingest();
    (rig, files)
}

fn last_lsn(rig: &Rig) -> u64 {
    rig.index.lag().committed
}

/// Everything that a reader may ask, of a log whose conversation `c` begins behind `floor`.
fn assert_whole(rig: &Rig, floor: u64) {
    let page = rig.index.messages("c", 0, 1_000).expect("read");
    assert!(page.items.iter().map(|message| message.seq).eq(floor + 1..=60));
    assert_eq!((page.removed_up_to_seq, page.more), (floor, false));
    let inside = rig.index.messages("c", floor + 1, 1_000).expect("read");
    assert_eq!((inside.items.len() as u64, inside.removed_up_to_seq), (59 - floor, 0));
    let old = rig.index.messages("old", 0, 10).expect("read");
    assert_eq!((old.items, old.removed_up_to_seq), (Vec::new(), 2));
    for (id, last_seq) in [("c", 60), ("old", 2)] {
        let view = rig.index.conversation(id, "alice").expect("read").expect("there");
        assert_eq!((view.info.last_seq, view.info.member_count), (last_seq, 1), "{id}");
    }
    let by_id = |seq| rig.index.by_client_msg_id("c", "alice", &format!("alice-phone-{seq}-1"));
    assert!(by_id(floor).expect("read").is_none() && by_id(floor + 1).expect("read").is_some());
}

/// The seq below which `c` was cut.
fn floor(rig: &Rig) -> u64 {
    rig.index.messages("c", 0, 1).expect("read").removed_up_to_seq
}

#[test]
fn the_log_is_cut_to_its_size_when_snapshots_cover_it_and_opens_whole() {
    let (mut rig, files) = filled(Keep { bytes: 2 * SIZES.segment, ..Keep::default() });
    let all = rig.index.segments.numbers().len();
    rig.ingester.trim();
    assert_eq!(rig.index.segments.numbers().len(), all, "no snapshot covers what would go");
    rig.snapshots.save(0, last_lsn(&rig), b"state");
    rig.ingester.trim();
    assert_eq!(rig.index.segments.numbers().len(), 2);
    assert!(!files.list().expect("listed").contains(&segments::name(1)));
    let floor = floor(&rig);
    assert!(floor > 20);
    assert_whole(&rig, floor);

    let tables = Arc::clone(&rig.storage.tables);
    drop(rig);
    for tables in [tables, Arc::new(MemoryTables::default())] {
        let mut rig = Rig::open(Arc::new(files.copy()), tables).expect("opened");
        assert_whole(&rig, floor);
        rig.commit(vec![rig.message("c", 61), rig.message("old", 3)]);
        assert_eq!(rig.index.last_seq("old").expect("read"), 3);
    }
}

#[test]
fn segments_go_when_all_in_them_is_older_than_keep() {
    let (mut rig, _) = filled(Keep { time: Duration::from_secs(10), ..Keep::default() });
    rig.snapshots.save(0, last_lsn(&rig), b"state");
    // Message n is of the time 1,000 + n.
    rig.clock.advance_to(11_002);
    rig.ingester.trim();
    assert_eq!(floor(&rig), 0);
    rig.clock.advance_to(11_030);
    rig.ingester.trim();
    let cut = floor(&rig);
    assert!((10..30).contains(&cut), "{cut}");
    assert_whole(&rig, cut);
    rig.clock.advance_to(1 << 40);
    rig.ingester.trim();
    assert!(floor(&rig) > cut && floor(&rig) < 60, "the segment that is written stays");
}

#[test]
fn a_cut_that_a_crash_interrupts_is_finished_by_the_next_start() {
    let (mut rig, files) = filled(Keep { bytes: 2 * SIZES.segment, ..Keep::default() });
    rig.snapshots.save(0, last_lsn(&rig), b"state");
    let (before, tables) = (files.copy(), rig.storage.tables.clone());
    let untouched = Arc::new(MemoryTables::default());
    copy_rows(&*tables, &untouched);
    rig.ingester.trim();
    let floor = floor(&rig);
    // The base was written, and nothing else.
    let base = files.read("BASE").expect("read").expect("there");
    before.replace("BASE", &base).expect("written");
    drop(rig);
    for tables in [untouched as Arc<dyn Tables>, Arc::new(MemoryTables::default())] {
        let rig = Rig::open(Arc::new(before.copy()), tables).expect("opened");
        assert_eq!(rig.index.segments.numbers().len(), 2);
        assert_whole(&rig, floor);
    }
}

#[test]
fn what_was_cut_is_not_taken_for_lost_and_what_was_lost_not_for_cut() {
    let (mut rig, files) = filled(Keep { bytes: 2 * SIZES.segment, ..Keep::default() });
    rig.snapshots.save(0, last_lsn(&rig), b"state");
    rig.ingester.trim();
    let first = rig.index.segments.numbers()[0];
    let tables = Arc::clone(&rig.storage.tables);
    drop(rig);
    let copy = files.copy();
    copy.remove(&segments::name(first)).expect("there");
    let refused = Rig::open(Arc::new(copy), Arc::clone(&tables)).err().expect("lost").to_string();
    assert!(refused.contains(&segments::name(first)) && refused.contains("missing"), "{refused}");
    let copy = files.copy();
    copy.remove("BASE").expect("there");
    let refused = Rig::open(Arc::new(copy), tables).err().expect("no base").to_string();
    assert!(refused.contains(&segments::name(1)) && refused.contains("missing"), "{refused}");
}

fn copy_rows(from: &dyn Tables, to: &MemoryTables) {
    use crate::log::index::Table;
    for table in [Table::Messages, Table::Ids, Table::Directory] {
        let mut rows = Vec::new();
        from.scan(table, b"", &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .expect("scanned");
        to.ingest(table, &mut rows.into_iter()).expect("taken");
    }
}
