//! What a restart finds after the process or the power went at any moment.

use imflow_kind::Store as _;

use super::*;
use crate::log::segments;

/// The records of a recovered log: (lsn, seq) of its messages.
fn seqs(rig: &Rig) -> Vec<(u64, u64)> {
    let mut seqs = Vec::new();
    let durable = rig.index.lag().committed;
    let each = &mut |record: crate::log::segments::Visited<'_>| {
        let message = rig.index.segments.message(record.place)?;
        seqs.push((record.lsn, message.seq));
        Ok(())
    };
    rig.index.segments.visit(0, durable, each).expect("every record is whole");
    seqs
}

fn reopen(files: Memory) -> Result<Rig, LogError> {
    Rig::open(Arc::new(files), Arc::new(MemoryTables::default()))
}

/// A log of three commits, its files and the bytes of the last segment up to its end.
fn three_commits() -> (Arc<Memory>, Vec<u8>, String) {
    let files = Arc::new(Memory::default());
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    rig.commit(vec![rig.message("c", 1)]);
    rig.commit(vec![rig.message("c", 2), rig.message("c", 3)]);
    rig.commit(vec![rig.message("c", 4)]);
    let name = segments::name(1);
    let bytes = files.read(&name).expect("read").expect("there");
    (files, bytes, name)
}

/// Where each of the records begins.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![crate::log::frame::HEADER];
    while let Some(length) = bytes
        .get(starts[starts.len() - 1]..)
        .filter(|b| b.len() > 4)
        .and_then(crate::log::frame::Frame::length)
    {
        starts.push(starts[starts.len() - 1] + length);
    }
    starts
}

#[test]
fn a_torn_last_record_is_cut_at_every_byte_and_its_seq_used_again() {
    let (files, bytes, name) = three_commits();
    let starts = starts(&bytes);
    let (last, end) = (starts[3], starts[4]);
    for torn_at in last..end {
        let copy = files.copy();
        let file = copy.open(&name).expect("there");
        file.write_at(&vec![0; end - torn_at], torn_at as u64).expect("inside");
        let mut rig = reopen(copy).unwrap_or_else(|error| panic!("torn at {torn_at}: {error}"));
        assert_eq!(seqs(&rig), [(1, 1), (2, 2), (3, 3)], "torn at {torn_at}");
        rig.commit(vec![rig.message("c", 4)]);
        assert_eq!(seqs(&rig), [(1, 1), (2, 2), (3, 3), (4, 4)], "torn at {torn_at}");
    }
}

#[test]
fn a_flipped_byte_before_a_valid_record_refuses_to_start_and_says_where() {
    let (files, bytes, name) = three_commits();
    let starts = starts(&bytes);
    for record in 0..3 {
        let (start, end) = (starts[record], starts[record + 1]);
        for (at, byte) in (start..end).zip(&bytes[start..end]) {
            let copy = files.copy();
            copy.open(&name).expect("there").write_at(&[byte ^ 0x40], at as u64).expect("inside");
            let refused = reopen(copy)
                .err()
                .unwrap_or_else(|| panic!("byte {at} was not noticed"))
                .to_string();
            assert!(
                refused.contains(&name) && refused.contains(&format!("byte {}", starts[record])),
                "{refused}"
            );
        }
    }
}

#[test]
fn sectors_of_the_last_commit_may_be_lost_in_any_pattern() {
    let files = Arc::new(Memory::default());
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    rig.commit(vec![rig.message("c", 1)]);
    let before = files.copy();
    rig.commit((2..=7).map(|seq| rig.message("c", seq)).collect());
    lose_sectors(&before, &files, &segments::name(1), 1..=7);
}

#[test]
fn sectors_of_a_commit_that_begins_a_segment_may_be_lost_in_any_pattern() {
    let files = Arc::new(Memory::default());
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    let mut last = 0;
    loop {
        let before = files.copy();
        rig.commit((last + 1..=last + 6).map(|seq| rig.message("c", seq)).collect());
        if rig.index.segments.numbers().len() == 2 {
            return lose_sectors(&before, &files, &segments::name(2), last..=last + 6);
        }
        last += 6;
    }
}

