//! Old segments move to a folder of their own, and nobody notices.

use std::path::Path;

use imflow_kind::Store as _;

use super::*;
use crate::log::files::Disk;

const LAST: u64 = 60;

fn rig(folder: &Path) -> Rig {
    let files = Arc::new(Disk::open(folder.join("log")).expect("made"));
    let mut rig = Rig::open(files, Arc::new(MemoryTables::default())).expect("opened");
    rig.ingester.cool.folder = Some(folder.join("cold"));
    rig
}

fn seqs(rig: &Rig) -> Vec<u64> {
    let page = rig.index.messages("c", 0, 1_000).expect("read");
    page.items.iter().map(|message| message.seq).collect()
}

fn cold(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("cold")).map_or(0, |files| files.count())
}

#[test]
fn old_segments_are_read_restarted_and_removed_from_where_they_were_moved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rig = rig(folder.path());
    rig.commit(vec![rig.created("c")]);
    for seq in 1..=LAST {
        rig.commit(vec![rig.message("c", seq)]);
    }
    rig.ingest();
    let all = rig.index.segments.numbers().len();
    // Message n is of the time 1,000 + n; the first segment has about twenty.
    rig.clock.advance_to(10_500);
    rig.ingester.cool();
    assert_eq!(cold(folder.path()), 0, "none is ten seconds old");
    rig.clock.advance_to(11_030);
    rig.ingester.cool();
    assert!((1..=3).contains(&cold(folder.path())), "{}", cold(folder.path()));
    rig.clock.advance_to(1 << 40);
    for _ in 0..all {
        rig.ingester.cool();
    }
    let moved = cold(folder.path());
    assert!(
        moved + 2 >= all && moved < all,
        "{moved} of {all}: those that are written and in memory stay"
    );
    assert_eq!(seqs(&rig), (1..=LAST).collect::<Vec<_>>());
    drop(rig);

    let mut rig = self::rig(folder.path());
    assert_eq!(seqs(&rig), (1..=LAST).collect::<Vec<_>>(), "the index is made anew from them");
    rig.ingester.trim.keep = Keep { bytes: 2 * SIZES.segment, ..Keep::default() };
    rig.snapshots.save(0, rig.index.lag().committed, b"state");
    rig.clock.advance_to(1 << 40);
    rig.commit((LAST + 1..=LAST + 20).map(|seq| rig.message("c", seq)).collect());
    rig.ingest();
    rig.ingester.trim();
    assert!(cold(folder.path()) < moved, "what is removed is removed there");
    let floor = rig.index.removed_up_to("c").expect("read");
    assert_eq!(seqs(&rig), (floor + 1..=LAST + 20).collect::<Vec<_>>());
}
