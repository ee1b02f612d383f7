use std::fs;
use std::path::Path;
use std::sync::Arc;

use imflow_proto::record::OnlineChange;

use super::*;

fn online(user: &str) -> Record {
    Record::Online(OnlineChange { user_id: user.into(), online: true, last_active_at: 0 })
}

fn written(path: &Path, limit: u64, keep: usize, batches: &[&[&str]]) {
    let (queue, inbox) = Queue::new(WAITING_RECORDS);
    let rotation = Rotation::open(path.to_owned(), limit, keep).expect("a folder of the test");
    let waiting = queue.waiting();
    for batch in batches {
        queue.offer("test", batch.iter().map(|user| online(user)).collect());
    }
    queue.close();
    Writer::new(inbox, rotation, Arc::clone(&waiting)).run();
    assert_eq!(waiting.load(std::sync::atomic::Ordering::Acquire), 0, "nothing waits any more");
}

#[test]
fn each_record_is_a_line_and_a_restart_appends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("deep/online.ndjson");
    written(&path, 1 << 20, 3, &[&["alice", "bob"], &["你好"]]);
    written(&path, 1 << 20, 3, &[&["dave"]]);
    let lines = fs::read_to_string(&path).expect("it was written");
    let expected = ["alice", "bob", "你好", "dave"]
        .map(|user| format!("{{\"userId\":\"{user}\",\"online\":true,\"lastActiveAt\":0}}\n"));
    assert_eq!(lines, expected.concat());
}

#[test]
fn full_files_are_renamed_and_only_so_many_stay() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("online.ndjson");
    let batches: Vec<Vec<String>> = (0..6).map(|n| vec![format!("user{n}")]).collect();
    for batch in &batches {
        written(&path, 10, 2, &[&[batch[0].as_str()]]);
    }
    let holds = |name: &str, user: &str| {
        fs::read_to_string(folder.path().join(name)).is_ok_and(|text| text.contains(user))
    };
    assert!(holds("online.ndjson", "user5") && holds("online.ndjson.1", "user4"));
    assert!(holds("online.ndjson.2", "user3") && !folder.path().join("online.ndjson.3").exists());
}

#[test]
fn what_does_not_fit_is_dropped_and_the_rest_is_kept() {
    let (queue, inbox) = Queue::new(WAITING_RECORDS);
    queue.offer("test", vec![online("a"); WAITING_RECORDS]);
    queue.offer("test", vec![online("b")]);
    assert_eq!(inbox.len(), 1, "the second batch was dropped");
    assert_eq!(queue.waiting().load(std::sync::atomic::Ordering::Acquire), WAITING_RECORDS);
}

#[test]
fn a_disk_that_fails_and_comes_back_loses_only_what_came_between() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("online.ndjson");
    let mut rotation = Rotation::open(path.clone(), 4, 1).expect("a folder of the test");
    rotation.write(b"first\n").expect("there is room");
    // The folder is gone: the rotation that is due cannot be done.
    fs::remove_dir_all(folder.path()).expect("ours");
    assert!(rotation.write(b"lost\n").is_err());
    fs::create_dir_all(folder.path()).expect("ours");
    fs::write(&path, "").expect("ours");
    rotation.write(b"again\n").expect("there is room");
    assert_eq!(fs::read_to_string(&path).expect("it was written"), "again\n");
}
