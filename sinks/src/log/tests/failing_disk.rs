//! A disk that fails to make a commit durable ends the process, before anybody hears of that commit.
//!
//! The end is an abort, so the log runs in a process of its own: this test binary, started again.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::log::files::LogFile;

/// Set in the process that is to end.
const CHILD: &str = "IMFLOW_TEST_FAILING_DISK";
const SIGABRT: i32 = 6;

#[test]
fn a_failed_sync_ends_the_process_and_nothing_of_it_is_acked() {
    if std::env::var_os(CHILD).is_some() {
        return commit_until_the_disk_fails();
    }
    let name =
        "log::tests::failing_disk::a_failed_sync_ends_the_process_and_nothing_of_it_is_acked";
    let child = Command::new(std::env::current_exe().expect("a path"))
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("started");
    let (out, err) =
        (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert_eq!(child.status.signal(), Some(SIGABRT), "{out}{err}");
    assert!(out.contains("committed: seq 1") && !out.contains("seq 2"), "{out}");
    for part in ["00000001.seg", "the cable was pulled", "the process ends"] {
        assert!(err.contains(part), "{part}: {err}");
    }
}

fn commit_until_the_disk_fails() {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let files = Arc::new(FailingDisk::default());
    let tables = Arc::new(MemoryTables::default());
    // Printed as it comes: the process has no later moment.
    let sent = FakeInjector::reacting(|record| {
        let Record::Committed(committed) = record else { panic!("{record:?}") };
        println!("committed: seq {}", committed.message.seq);
    });
    let mut rig = Rig::telling(sent, Arc::clone(&files) as _, tables).expect("a new log");
    rig.commit(vec![rig.message("c", 1)]);
    files.fails.store(true, Ordering::Release);
    rig.commit(vec![rig.message("c", 2)]);
    println!("outlived by the process");
}

/// A folder in memory whose files can no longer be synced once it `fails`.
#[derive(Default)]
struct FailingDisk {
    files: Memory,
    fails: Arc<AtomicBool>,
}

struct FailingFile {
    file: Arc<dyn LogFile>,
    fails: Arc<AtomicBool>,
}

impl FailingDisk {
    fn wrap(&self, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        Arc::new(FailingFile { file, fails: Arc::clone(&self.fails) })
    }
}

impl Files for FailingDisk {
    fn path(&self, name: &str) -> String {
        self.files.path(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.files.read(name)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.replace(name, bytes)
    }

    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Arc<dyn LogFile>> {
        self.files.create_zeroed(name, size).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        self.files.open(name).map(|file| self.wrap(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
}

impl LogFile for FailingFile {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        if self.fails.load(Ordering::Acquire) {
            return Err(io::Error::other("the cable was pulled"));
        }
        self.file.sync()
    }
}
