use std::sync::Arc;

use imflow_kind::testing::FakeInjector;
use imflow_kind::{Durable, Gate, Logged};
use imflow_proto::Record;
use imflow_proto::log::Fact;
use imflow_proto::record::{Committed, CommittedFact, Event};
use imflow_proto::wire::{AckStatus, Message};
use parking_lot::Mutex;
use rapidhash::v3::rapidhash_v3;

use super::*;

const MANNER: Manner = Manner { batch: 3, retries: 2, pause_ms: 100 };

/// A log of messages, every fifth record a fact.
#[derive(Default)]
struct Log(Mutex<Lsn>);

impl Log {
    fn of(records: Lsn) -> Arc<Self> {
        Arc::new(Self(Mutex::new(records)))
    }

    fn record(lsn: Lsn) -> Logged {
        if lsn.is_multiple_of(5) {
            return Logged::Fact(fact(lsn));
        }
        let (conversation_id, sender_id) = ("c1".into(), format!("user{}", lsn % 2));
        let message = Message { conversation_id, sender_id, seq: lsn, ..Message::default() };
        Logged::Message(Box::new(Committed::recovered(lsn, message)))
    }
}

fn fact(lsn: Lsn) -> CommittedFact {
    CommittedFact { lsn, fact: Arc::new(Fact { at: lsn as i64, ..Fact::default() }) }
}

impl Journal for Log {
    fn read_on(&self, bookmark: &mut Bookmark, limit: usize) -> Result<Vec<Logged>, StoreError> {
        let records = (bookmark.lsn + 1..=self.durable_lsn()).take(limit);
        let records: Vec<_> = records.map(Self::record).collect();
        bookmark.lsn += records.len() as Lsn;
        Ok(records)
    }

    fn replay_facts(
        &self,
        upto: Lsn,
        visit: &mut dyn FnMut(CommittedFact),
    ) -> Result<(), StoreError> {
        (1..=upto).filter(|lsn| lsn.is_multiple_of(5)).for_each(|lsn| visit(fact(lsn)));
        Ok(())
    }

    fn durable_lsn(&self) -> Lsn {
        *self.0.lock()
    }

    fn replay(&self, _: Lsn, _: &mut dyn FnMut(Durable<'_>)) -> Result<(), StoreError> {
        unreachable!("a follower reads on")
    }

    fn facts(&self, _: &mut dyn FnMut(Fact)) -> Result<(), StoreError> {
        unreachable!("a follower reads on")
    }

    fn load_snapshot(&self, _: u32) -> Result<Option<(Lsn, Vec<u8>)>, StoreError> {
        Ok(None)
    }

    fn save_snapshot(&self, _: u32, _: Lsn, _: Vec<u8>) {}

    fn gate(&self) -> Gate {
        Gate::default()
    }
}

/// What another system holds, and what becomes of the next calls to it.
#[derive(Default)]
struct Other {
    records: Vec<Lsn>,
    position: Lsn,
    /// The facts that the copy has been told, in order.
    learnt: Vec<Lsn>,
    fate: Fate,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Fine,
    /// It did not come through.
    Lost,
    /// A part of it was done, and the answer did not come through.
    Half,
    /// All of it was done but for the position.
    Whole,
    /// The system is empty from now on.
    Emptied,
}

struct Fate(Box<dyn FnMut() -> Outcome + Send>);

impl Default for Fate {
    fn default() -> Self {
        Self(Box::new(|| Outcome::Fine))
    }
}

struct OtherCopy(Arc<Mutex<Other>>);

fn lost() -> ReplicaError {
    ReplicaError("the test lost it".into())
}

impl Replica for OtherCopy {
    fn open(&mut self) -> Result<Lsn, ReplicaError> {
        let mut other = self.0.lock();
        match (other.fate.0)() {
            Outcome::Fine => Ok(other.position),
            Outcome::Emptied => {
                (other.records, other.position) = (Vec::new(), 0);
                Err(lost())
            }
            _ => Err(lost()),
        }
    }

    fn learns(&self) -> bool {
        true
    }

    fn unlearn(&mut self) {
        self.0.lock().learnt.clear();
    }

    fn learn(&mut self, fact: &CommittedFact) {
        self.0.lock().learnt.push(fact.lsn);
    }

