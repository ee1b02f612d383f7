//! What is erased is read by nobody from then on, and gone from every file once it is done, whenever the
//! process or the disk fails meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use imflow_kind::{Erased, Store as _};
use imflow_proto::log;
use imflow_proto::wire::{Action, MessageType, Origin};

use super::faults::FaultyDisk;
use super::*;
use crate::log::files::{Disk, STEPS};
use crate::log::index::{Eraser, Table};
use crate::log::segments;

const SECRET: &str = "the secret text";
const EMOJI: &str = "secret-emoji";
/// Messages, in several segments.
const LAST: u64 = 120;

fn said(conversation: &str, seq: u64, sender: &str, change: &dyn Fn(&mut Message)) -> Message {
    let mut message = Message {
        sender_id: sender.into(),
        client_msg_id: format!("{sender}-phone-{seq}-1"),
        text: SECRET.into(),
        ..message(conversation, seq)
    };
    change(&mut message);
    message
}

fn erased(rig: &Rig, conversation: &str, user: &str) -> Record {
    let change = FactChange::Erased(log::Erased { user_id: user.into() });
    let fact = Fact {
        conversation_id: conversation.into(),
        at: 77,
        by: String::new(),
        change: Some(change),
    };
    rig.change(&Arc::new(fact))
}

fn eraser(rig: &Rig) -> Eraser {
    let (index, files) = (Arc::clone(&rig.index), Arc::clone(&rig.storage.files));
    Eraser { index, files, policy: Policy::Ingest }
}

/// Commits one by one, a record that waits for a segment of its own too.
pub(super) fn commit(record: Record, rig: &mut Rig) {
    rig.commit(vec![record]);
    while !rig.committer.is_empty() {
        rig.commit(Vec::new());
    }
}

/// Alice says secrets in `c`, in every form; others say things around them.
fn filled(files: Arc<dyn Files>, tables: Arc<dyn Tables>) -> Rig {
    let mut rig = Rig::open(files, tables).expect("a new log");
    commit(rig.created("c"), &mut rig);
    let keep = |m: &mut Message| m.text = "keep me".into();
    let act = |kind: MessageType, emoji: &'static str, text: &'static str| {
        move |m: &mut Message| {
            m.r#type = kind.into();
            m.text = text.into();
            m.action =
                Some(Action { target_seq: 2, emoji: emoji.into(), ..Action::default() }.into());
        }
    };
    let forwarded = |m: &mut Message| {
        let (conversation_id, sender_id) = ("x".into(), "alice".into());
        m.forward_of = Some(Origin { conversation_id, seq: 1, sender_id }.into());
    };
    let messages = [
        said("c", 1, "alice", &|_| ()),
        said("c", 2, "bob", &keep),
        said("c", 3, "alice", &|m| {
            (m.text, m.payload) = (String::new(), SECRET.as_bytes().into());
        }),
        said("c", 4, "alice", &act(MessageType::React, EMOJI, "")),
        said("c", 5, "bob", &act(MessageType::React, "ok", "")),
        said("c", 6, "alice", &act(MessageType::Edit, "", SECRET)),
        said("c", 7, "bob", &forwarded),
        said("c", 8, "alice", &|m| (m.text, m.mention_all) = (String::new(), true)),
        said("c", 9, "alice", &|m| m.text = "s".into()),
    ];
    for message in messages {
        commit(rig.ordered(message), &mut rig);
    }
    for seq in 10..=LAST {
        let sender = if seq % 2 == 0 { "alice" } else { "bob" };
        let message = said("c", seq, sender, &|m| {
            if sender == "bob" {
                keep(m)
            }
        });
        commit(rig.ordered(message), &mut rig);
    }
    rig
}

