//! A log that was cut, with an archive behind it, reads as one that was not.

use std::ops::Range;

use imflow_kind::testing::archive::{Subject, conforms};
use imflow_kind::{Archive, Logged, Store, StoreError};
use imflow_proto::record::{Committed, Lsn};
use imflow_proto::wire::{Action, MessageType, Messages};

use super::*;
use crate::follower::kept::{Kept, Newest};
use crate::reader::cached::Cached;
use crate::reader::layers::Layers;

/// The log, as what a copy is to others.
struct Embedded(Rig);

struct Reads(Arc<Index>);

impl Subject for Embedded {
    fn write(&mut self, records: &[Logged], _again: Lsn) {
        for record in records {
            // What is in the log is not written again: its position says so.
            if record.lsn() <= self.0.index.lag().committed {
                continue;
            }
            match record {
                Logged::Message(committed) => {
                    let record = self.0.ordered(committed.message.clone());
                    self.0.commit(vec![record]);
                }
                Logged::Fact(fact) => erasure::commit(self.0.change(&fact.fact), &mut self.0),
            }
        }
    }

    fn archive(&self) -> Arc<dyn Archive> {
        Arc::new(Reads(Arc::clone(&self.0.index)))
    }

    fn age(&mut self, _now_ms: i64) {
        self.0.ingest();
    }
}

impl Archive for Reads {
    fn first(&self, id: &str, seqs: Range<u64>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let mut first = self.0.entries(id, seqs.start.saturating_sub(1), limit);
        first.retain(|message| seqs.contains(&message.seq));
        Ok(first)
    }

    fn last(&self, id: &str, seqs: Range<u64>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let page = self.0.last_messages(id, seqs.start.saturating_sub(1), seqs.end, limit)?;
        Ok(page.items)
    }

    fn seq_before(&self, id: &str, time_ms: i64, end: u64) -> Result<u64, StoreError> {
        Ok(self.0.seq_before(id, time_ms)?.min(end.saturating_sub(1)))
    }

    fn about(
        &self,
        id: &str,
        targets: &[u64],
        end: u64,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let mut about = self.0.entries(id, 0, 10_000);
        about.retain(|message| message.seq < end && message.acts_on(targets));
        about.truncate(limit);
        Ok(about)
    }
}

#[test]
fn the_log_conforms() {
    conforms(&mut || Box::new(Embedded(Rig::memory())));
}

const LAST: u64 = 90;

/// A message, or what acts on an earlier one.
fn entry(seq: u64) -> Message {
    let mut entry = message("c", seq);
    let act = match seq % 9 {
        3 => Some((MessageType::Edit, seq - 1)),
        4 => Some((MessageType::React, seq - 2)),
        5 if seq % 2 == 1 => Some((MessageType::Revoke, seq.saturating_sub(30).max(1))),
        // The edit of an edited message, long after.
        7 if seq > 60 => Some((MessageType::Edit, 2)),
        _ => None,
    };
    entry.r#type = MessageType::Text.into();
    if let Some((kind, target_seq)) = act {
        entry.r#type = kind.into();
        let emoji = if kind == MessageType::React { "👍" } else { "" };
        entry.action = Some(Action { target_seq, emoji: emoji.into(), ..Action::default() }.into());
    }
    entry
}

/// A log with all of it, and one that was cut, with the seq up to which it was.
fn whole_and_cut() -> (Rig, Rig, u64) {
    let mut rigs = [Rig::memory(), Rig::memory()];
    for rig in &mut rigs {
        rig.commit(vec![rig.created("c")]);
        for seq in 1..=LAST {
            rig.commit(vec![rig.ordered(entry(seq))]);
        }
        rig.ingest();
    }
    let [whole, mut cut] = rigs;
    cut.ingester.trim.keep = Keep { bytes: 2 * SIZES.segment, ..Keep::default() };
    cut.snapshots.save(0, cut.index.lag().committed, b"state");
    cut.ingester.trim();
    let floor = cut.index.removed_up_to("c").expect("read");
    assert!((30..LAST - 10).contains(&floor), "{floor}");
    (whole, cut, floor)
}

