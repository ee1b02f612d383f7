//! The index follows the log, over the border between RAM and the tables.

use imflow_kind::Store as _;

use super::*;
use crate::log::index::{FjallFolder, Reopening, Table};

fn fjall(folder: &std::path::Path) -> Reopening {
    Reopening::open(Box::new(FjallFolder(folder.to_owned()))).expect("opened")
}

/// All messages of a conversation, read in pages of `limit`.
fn history(rig: &Rig, conversation: &str, limit: usize) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let after = messages.last().map_or(0, |message| message.seq);
        let page = rig.index.messages(conversation, after, limit).expect("read");
        assert!(page.items.len() <= limit);
        messages.extend(page.items);
        if !page.more {
            return messages;
        }
    }
}

/// Two conversations, of which the second begins late.
fn fill(rig: &mut Rig) {
    for seq in 1..=60 {
        rig.commit(vec![rig.message("c", seq)]);
        if seq > 30 {
            rig.commit(vec![rig.message("d", seq - 30)]);
        }
    }
}

#[test]
fn history_is_whole_wherever_the_border_to_the_tables_stands() {
    let mut rig = Rig::memory();
    fill(&mut rig);
    let sealed: Vec<_> = rig.sealed.drain(..).collect();
    assert!(sealed.len() > 3);
    for segment in [None].into_iter().chain(sealed.into_iter().map(Some)) {
        if let Some(segment) = segment {
            rig.ingester.move_in(&segment).expect("the tables take it");
        }
        for limit in [1, 7, 200] {
            assert!(history(&rig, "c", limit).iter().map(|message| message.seq).eq(1..=60));
            assert!(history(&rig, "d", limit).iter().map(|message| message.seq).eq(1..=30));
        }
        assert_eq!(rig.index.last_seq("c").expect("read"), 60);
    }
    assert_eq!(history(&rig, "c", 200)[4], message("c", 5));
    assert_eq!(history(&rig, "e", 10), []);
}

#[test]
fn a_client_msg_id_is_found_in_ram_and_in_the_tables() {
    let mut rig = Rig::memory();
    fill(&mut rig);
    for _ in 0..2 {
        for seq in [1, 30, 60] {
            let id = format!("alice-phone-{seq}-1");
            let found = rig.index.by_client_msg_id("c", "alice", &id).expect("read");
            assert_eq!(found, Some(message("c", seq)));
            assert_eq!(rig.index.by_client_msg_id("c", "bob", &id).expect("read"), None);
        }
        rig.ingest();
    }
}

#[test]
fn a_deleted_index_is_rebuilt_to_the_same_rows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Arc::new(Memory::default());
    let rows = |tables: &dyn Tables| {
        let mut rows = Vec::new();
        for table in [Table::Messages, Table::Ids, Table::Amendments, Table::Directory] {
            let each = &mut |key: &[u8], value: &[u8]| {
                rows.push((table, key.to_vec(), value.to_vec()));
                std::ops::ControlFlow::Continue(())
            };
            tables.scan(table, b"", each).expect("scanned");
        }
        rows
    };
    let mut kept = Vec::new();
    for name in ["first", "rebuilt"] {
        let tables = Arc::new(fjall(&folder.path().join(name)));
        let mut rig = Rig::open(files.clone(), tables).expect("a log");
        if kept.is_empty() {
            rig.commit(vec![rig.created("c"), rig.created("d")]);
            fill(&mut rig);
            rig.ingest();
        }
        assert!(history(&rig, "c", 50).iter().map(|message| message.seq).eq(1..=60));
        let info = rig.index.conversation("d", "alice").expect("read").expect("there").info;
        assert_eq!((info.last_seq, info.member_count, info.role()), (30, 1, Role::Owner));
        kept.push(rows(&*rig.storage.tables));
    }
    assert!(kept[0].len() > 90 && kept[0] == kept[1]);
}

#[test]
fn a_page_is_closed_at_its_size_and_says_that_more_follow() {
    let files: Arc<dyn Files> = Arc::new(Memory::default());
    let tables: Arc<dyn Tables> = Arc::new(MemoryTables::default());
    let mut open = RamSegment::new(1);
    let storage = Storage { files, tables, policy: Policy::Ingest, lock: None };
    let parts = Parts::recover(&storage, Sizes::of_segment(2 << 20)).expect("a new log");
    let mut bytes = Vec::new();
    for seq in 1..=5 {
        let message = Message { text: "x".repeat(200 << 10), ..message("c", seq) };
        let offset = 64 + bytes.len() as u32;
        let len =
            crate::log::frame::append(&mut bytes, seq, crate::log::frame::MESSAGE, &message) as u32;
        let place = crate::log::segments::Place { segment: 1, offset, len };
        open.insert(&message, &Keys::of_message(&message), place);
    }
    parts.tail.file.write_at(&bytes, 64).expect("inside");
    let index = Index::new(parts.segments, parts.progress, storage.tables, open);
    let page = index.messages("c", 0, 5).expect("read");
    assert_eq!((page.items.len(), page.more), (2, true));
    let page = index.messages("c", 4, 5).expect("read");
    assert_eq!((page.items.len(), page.more), (1, false));
}

/// The seqs of a conversation's messages whose ids the tables hold.
fn ids_in_tables(rig: &Rig) -> Vec<u64> {
    let mut seqs = Vec::new();
    let each = &mut |_: &[u8], value: &[u8]| {
        let place = crate::log::index::read_place(value).expect("a place");
        seqs.push(rig.index.segments.message(place).expect("whole").seq);
        std::ops::ControlFlow::Continue(())
    };
    rig.storage.tables.scan(Table::Ids, b"", each).expect("scanned");
    seqs.sort_unstable();
    seqs
}

#[test]
fn ids_older_than_retain_leave_the_tables_a_few_segments_at_a_time_and_messages_stay() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Arc::new(Memory::default());
    let open = || fjall(folder.path());
    let mut rig = Rig::open(files.clone(), Arc::new(open())).expect("a log");
    // Message n is made at 1,000 + n.
    for seq in 1..=60 {
        rig.commit(vec![rig.message("c", seq)]);
    }
    rig.ingest();
    let all = ids_in_tables(&rig);
    let retain = RETAIN.as_millis() as u64;
    rig.clock.advance_to(1_001 + retain);
    rig.ingester.purge();
    assert_eq!(ids_in_tables(&rig), all, "the first one is just not too old");

    rig.clock.advance_to(1_030 + retain);
    let mut before = all.len();
    loop {
        rig.ingester.purge();
        let left = ids_in_tables(&rig).len();
        assert!(before - left <= 2 * 24, "a step is bounded: {before} to {left}");
        if left == before {
            break;
        }
        before = left;
    }
    let left = ids_in_tables(&rig);
    assert!(all.ends_with(&left) && (15..=30).contains(&left[0]), "{left:?} of {all:?}");
    assert!(history(&rig, "c", 50).iter().map(|message| message.seq).eq(1..=60));

    // After a restart it goes on from there. An id that was used again belongs to the later message.
    drop(rig);
    let mut rig = Rig::open(files, Arc::new(open())).expect("a log");
    let again = Message { seq: 61, created_at: 3_000, ..message("c", left[0]) };
    rig.commit(vec![rig.ordered(again)]);
    for seq in 62..=120 {
        rig.commit(vec![rig.message("c", seq)]);
    }
    rig.ingest();
    rig.clock.advance_to(1_059 + retain);
    for _ in 0..9 {
        rig.ingester.purge();
    }
    let left = ids_in_tables(&rig);
    assert!(left.iter().all(|seq| *seq > 40) && left.contains(&61), "{left:?}");
}