fn assert_read_as_erased(rig: &Rig) {
    let page = rig.index.messages("c", 0, 1_000).expect("read");
    assert!(page.items.iter().map(|message| message.seq).eq(1..=LAST), "seqs have no gaps");
    for message in &page.items {
        let is_hers = message.sender_id == "alice" || message.seq == 7;
        assert_eq!(message.is_erased(), is_hers, "{message:?}");
        if is_hers {
            assert!(message.text.is_empty() && message.payload.is_empty(), "{message:?}");
            assert!(!message.mention_all && message.forward_of.is_none(), "{message:?}");
        }
    }
    let original = rig.index.by_client_msg_id("c", "alice", "alice-phone-1-1").expect("read");
    assert!(original.is_some_and(|message| message.is_erased()), "a repeat is still known");
}

fn traces(files: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
    let found = files.iter().filter(|(_, bytes)| has(bytes, SECRET) || has(bytes, EMOJI));
    found.map(|(name, _)| &**name).collect()
}

fn emojis(rig: &Rig) -> Vec<String> {
    let message = rig.index.messages("c", 1, 1).expect("read").items.remove(0);
    let amended = message.amended.map(|amended| amended.reactions).unwrap_or_default();
    amended.into_iter().map(|reaction| reaction.emoji).collect()
}

#[test]
fn what_a_user_said_is_read_by_nobody_at_once_and_leaves_every_file() {
    let disk = FaultyDisk::new(1);
    let mut rig = filled(Arc::new(disk.clone()), Arc::new(MemoryTables::default()));
    let places = |rig: &Rig| {
        let mut places = Vec::new();
        let durable = rig.index.lag().committed;
        let each = &mut |record: crate::log::segments::Visited<'_>| {
            places.push((record.lsn, record.place));
            Ok(())
        };
        rig.index.segments.visit(0, durable, each).expect("whole");
        places
    };
    let before = places(&rig);
    assert!(!traces(&disk.contents()).is_empty());
    let record = erased(&rig, "", "alice");
    commit(record, &mut rig);
    assert_read_as_erased(&rig);
    assert_eq!(emojis(&rig), ["ok"]);
    let status = |rig: &Rig| rig.index.erasure(Erased::User("alice")).expect("read");
    assert!(status(&rig).is_some_and(|status| !status.finished && status.segments_left > 0));
    assert!(!eraser(&rig).step().expect("done"), "the tables do not hold the segments yet");
    rig.ingest();
    while eraser(&rig).step().expect("done") {}
    assert_eq!(status(&rig).map(|s| (s.finished, s.segments_left)), Some((true, 0)));
    assert_eq!(traces(&disk.contents()), Vec::<&str>::new());
    assert!(places(&rig).starts_with(&before), "every record is where it was");
    assert_read_as_erased(&rig);
    assert_eq!(emojis(&rig), ["ok"]);
    let mut rows = 0;
    rig.storage
        .tables
        .scan(Table::Amendments, b"", &mut |_, value| {
            assert!(!value.windows(EMOJI.len()).any(|at| at == EMOJI.as_bytes()));
            rows += 1;
            std::ops::ControlFlow::Continue(())
        })
        .expect("scanned");
    assert_eq!(rows, 5, "two entries with what they do, and one that is only counted");
    commit(rig.ordered(said("c", LAST + 1, "alice", &|m| m.text = "new".into())), &mut rig);
    let new = rig.index.messages("c", LAST, 1).expect("read").items.remove(0);
    assert_eq!((&*new.text, new.is_erased()), ("new", false), "what comes later is not meant");

    let tables = Arc::clone(&rig.storage.tables);
    drop(rig);
    for tables in [tables, Arc::new(MemoryTables::default())] {
        let rig = Rig::open(Arc::new(disk.clone()), tables).expect("opened");
        assert_eq!(emojis(&rig), ["ok"]);
        assert_eq!(rig.index.last_seq("c").expect("read"), LAST + 1);
    }
}

