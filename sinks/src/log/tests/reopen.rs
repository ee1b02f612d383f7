//! An index whose store takes no more writes after one that failed works again without a restart, and
//! has lost nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use imflow_kind::Store as _;
use parking_lot::Mutex;

use super::*;
use crate::log::index::{EachRow, Opener, Put, Reopening, Row, Table};

/// What survives of the tables, and what goes wrong with them.
#[derive(Default)]
struct Ground {
    durable: Mutex<Arc<MemoryTables>>,
    /// Writes that fail from now on before there is room again.
    full_for: AtomicU32,
    /// The next opening finds bytes that it cannot make sense of.
    damaged: AtomicBool,
}

impl Ground {
    fn check(&self) -> Result<(), LogError> {
        let left = |left: u32| left.checked_sub(1);
        match self.full_for.fetch_update(Ordering::AcqRel, Ordering::Acquire, left) {
            Ok(_) => Err(LogError::io("write", "index")(std::io::ErrorKind::StorageFull.into())),
            Err(_) => Ok(()),
        }
    }
}

struct Folder(Arc<Ground>);

impl Opener for Folder {
    fn check_room(&self) -> Result<(), LogError> {
        self.0.check()
    }

    fn open(&self) -> Result<Arc<dyn Tables>, LogError> {
        if self.0.damaged.load(Ordering::Acquire) {
            return Err(LogError::Index(fjall::Error::Unrecoverable));
        }
        let live = self.0.durable.lock().copy();
        Ok(Arc::new(Fragile { live, refuses: AtomicBool::new(false), ground: Arc::clone(&self.0) }))
    }

    fn remove(&self) -> Result<(), LogError> {
        self.0.damaged.store(false, Ordering::Release);
        *self.0.durable.lock() = Arc::default();
        Ok(())
    }
}

/// Tables that refuse all writes after one that failed, and keep only what was made durable.
struct Fragile {
    live: MemoryTables,
    refuses: AtomicBool,
    ground: Arc<Ground>,
}

impl Fragile {
    fn check(&self) -> Result<(), LogError> {
        if self.refuses.load(Ordering::Acquire) {
            return Err(LogError::Index(fjall::Error::Poisoned));
        }
        self.ground.check().inspect_err(|_| self.refuses.store(true, Ordering::Release))
    }
}

impl Tables for Fragile {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        self.live.get(table, key)
    }

    fn last_at_or_before(&self, table: Table, key: &[u8]) -> Result<Option<Row>, LogError> {
        self.live.last_at_or_before(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], each: EachRow<'_>) -> Result<(), LogError> {
        self.live.scan(table, from, each)
    }

    fn write(&self, changes: Vec<Put>) -> Result<(), LogError> {
        self.check()?;
        self.live.write(changes)
    }

    fn ingest(&self, table: Table, rows: &mut dyn Iterator<Item = Row>) -> Result<(), LogError> {
        self.check()?;
        let rows: Vec<Row> = rows.collect();
        self.ground.durable.lock().ingest(table, &mut rows.iter().cloned())?;
        self.live.ingest(table, &mut rows.into_iter())
    }

    fn remove(
        &self,
        table: Table,
        keys: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<(), LogError> {
        self.check()?;
        self.live.remove(table, keys)
    }

    fn persist(&self) -> Result<(), LogError> {
        self.check()?;
        *self.ground.durable.lock() = Arc::new(self.live.copy());
        Ok(())
    }
}

fn rig() -> (Rig, Arc<Ground>) {
    let ground = Arc::new(Ground::default());
    let tables = Reopening::open(Box::new(Folder(Arc::clone(&ground)))).expect("opened");
    (Rig::open(Arc::new(Memory::default()), Arc::new(tables)).expect("a new log"), ground)
}

/// Messages over several segments and facts between them.
fn fill(rig: &mut Rig, conversations: std::ops::Range<u64>) {
    for n in conversations {
        rig.commit(vec![rig.created(&format!("g{n}")), rig.message("c", n + 1)]);
    }
}

fn assert_whole(rig: &Rig, conversations: u64) {
    for n in 0..conversations {
        let view = rig.index.conversation(&format!("g{n}"), "alice").expect("read");
        assert!(view.is_some_and(|view| view.info.member_count == 1), "g{n} was forgotten");
    }
    let page = rig.index.messages("c", 0, 1_000).expect("read");
    assert!(page.items.iter().map(|message| message.seq).eq(1..=conversations));
    for seq in 1..=conversations {
        let id = format!("alice-phone-{seq}-1");
        assert!(rig.index.by_client_msg_id("c", "alice", &id).expect("read").is_some(), "{id}");
    }
}

#[test]
fn a_fact_that_the_index_could_not_take_is_applied_when_there_is_room_and_none_before_it_is_lost() {
    let (mut rig, ground) = rig();
    fill(&mut rig, 0..40);
    rig.ingest();
    // Applied but not durable in the tables: forgotten when they are opened anew.
    fill(&mut rig, 40..45);
    ground.full_for.store(5, Ordering::Release);
    fill(&mut rig, 45..60);
    assert!(!rig.gate.is_closed());
    assert_whole(&rig, 60);
}

#[test]
fn a_segment_that_the_index_could_not_take_is_moved_when_there_is_room() {
    for fails in 1..8 {
        let (mut rig, ground) = rig();
        fill(&mut rig, 0..60);
        ground.full_for.store(fails, Ordering::Release);
        for segment in rig.sealed.drain(..) {
            assert!(rig.ingester.take(&segment));
        }
        assert_whole(&rig, 60);
        assert_eq!(rig.index.directory.facts_lsn().expect("read"), 119);
    }
}

#[test]
fn an_index_that_cannot_be_opened_again_is_rebuilt_from_the_log() {
    let (mut rig, ground) = rig();
    fill(&mut rig, 0..60);
    rig.ingest();
    ground.full_for.store(2, Ordering::Release);
    ground.damaged.store(true, Ordering::Release);
    fill(&mut rig, 60..61);
    assert_whole(&rig, 61);
}

#[test]
fn reads_go_on_while_the_index_waits_for_room() {
    let (mut rig, ground) = rig();
    fill(&mut rig, 0..10);
    ground.full_for.store(u32::MAX, Ordering::Release);
    let record = rig.created("late");
    rig.committer.add(0, record);
    let group = rig.committer.commit().expect("a group");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.indexer.apply(&group).expect("nobody gives up"));
        while !rig.gate.is_closed() {
            std::thread::yield_now();
        }
        // Behind the log, which a reader otherwise waits for.
        assert_whole(&rig, 10);
        ground.full_for.store(0, Ordering::Release);
        waiting.join().expect("applied");
    });
    assert!(rig.index.conversation("late", "alice").expect("read").is_some());
    assert!(!rig.gate.is_closed());
}