    fn write(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError> {
        let mut other = self.0.lock();
        let outcome = (other.fate.0)();
        let written = match outcome {
            Outcome::Fine | Outcome::Whole => records.len(),
            Outcome::Half => records.len() / 2,
            Outcome::Lost => 0,
            Outcome::Emptied => {
                (other.records, other.position) = (Vec::new(), 0);
                0
            }
        };
        for record in &records[..written] {
            if !other.records.contains(&record.lsn()) {
                other.records.push(record.lsn());
            }
        }
        if outcome != Outcome::Fine {
            return Err(lost());
        }
        let facts = records.iter().filter(|record| matches!(record, Logged::Fact(_)));
        let facts: Vec<Lsn> = facts.map(Logged::lsn).collect();
        // Facts must be complete before what follows them is written.
        let expected: Vec<Lsn> = (1..=other.position).filter(|lsn| lsn.is_multiple_of(5)).collect();
        assert_eq!(other.learnt, expected, "what is learnt is what the copy holds");
        other.learnt.extend(facts);
        other.position = upto;
        Ok(())
    }
}

fn follower(
    log: &Arc<Log>,
    fate: impl FnMut() -> Outcome + Send + 'static,
) -> (Follower, Arc<Mutex<Other>>, Arc<FakeInjector>) {
    let other = Other { fate: Fate(Box::new(fate)), ..Other::default() };
    let (other, injector) = (Arc::new(Mutex::new(other)), Arc::new(FakeInjector::default()));
    let replica = Box::new(OtherCopy(Arc::clone(&other)));
    let journal = Arc::clone(log) as Arc<dyn Journal>;
    let follower = Follower::of("copy", MANNER, journal, replica, Some(Arc::clone(&injector) as _));
    (follower, other, injector)
}

/// Steps until nothing is left to do; gives the time at the end.
fn run(follower: &mut Follower, mut now: u64) -> u64 {
    loop {
        match follower.step(now) {
            Next::Again => {}
            Next::At(at) => now = at,
            Next::IdleUntil(_) => return now,
        }
    }
}

/// What senders were told: seq and status.
fn told(injector: &FakeInjector) -> Vec<(u64, AckStatus)> {
    let status = |(_, _, record)| match record {
        Record::Delivery(delivery) => match &delivery.event {
            Event::Status(status) => {
                assert_eq!(&*delivery.to[0], format!("user{}", status.seq % 2));
                (status.seq, status.status())
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    injector.take_records().into_iter().map(status).collect()
}

#[test]
fn whatever_fails_the_copy_ends_as_the_log() {
    for seed in 0..500_u64 {
        let mut call = 0_u64;
        let fate = move || {
            call += 1;
            // In the end everything goes well, or it would never end.
            let dice = rapidhash_v3(&[seed.to_le_bytes(), call.to_le_bytes()].concat()) % 12;
            match dice {
                0..3 if call < 60 => Outcome::Lost,
                3 | 4 if call < 60 => Outcome::Half,
                5 | 6 if call < 60 => Outcome::Whole,
                7 if call < 60 => Outcome::Emptied,
                _ => Outcome::Fine,
            }
        };
        let log = Log::of(seed % 40);
        let (mut follower, other, _) = follower(&log, fate);
        let now = run(&mut follower, 0);
        *log.0.lock() += seed % 17;
        run(&mut follower, now);
        let other = other.lock();
        let mut records = other.records.clone();
        records.sort_unstable();
        assert_eq!(records, (1..=log.durable_lsn()).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(other.position, log.durable_lsn(), "seed {seed}");
    }
}

#[test]
fn senders_are_told_when_retries_are_used_up_and_again_when_it_is_there() {
    let away = Arc::new(Mutex::new(true));
    let is_away = Arc::clone(&away);
    let log = Log::of(0);
    let (mut follower, _, injector) = follower(&log, move || match *is_away.lock() {
        true => Outcome::Lost,
        false => Outcome::Fine,
    });
    *log.0.lock() = 4;
    assert_eq!((follower.step(0), follower.step(100)), (Next::At(100), Next::At(300)));
    assert_eq!(told(&injector), [], "two retries are left");
    assert_eq!(follower.step(300), Next::At(700));
    let delayed =
        |seqs: &[u64]| seqs.iter().map(|seq| (*seq, AckStatus::Delayed)).collect::<Vec<_>>();
    assert_eq!(told(&injector), delayed(&[1, 2, 3, 4]));
    *log.0.lock() = 7;
    follower.step(700);
    assert_eq!(told(&injector), delayed(&[6, 7]), "the fifth record is a fact");
    *away.lock() = false;
    *log.0.lock() = 9;
    run(&mut follower, 10_000);
    let there: Vec<_> = [1, 2, 3, 4, 6, 7].map(|seq| (seq, AckStatus::Ok)).into();
    assert_eq!(told(&injector), there, "of 8 and 9 nothing was said before");
}

#[test]
fn of_what_was_there_before_the_start_nobody_is_told() {
    let away = Arc::new(Mutex::new(true));
    let is_away = Arc::clone(&away);
    let log = Log::of(4);
    let (mut follower, other, injector) = follower(&log, move || match *is_away.lock() {
        true => Outcome::Lost,
        false => Outcome::Fine,
    });
    let mut now = 0;
    while now < 60_000 {
        let Next::At(at) = follower.step(now) else { panic!("it fails") };
        now = at;
    }
    *away.lock() = false;
    now = run(&mut follower, now);
    assert_eq!((told(&injector), other.lock().position), (vec![], 4));
    // Nor of what is written again because the copy was lost.
    *log.0.lock() = 6;
    *away.lock() = true;
    while now < 120_000 {
        let Next::At(at) = follower.step(now) else { panic!("it fails") };
        now = at;
    }
    assert_eq!(told(&injector), [(6, AckStatus::Delayed)]);
    *away.lock() = false;
    other.lock().position = 0;
    other.lock().records.clear();
    now = run(&mut follower, now);
    assert_eq!(told(&injector), [(6, AckStatus::Ok)]);
    other.lock().position = 0;
    *away.lock() = true;
    *log.0.lock() = 7;
    follower.step(now);
    *away.lock() = false;
    run(&mut follower, now + 100);
    assert_eq!(told(&injector), []);
}

#[test]
fn the_pause_grows_to_its_limit() {
    let log = Log::of(1);
    let (mut follower, ..) = follower(&log, || Outcome::Lost);
    let (mut now, mut pauses) = (0, Vec::new());
    for _ in 0..8 {
        let Next::At(at) = follower.step(now) else { panic!("it fails") };
        pauses.push(at - now);
        now = at;
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
}

#[test]
fn the_copy_of_another_log_is_left_alone() {
    let log = Log::of(3);
    let (mut follower, other, _) = follower(&log, || Outcome::Fine);
    other.lock().position = 4;
    assert!(matches!(follower.step(0), Next::At(_)));
    assert!(other.lock().records.is_empty());
}