#[test]
fn a_conversation_loses_content_and_name_and_no_other_does() {
    let mut rig = Rig::memory();
    let created = ConversationCreated { name: SECRET.into(), ..Default::default() };
    let fact = Fact {
        conversation_id: "c".into(),
        at: 1,
        by: String::new(),
        change: Some(FactChange::Created(created)),
    };
    commit(rig.change(&Arc::new(fact)), &mut rig);
    commit(rig.ordered(said("c", 1, "alice", &|_| ())), &mut rig);
    commit(rig.ordered(said("d", 1, "alice", &|_| ())), &mut rig);
    let record = erased(&rig, "c", "");
    commit(record, &mut rig);
    rig.ingest();
    while eraser(&rig).step().expect("done") {}
    let texts = |id| rig.index.messages(id, 0, 9).expect("read").items.remove(0).text;
    assert_eq!((&*texts("c"), &*texts("d")), ("", SECRET));
    let view = rig.index.conversation("c", "bob").expect("read").expect("there");
    assert_eq!(view.info.name, "");
}

#[test]
fn a_crash_at_any_moment_leaves_a_segment_whole_and_the_next_start_finishes() {
    // So many changes of the disk happen before the process ends.
    for survive in 0..40 {
        let disk = FaultyDisk::new(survive);
        let tables: Arc<dyn Tables> = Arc::new(MemoryTables::default());
        let mut rig = filled(Arc::new(disk.clone()), Arc::clone(&tables));
        let record = erased(&rig, "", "alice");
        commit(record, &mut rig);
        rig.ingest();
        let until = disk.changes() + survive;
        disk.refuse_after(Some(until));
        while eraser(&rig).step().unwrap_or(false) {}
        drop(rig);
        disk.power_cut();
        disk.refuse_after(None);
        // With the tables that the crash left, or without any.
        let tables = if survive % 2 == 0 { tables } else { Arc::new(MemoryTables::default()) };
        let mut rig = Rig::open(Arc::new(disk.clone()), tables).expect("opened");
        assert_read_as_erased(&rig);
        rig.ingest();
        while eraser(&rig).step().expect("done") {}
        assert_eq!(traces(&disk.contents()), Vec::<&str>::new(), "after {survive}");
        assert_read_as_erased(&rig);
        let walked = rig.index.segments.numbers();
        assert!(walked.windows(2).all(|pair| pair[1] == pair[0] + 1), "{walked:?}");
        assert!(disk.contents().contains_key(&segments::name(1)));
    }
}

/// What lies in a folder and below.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.insert(path.display().to_string(), bytes);
        }
    }
    found
}

fn in_archive(folder: &Path, tables: Arc<dyn Tables>) -> Rig {
    let files = Arc::new(Disk::open(folder.join("log")).expect("made"));
    let mut rig = match folder.join("log/00000001.seg").exists() {
        true => Rig::open(files, tables).expect("opened"),
        false => filled(files, tables),
    };
    rig.ingester.cool.folder = Some(folder.join("cold"));
    rig.clock.advance_to(1 << 40);
    rig.ingest();
    rig
}

#[test]
fn what_lies_in_the_archive_is_erased_there_whatever_was_cut_short() {
    // So many changes of the disk are made while a segment moves, and then while some are erased.
    for (moving, erasing) in (0..15).map(|n| (n % 5, n)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tables: Arc<dyn Tables> = Arc::new(MemoryTables::default());
        let mut rig = in_archive(folder.path(), Arc::clone(&tables));
        rig.ingester.cool.step().expect("moved");
        STEPS.set(Some(moving));
        rig.ingester.cool();
        STEPS.set(None);
        assert!(!traces(&contents(&folder.path().join("cold"))).is_empty());
        let record = erased(&rig, "", "alice");
        commit(record, &mut rig);
        rig.ingest();
        STEPS.set(Some(erasing));
        while eraser(&rig).step().unwrap_or(false) {}
        STEPS.set(None);
        if erasing % 2 == 1 {
            drop(rig);
            rig = in_archive(folder.path(), tables);
        }
        assert_read_as_erased(&rig);
        while eraser(&rig).step().expect("done") {}
        assert_eq!(traces(&contents(folder.path())), Vec::<&str>::new(), "{moving}, {erasing}");
        assert_read_as_erased(&rig);
        for _ in 0..20 {
            rig.ingester.cool();
        }
        let moved = contents(&folder.path().join("cold")).len();
        assert!(moved + 2 >= rig.index.segments.numbers().len(), "nothing stands in the way");
    }
}