/// An archive of these.
fn kept(seqs: impl Iterator<Item = u64>) -> Kept {
    let kept = Kept::default();
    let record = |seq| Logged::Message(Box::new(Committed::recovered(seq + 1, entry(seq))));
    kept.take(&seqs.map(record).collect::<Vec<_>>());
    kept
}

#[test]
fn a_cut_log_with_its_archive_reads_as_one_that_was_never_cut() {
    let (whole, cut, floor) = whole_and_cut();
    let archive = Arc::new(kept(1..=LAST));
    // A copy that is behind has what was cut, by the hold, and not yet what came since.
    let behind = Arc::new(kept(1..=floor));
    let cached = |many, kept: &Arc<Kept>| {
        let latest = Arc::new(Newest { kept: Arc::clone(kept), many });
        Arc::new(Cached { latest, archive: Some(Arc::clone(&archive) as _) })
    };
    let (recent, some, late) = (cached(50, &archive), cached(15, &behind), cached(20, &archive));
    let archives: [Arc<dyn Archive>; 5] = [Arc::clone(&archive) as _, behind, recent, some, late];
    for archive in archives {
        let layers = Layers::new(&*cut.index, Some(&*archive));
        let whole = &whole.index;
        for limit in [1, 2, 7, 30, 200] {
            for from in 0..=LAST + 1 {
                let (wanted, read) =
                    (whole.messages("c", from, limit), layers.messages("c", from, limit));
                assert_eq!(read.expect("read"), wanted.expect("read"), "{limit} after {from}");
                let wanted = whole.last_messages("c", 0, from + 1, limit).expect("read");
                let read = layers.last_messages("c", 0, from + 1, limit).expect("read");
                assert_eq!(read, wanted, "{limit} before {}", from + 1);
            }
        }
        for time in 990..1_100 {
            let (wanted, read) = (whole.seq_before("c", time), layers.seq_before("c", time));
            assert_eq!(read.expect("read"), wanted.expect("read"), "{time}");
        }
        let wanted = whole.last_messages("c", 40, 70, 9).expect("read");
        assert_eq!(layers.last_messages("c", 40, 70, 9).expect("read"), wanted);
        assert!(!layers.is_wanted());
    }
}

#[test]
fn a_cache_alone_shows_what_it_has_and_tells_the_rest_as_removed() {
    let (whole, cut, floor) = whole_and_cut();
    let latest = Arc::new(Newest { kept: Arc::new(kept(1..=floor)), many: 20 });
    let cached = Cached { latest, archive: None };
    let layers = Layers::new(&*cut.index, Some(&cached));
    for backwards in [false, true] {
        for limit in [1, 7, 50] {
            let (shown, removed) = follow(&layers, limit, backwards);
            assert_eq!(shown, (floor - 19..=LAST).collect::<Vec<_>>(), "{limit}, {backwards}");
            assert_eq!(removed, [floor - 20], "{limit}, {backwards}");
        }
    }
    let wanted = whole.index.messages("c", floor - 20, 30).expect("read").items;
    assert_eq!(layers.messages("c", floor - 20, 30).expect("read").items, wanted);
}

/// Reads all, page by page, forwards or backwards; gives what was shown and what was told as removed.
fn follow(store: &dyn Store, limit: usize, backwards: bool) -> (Vec<u64>, Vec<u64>) {
    let (mut shown, mut removed) = (Vec::new(), Vec::new());
    let mut at = if backwards { u64::MAX } else { 0 };
    for _ in 0..2 * LAST {
        let page = match backwards {
            false => store.messages("c", at, limit),
            true => store.last_messages("c", 0, at, limit),
        };
        let Messages { items, more, removed_up_to_seq } = page.expect("read");
        let seqs: Vec<u64> = items.iter().map(|message| message.seq).collect();
        assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no hole in a page: {seqs:?}");
        removed.extend((removed_up_to_seq > 0).then_some(removed_up_to_seq));
        let next = if backwards { seqs.first() } else { seqs.last() };
        at = next.copied().unwrap_or(at);
        shown.extend(seqs);
        if !more {
            shown.sort_unstable();
            removed.sort_unstable();
            removed.dedup();
            return (shown, removed);
        }
    }
    panic!("it does not end");
}