/// Recovers after each pattern of lost sectors of the commit between the two states: what is kept must
/// be a prefix that ends between `kept`, where the first is what had been durable before.
fn lose_sectors(before: &Memory, after: &Memory, name: &str, kept: std::ops::RangeInclusive<u64>) {
    let before = before.read(name).expect("read").unwrap_or_default();
    let written = after.read(name).expect("read").expect("there");
    let sectors = written.len().div_ceil(512);
    for lost in 0..1_u32 << sectors {
        let copy = after.copy();
        let file = copy.open(name).expect("there");
        for sector in (0..sectors).filter(|sector| lost & 1 << sector != 0) {
            let (start, end) = (sector * 512, ((sector + 1) * 512).min(written.len()));
            let old = (start..end).map(|at| before.get(at).copied().unwrap_or(0));
            file.write_at(&old.collect::<Vec<u8>>(), start as u64).expect("inside");
        }
        let mut rig = reopen(copy).unwrap_or_else(|error| panic!("lost {lost:b}: {error}"));
        let seqs: Vec<u64> = seqs(&rig).into_iter().map(|(_, seq)| seq).collect();
        let last = seqs.len() as u64;
        assert!(seqs.into_iter().eq(1..=last) && kept.contains(&last), "lost {lost:b}: {last}");
        assert!(lost != 0 || last == *kept.end());
        rig.commit(vec![rig.message("c", last + 1)]);
        assert_eq!(rig.index.last_seq("c").expect("read"), last + 1);
    }
}

#[test]
fn damage_in_a_sealed_segment_is_told_and_never_served() {
    let files = Arc::new(Memory::default());
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    for seq in 1..=60 {
        rig.commit(vec![rig.message("c", seq)]);
    }
    assert!(rig.index.segments.numbers().len() > 2);
    files.open(&segments::name(2)).expect("there").write_at(&[0xff], 1_000).expect("inside");
    let refused =
        reopen(files.copy()).err().expect("the index is rebuilt from every segment").to_string();
    assert!(refused.contains(&segments::name(2)), "{refused}");
    rig.ingest();
    let pages = (0..60).map(|after| rig.index.messages("c", after, 1));
    assert_eq!(pages.filter(Result::is_err).count(), 1);
}

#[test]
fn a_missing_segment_refuses_to_start() {
    let files = Arc::new(Memory::default());
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    for seq in 1..=60 {
        rig.commit(vec![rig.message("c", seq)]);
    }
    files.remove(&segments::name(2)).expect("there");
    let refused = reopen(files.copy()).err().expect("a hole").to_string();
    assert!(refused.contains(&segments::name(2)) && refused.contains("missing"), "{refused}");
}

#[test]
fn seqs_and_lsns_go_on_after_a_restart_over_many_segments() {
    let files = Arc::new(Memory::default());
    let tables: Arc<dyn Tables> = Arc::new(MemoryTables::default());
    for restart in 0..5 {
        let mut rig = Rig::open(files.clone(), Arc::clone(&tables)).expect("a log");
        let last = rig.index.last_seq("c").expect("read");
        assert_eq!(last, restart * 20);
        for seq in last + 1..=last + 20 {
            rig.commit(vec![rig.message("c", seq)]);
        }
        if restart % 2 == 0 {
            rig.ingest();
        }
        assert!(seqs(&rig).into_iter().eq((1..=last + 20).map(|n| (n, n))));
    }
}

#[test]
fn an_index_of_a_later_format_is_refused() {
    let (files, tables) = (Arc::new(Memory::default()), Arc::new(MemoryTables::default()));
    drop(Rig::open(files.clone(), tables.clone()).expect("a new log"));
    Directory::new(tables.clone()).set_format(99).expect("written");
    let refused = Rig::open(files, tables).err().expect("later").to_string();
    assert!(refused.contains("version 99") && refused.contains("`index`"), "{refused}");
}

#[test]
fn an_index_of_another_log_is_refused() {
    let tables: Arc<dyn Tables> = Arc::new(MemoryTables::default());
    let mut rig = Rig::open(Arc::new(Memory::default()), Arc::clone(&tables)).expect("a new log");
    rig.commit(vec![rig.created("c")]);
    let refused = Rig::open(Arc::new(Memory::default()), tables)
        .err()
        .expect("not of one service")
        .to_string();
    assert!(refused.contains("delete the folder `index`"), "{refused}");
}
