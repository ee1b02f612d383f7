//! What is found is what a reader of every text would find, whatever became of the index.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use imflow_kind::{
    Logged, Readable, Replica, Search, SearchError, Wanted, Within, conversation_key,
};
use imflow_proto::log::fact::Change;
use imflow_proto::log::{Erased, Fact};
use imflow_proto::record::CommittedFact;
use imflow_proto::wire::{Message, MessageType};

use super::spans;
use super::testing::{Dice, Indexed, Log, MINUTE};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn words_of_both_scripts_are_found_newest_first() {
    let (folder, log) = (folder(), Arc::new(Log::default()));
    for text in ["Hello world", "今天天气很好", "hello 世界", "用Rust写IM服务", "🎉 Café 🎉"]
    {
        log.say("c0", "alice", text);
    }
    let mut indexed = Indexed::open(folder.path(), &log);
    indexed.follow();
    for (query, expected) in [
        ("HELLO", &["hello 世界", "Hello world"][..]),
        ("天气", &["今天天气很好"]),
        ("天", &["今天天气很好"]),
        ("界", &["hello 世界"]),
        ("世界 hello", &["hello 世界"]),
        ("\"hello world\"", &["Hello world"]),
        ("rust写", &["用Rust写IM服务"]),
        ("cafe", &["🎉 Café 🎉"]),
        ("气天", &[]),
        ("worl", &[]),
    ] {
        assert_eq!(indexed.texts(query), expected, "{query}");
    }
}

#[test]
fn an_edited_message_is_found_by_its_new_text_and_a_revoked_one_by_none() {
    let (folder, log) = (folder(), Arc::new(Log::default()));
    let first = log.say("c0", "alice", "old words");
    let second = log.say("c0", "alice", "other words");
    let mut indexed = Indexed::open(folder.path(), &log);
    indexed.follow();
    log.act(&first, MessageType::Edit, "new text");
    log.act(&second, MessageType::React, "");
    log.act(&second, MessageType::Revoke, "");
    // Sent and edited between two commits.
    let third = log.say("c1", "alice", "hasty words");
    log.act(&third, MessageType::Edit, "calm text");
    indexed.follow();
    assert_eq!(indexed.texts("words"), [""; 0]);
    assert_eq!(indexed.texts("text"), ["calm text", "new text"]);
    assert_eq!(indexed.ids(&Wanted { query: "text", ..Wanted::default() }), [60, 10]);
}

#[test]
fn a_search_is_held_to_sender_time_and_conversations_and_goes_on_where_it_stopped() {
    let (folder, log) = (folder(), Arc::new(Log::default()));
    for number in 0..30 {
        log.say(&format!("c{}", number % 3), ["alice", "bob"][number % 2], "same words");
    }
    let mut indexed = Indexed::open(folder.path(), &log);
    indexed.write(10);
    indexed.writer.settle().expect("committed");
    indexed.follow();
    let find = |wanted: Wanted<'_>| indexed.ids(&Wanted { query: "words", ..wanted });
    assert_eq!(find(Wanted::default()), (1..=30).rev().map(|n| n * 10).collect::<Vec<_>>());
    assert_eq!(find(Wanted { before: 40, ..Wanted::default() }), [30, 20, 10]);
    assert_eq!(find(Wanted { sender_id: "bob", before: 50, ..Wanted::default() }), [40, 20]);
    let (after_time, before_time) = (3 * MINUTE, 6 * MINUTE);
    assert_eq!(find(Wanted { after_time, before_time, ..Wanted::default() }), [50, 40, 30]);
    assert_eq!(find(Wanted { within: Within::One("c2", 8), ..Wanted::default() }), [300, 270]);
    let readable: Readable =
        [(conversation_key("c0"), 9), (conversation_key("c1"), 8)].into_iter().collect();
    assert_eq!(
        find(Wanted { within: Within::Some(&readable), ..Wanted::default() }),
        [290, 280, 260]
    );
    let nowhere = Readable::default();
    assert!(find(Wanted { within: Within::Some(&nowhere), ..Wanted::default() }).is_empty());
}

