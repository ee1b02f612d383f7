//! Whoever follows the log meets each record once, in order, wherever they begin and however little they take.

use imflow_kind::Bookmark;

use super::*;

/// The LSNs of at most `limit` records behind a bookmark.
fn read(rig: &Rig, bookmark: &mut Bookmark, limit: usize) -> Result<Vec<u64>, LogError> {
    let mut lsns = Vec::new();
    let upto = rig.index.lag().committed;
    rig.index.segments.read_on(bookmark, upto, &mut |record| {
        lsns.push(record.lsn);
        Ok(lsns.len() < limit)
    })?;
    Ok(lsns)
}

/// A log of so many messages, three in a commit, over several segments.
fn log(messages: u64) -> Rig {
    let mut rig = Rig::memory();
    for first in (1..=messages).step_by(3) {
        let seqs = first..=messages.min(first + 2);
        rig.commit(seqs.map(|seq| rig.message("c", seq)).collect());
    }
    rig
}

#[test]
fn each_record_is_met_once_from_any_place_and_over_the_borders_of_segments() {
    let rig = log(60);
    assert!(rig.index.segments.numbers().len() > 3, "the test needs several segments");
    for after in 0..=60 {
        for limit in 1..8 {
            let (mut bookmark, mut met) = (Bookmark::behind(after), Vec::new());
            loop {
                let some = read(&rig, &mut bookmark, limit).expect("whole");
                assert!(some.len() <= limit);
                if some.is_empty() {
                    break;
                }
                met.extend(some);
                assert_eq!(Some(&bookmark.lsn), met.last());
            }
            assert_eq!(met, (after + 1..=60).collect::<Vec<_>>(), "after {after}, limit {limit}");
        }
    }
}

#[test]
fn who_stands_at_the_end_meets_what_is_committed_next() {
    let mut rig = log(5);
    let mut bookmark = Bookmark::default();
    assert_eq!(read(&rig, &mut bookmark, 100).expect("whole"), [1, 2, 3, 4, 5]);
    for seq in 6..40 {
        assert!(read(&rig, &mut bookmark, 100).expect("whole").is_empty());
        rig.commit(vec![rig.message("c", seq)]);
        assert_eq!(read(&rig, &mut bookmark, 100).expect("whole"), [seq]);
    }
}

#[test]
fn damage_is_told_and_never_passed_over() {
    let rig = log(60);
    let mut bookmark = Bookmark::default();
    read(&rig, &mut bookmark, 10).expect("whole");
    let (segment, at) = bookmark.place.expect("the log has said");
    let name = crate::log::segments::name(segment);
    let file = rig.storage.files.open(&name).expect("there");
    let mut byte = [0];
    // In the next record, behind its head.
    file.read_at(&mut byte, at + 40).expect("inside");
    file.write_at(&[byte[0] ^ 1], at + 40).expect("inside");
    for mut bookmark in [bookmark, Bookmark::behind(10)] {
        let error = read(&rig, &mut bookmark, 10).expect_err("record 11 is damaged").to_string();
        assert!(error.contains(&name) && error.contains("record 11"), "{error}");
        assert_eq!(bookmark.lsn, 10);
    }
}