#[test]
fn what_the_archive_lacks_is_told_as_removed() {
    let (_whole, cut, floor) = whole_and_cut();
    let lacks = |seq: &u64| !(1..=4).contains(seq) && !(12..=20).contains(seq) && *seq != floor;
    let archive = kept((1..=LAST).filter(lacks));
    let layers = Layers::new(&*cut.index, Some(&archive));
    for backwards in [false, true] {
        for limit in [1, 3, 8, 50, 200] {
            let (shown, removed) = follow(&layers, limit, backwards);
            let wanted: Vec<u64> = (1..=LAST).filter(lacks).collect();
            assert_eq!(shown, wanted, "each once: {limit}, {backwards}");
            // A page that lies between two holes tells of the later one, which covers both.
            let told = removed.iter().filter(|seq| **seq != 4).copied();
            assert_eq!(told.collect::<Vec<_>>(), [20, floor], "{limit}, {backwards}");
            assert!(backwards || removed.contains(&4), "{limit}");
        }
    }
    let empty = Kept::default();
    let (shown, removed) = follow(&Layers::new(&*cut.index, Some(&empty)), 50, false);
    assert_eq!((shown.first(), removed), (Some(&(floor + 1)), vec![floor]));
}

#[test]
fn only_what_was_cut_wants_the_archive_and_its_absence_is_told() {
    let (_whole, cut, floor) = whole_and_cut();
    let hot = Layers::new(&*cut.index, None);
    assert_eq!(hot.messages("c", floor, 50).expect("read").items.len() as u64, LAST - floor);
    assert_eq!(hot.last_messages("c", floor, u64::MAX, 200).expect("read").removed_up_to_seq, 0);
    assert_eq!(hot.last_messages("c", 0, u64::MAX, 2).expect("read").items.len(), 2);
    assert!(hot.seq_before("c", 1_000 + LAST as i64).is_ok());
    assert!(!hot.is_wanted());
    assert!(hot.messages("c", floor - 1, 1).is_err() && hot.is_wanted());

    let archive = kept(1..=LAST);
    archive.put_away(true);
    let layers = Layers::new(&*cut.index, Some(&archive));
    assert!(matches!(layers.messages("c", 0, 1), Err(StoreError::Away(_))));
    assert!(matches!(layers.seq_before("c", 1_001), Err(StoreError::Away(_))));
    assert_eq!(layers.messages("c", floor, 1).expect("read").items.len(), 1);
}

#[test]
fn keep_removes_nothing_that_a_copy_has_not_got() {
    let mut rig = Rig::memory();
    rig.ingester.trim.keep = Keep { time: Duration::from_secs(10), ..Keep::default() };
    rig.commit(vec![rig.created("c")]);
    for seq in 1..=LAST {
        rig.commit(vec![rig.message("c", seq)]);
    }
    rig.ingest();
    rig.snapshots.save(0, rig.index.lag().committed, b"state");
    rig.clock.advance_to(1 << 40);
    let cut = |rig: &mut Rig| {
        rig.ingester.trim();
        rig.index.removed_up_to("c").expect("read")
    };
    rig.index.holds.set("archive", 0);
    assert_eq!(cut(&mut rig), 0);
    rig.index.holds.set("archive", 41);
    let held = cut(&mut rig);
    assert!((20..=40).contains(&held), "{held}");
    rig.ingester.trim.keep.bytes = 2 * SIZES.segment;
    assert!(cut(&mut rig) > held, "the disk is not filled for a copy's sake");
}