#[test]
fn what_was_not_committed_is_written_again_and_nothing_twice() {
    let (folder, log) = (folder(), Arc::new(Log::default()));
    for number in 0..20 {
        log.say("c0", "alice", &format!("words {number}"));
    }
    let mut indexed = Indexed::open(folder.path(), &log);
    indexed.write(7);
    indexed.writer.settle().expect("committed");
    indexed.write(5);
    // A failure that leaves the process: the writer is asked again where it stands.
    assert_eq!(indexed.writer.open().expect("opened"), 7);
    indexed.position = 7;
    indexed.write(5);
    // One that does not.
    drop(indexed);
    let mut indexed = Indexed::open(folder.path(), &log);
    assert_eq!(indexed.position, 7);
    indexed.follow();
    assert_eq!(indexed.texts("words").len(), 20);
}

#[test]
fn an_answer_says_whether_it_is_complete() {
    let (folder, log) = (folder(), Arc::new(Log::default()));
    let mut indexed = Indexed::open(folder.path(), &log);
    let ask = |indexed: &Indexed| {
        let found = indexed
            .index
            .find(&Wanted { query: "a", ..Wanted::default() }, &mut |_| ControlFlow::Continue(()));
        found.map(|searched| (searched.complete, searched.indexed_up_to))
    };
    assert_eq!(ask(&indexed), Ok((true, 0)));
    log.say("c0", "alice", "a");
    assert_eq!(ask(&indexed), Ok((false, 0)));
    indexed.write(1);
    assert_eq!(ask(&indexed), Ok((false, 0)), "it is not committed");
    indexed.writer.settle().expect("committed");
    assert_eq!(ask(&indexed), Ok((true, MINUTE)));
    let empty = Arc::<super::WordIndex>::default();
    let not_open =
        empty.find(&Wanted { query: "a", ..Wanted::default() }, &mut |_| ControlFlow::Continue(()));
    assert_eq!(not_open.map(|searched| searched.complete), Ok(false));
    let wrong = empty.find(&Wanted::default(), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(wrong, Err(SearchError::Query(_))));
}

#[test]
fn what_was_cut_off_the_log_leaves_the_index() {
    let (folder, log) = (folder(), Arc::new(Log::default()));
    for number in 0..20 {
        log.say("c0", "alice", &format!("words {number}"));
    }
    let mut indexed = Indexed::open(folder.path(), &log);
    indexed.follow();
    log.cut(11 * MINUTE);
    indexed.writer.tend(0).expect("cut");
    // Up to a minute more is left than the log has; whoever reads it finds it gone.
    let left = indexed.ids(&Wanted { query: "words", ..Wanted::default() });
    assert_eq!(left, (10..=20).rev().map(|n| n * 10).collect::<Vec<_>>());
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("read");
    entries.map(|entry| entry.expect("read").path()).collect()
}

#[test]
fn an_index_that_is_not_whole_or_not_of_this_log_is_made_anew() {
    let log = Arc::new(Log::default());
    for number in 0..50 {
        log.say("c0", "alice", &format!("words {number} 天气"));
    }
    let made = |folder: &Path| {
        let mut indexed = Indexed::open(folder, &log);
        indexed.follow();
    };
    let clean = folder();
    made(clean.path());
    let names = files(&clean.path().join("2"));
    // The lock files are empty.
    let written = names.iter().filter(|path| path.metadata().is_ok_and(|it| it.len() > 0));
    let written: Vec<_> = written.map(|path| path.extension().map(|it| it.to_owned())).collect();
    assert!(written.len() > 5, "{names:?}");
    for extension in written {
        for damage in ["flip", "cut", "gone"] {
            let folder = folder();
            made(folder.path());
            let all = files(&folder.path().join("2"));
            let path =
                all.iter().find(|path| path.extension().map(|it| it.to_owned()) == extension);
            let path = path.expect("there as before");
            let mut bytes = std::fs::read(path).expect("read");
            match damage {
                "flip" => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 4;
                    std::fs::write(path, bytes).expect("written");
                }
                "cut" => std::fs::write(path, &bytes[..bytes.len() / 2]).expect("written"),
                _ => std::fs::remove_file(path).expect("removed"),
            }
            let mut indexed = Indexed::open(folder.path(), &log);
            indexed.follow();
            assert_eq!(indexed.texts("天气").len(), 50, "{damage} {}", path.display());
        }
    }
}

#[test]
fn the_index_of_another_log_is_made_anew() {
    let folder = folder();
    let (log, shorter, other) =
        (Arc::<Log>::default(), Log::numbered_from(0), Log::numbered_from(7));
    for number in 0..10 {
        log.say("c0", "alice", &format!("words {number}"));
    }
    for number in 0..10 {
        other.say("c0", "alice", &format!("other {number}"));
    }
    shorter.say("c0", "alice", "short");
    Indexed::open(folder.path(), &log).follow();
    // A log that was restored from before goes on from there.
    let mut indexed = Indexed::open(folder.path(), &shorter);
    assert_eq!(indexed.position, 0);
    indexed.follow();
    assert_eq!((indexed.texts("words").len(), indexed.texts("short").len()), (0, 1));
    drop(indexed);
    let mut indexed = Indexed::open(folder.path(), &other);
    indexed.follow();
    assert_eq!((indexed.texts("short").len(), indexed.texts("other").len()), (0, 10));
}

const SYLLABLES: &[&str] =
    &["天", "气", "好", "天气", "am", "be", "AM", "é", " ", " ", "，", "🎉", "-"];

fn any_text(dice: &mut Dice, most: usize) -> String {
    (0..1 + dice.below(most)).map(|_| dice.of(SYLLABLES)).collect()
}

/// Whether a word is in a file of the index.
fn has_word(folder: &Path, word: &str) -> bool {
    let index = tantivy::Index::open_in_dir(folder.join("2")).expect("opened");
    let reader = index.reader().expect("opened");
    let (searcher, fields) = (reader.searcher(), super::schema::Fields::new().0);
    searcher.segment_readers().iter().any(|piece| {
        let words = piece.inverted_index(fields.text).expect("read");
        let term = tantivy::Term::from_field_text(fields.text, word);
        words.get_term_info(&term).expect("read").is_some()
    })
}

#[test]
fn what_is_erased_is_not_found_and_its_words_leave_the_files() {
    let (folder, log) = (folder(), Arc::new(Log::default()));
    log.say("c0", "alice", "secret");
    log.say("c0", "bob", "open");
    log.forward("c1", "bob", "secret", "alice");
    log.say("c2", "carl", "hidden");
    let mut indexed = Indexed::open(folder.path(), &log);
    indexed.follow();
    log.say("c0", "alice", "uncommitted");
    indexed.write(1);
    let fact = |conversation: &str, user: &str| {
        let change = Some(Change::Erased(Erased { user_id: user.into() }));
        let fact = Fact { conversation_id: conversation.into(), change, ..Fact::default() };
        Logged::Fact(CommittedFact { lsn: 0, fact: Arc::new(fact) })
    };
    let facts = [fact("", "alice"), fact("c2", "")];
    indexed.writer.write(&facts, indexed.position).expect("written");
    log.say("c0", "alice", "later");
    indexed.follow();
    for word in ["secret", "hidden", "uncommitted"] {
        assert_eq!(indexed.texts(word), [""; 0], "{word}");
    }
    assert_eq!(
        (indexed.texts("open"), indexed.texts("later")),
        (vec!["open".into()], vec!["later".into()])
    );
    assert!(has_word(folder.path(), "secret"), "else this shows nothing");
    // Killed before the files were written anew.
    drop(indexed);
    let mut indexed = Indexed::open(folder.path(), &log);
    while indexed.writer.tend(0).expect("swept") {}
    for (word, stays) in [
        ("secret", false),
        ("hidden", false),
        ("uncommitted", false),
        ("open", true),
        ("later", true),
    ] {
        assert_eq!(has_word(folder.path(), word), stays, "{word}");
    }
    assert_eq!(indexed.texts("later"), ["later"]);
    let left = std::fs::read_dir(folder.path().join("2")).expect("there").count();
    drop(indexed);
    let indexed = Indexed::open(folder.path(), &log);
    let now = std::fs::read_dir(folder.path().join("2")).expect("there").count();
    assert_eq!((indexed.texts("open").len(), now), (1, left), "no file of before is left");
}

/// What a reader of every text finds.
fn scan(log: &Log, wanted: &Wanted<'_>) -> Vec<i64> {
    let fits = |message: &&Message| {
        let is_within = match wanted.within {
            Within::All => true,
            Within::One(id, after) => message.conversation_id == id && message.seq > after,
            Within::Some(readable) => {
                let after = readable.get(&conversation_key(&message.conversation_id));
                after.is_some_and(|after| message.seq > *after)
            }
        };
        is_within
            && (wanted.sender_id.is_empty() || message.sender_id == wanted.sender_id)
            && (wanted.before == 0 || message.server_msg_id < wanted.before)
            && spans(wanted.query, &message.text).is_some()
    };
    let read = log.as_read();
    read.values().rev().filter(fits).map(|message| message.server_msg_id).collect()
}

#[test]
fn the_index_finds_what_a_scan_of_all_texts_finds() {
    for seed in 0..25 {
        let (mut dice, folder, log) = (Dice(seed), folder(), Arc::new(Log::default()));
        let mut indexed = Indexed::open(folder.path(), &log);
        let mut said: Vec<Message> = Vec::new();
        for _ in 0..dice.below(120) {
            match dice.below(12) {
                0 if !said.is_empty() => {
                    let target = &said[dice.below(said.len())];
                    log.act(target, MessageType::Revoke, "");
                }
                1 if !said.is_empty() => {
                    let target = &said[dice.below(said.len())];
                    log.act(target, MessageType::Edit, &any_text(&mut dice, 8));
                }
                2 => indexed.write(1 + dice.below(20)),
                3 => indexed.writer.settle().expect("committed"),
                4 if dice.below(4) == 0 => {
                    indexed.position = indexed.writer.open().expect("opened")
                }
                5 if dice.below(4) == 0 => {
                    drop(indexed);
                    indexed = Indexed::open(folder.path(), &log);
                }
                _ => {
                    let conversation = format!("c{}", dice.below(3));
                    let sender = dice.of(&["alice", "bob"]);
                    said.push(log.say(&conversation, sender, &any_text(&mut dice, 8)));
                }
            }
        }
        indexed.follow();
        for _ in 0..60 {
            let mut query = any_text(&mut dice, 4);
            if dice.below(3) == 0 {
                query = format!("\"{query}\" {}", any_text(&mut dice, 2));
            }
            if super::check(&query).is_err() {
                continue;
            }
            let readable: Readable =
                [(conversation_key("c0"), dice.below(9) as u64)].into_iter().collect();
            let wanted = Wanted {
                query: &query,
                sender_id: dice.of(&["", "", "bob"]),
                before: dice.below(3) as i64 * 100,
                within: match dice.below(4) {
                    0 => Within::One("c1", dice.below(5) as u64),
                    1 => Within::Some(&readable),
                    _ => Within::All,
                },
                ..Wanted::default()
            };
            assert_eq!(indexed.ids(&wanted), scan(&log, &wanted), "seed {seed}: {wanted:?}");
        }
    }
}
