//! The log as a whole over files in memory, its threads stepped by hand.

mod amendments;
mod cool;
mod erasure;
mod failing_disk;
mod faults;
mod following;
mod ground;
mod index;
#[cfg(feature = "mongo")]
mod layers;
mod recovery;
mod reopen;
mod sink;
#[cfg(feature = "mongo")]
mod timelines;
mod trim;

use std::sync::Arc;
use std::time::Duration;

use imflow_kind::Injector;
use imflow_kind::VirtualClock;
use imflow_kind::testing::{Answers, FakeInjector};
use imflow_proto::log::fact::Change as FactChange;
use imflow_proto::log::{ConversationCreated, Fact};
use imflow_proto::record::{Change, Entry, Scopes, Session};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Done, MemberInfo, Message, Role};
use imflow_proto::{Keys, Record, Ticket};

use super::LogError;
use super::committer::Committer;
use super::completions::Completions;
use super::files::{Files, Memory};
use super::index::{
    Age, Cool, Directory, Index, Indexer, Ingester, Keep, MemoryTables, Policy, RamSegment,
    Retention, Tables, Trim,
};
use super::meters::LogMeters;
use super::parts::{Parts, Storage};
use super::snapshots::Snapshots;
use super::space::Sizes;

/// Small enough that a test fills several segments.
const SIZES: Sizes = Sizes { segment: 2 << 10, commit: 1 << 10, reserve: 4 << 10 };

/// How long an id counts.
const RETAIN: Duration = Duration::from_secs(1);

/// A log whose threads are stepped.
struct Rig {
    storage: Storage,
    index: Arc<Index>,
    clock: Arc<VirtualClock>,
    gate: imflow_kind::Gate,
    space: Arc<super::space::Space>,
    committer: Committer,
    indexer: Indexer,
    /// Segments that the tables do not hold yet.
    sealed: Vec<Arc<RamSegment>>,
    ingester: Ingester,
    snapshots: Arc<Snapshots>,
    sent: Arc<FakeInjector>,
    answers: Arc<Answers>,
}

impl Rig {
    fn open(files: Arc<dyn Files>, tables: Arc<dyn Tables>) -> Result<Self, LogError> {
        Self::telling(FakeInjector::holding(), files, tables)
    }

    fn telling(
        sent: Arc<FakeInjector>,
        files: Arc<dyn Files>,
        tables: Arc<dyn Tables>,
    ) -> Result<Self, LogError> {
        let storage = Storage { files, tables, policy: Policy::Ingest, lock: None };
        let parts = Parts::recover(&storage, SIZES)?;
        let completions = Completions::new(Arc::clone(&sent) as Arc<dyn Injector>);
        let Parts { segments, space, progress, index, tail } = parts;
        let committer = Committer::new(
            segments,
            Arc::clone(&space),
            progress,
            completions,
            LogMeters::new(&imflow_kind::Meters::default()),
            tail,
        );
        let indexer = Indexer { index: Arc::clone(&index), space: Arc::clone(&space) };
        let clock = Arc::new(VirtualClock::default());
        let snapshots = Arc::new(Snapshots::written_at_once(Arc::new(Memory::default())));
        let retention = Retention::new(Arc::clone(&index), Arc::clone(&clock) as _, RETAIN);
        let trim = Trim {
            index: Arc::clone(&index),
            files: Arc::clone(&storage.files),
            snapshots: Arc::clone(&snapshots),
            age: Age::new(Arc::clone(&clock) as _),
            keep: Keep::default(),
            partitions: 1,
            segment_bytes: SIZES.segment,
        };
        let cool = Cool {
            index: Arc::clone(&index),
            age: Age::new(Arc::clone(&clock) as _),
            folder: None,
            hot: Duration::from_secs(10),
            moved: 0,
        };
        let (of, room) = (Arc::clone(&index), Arc::clone(&space));
        let ingester = Ingester::new(of, room, Policy::Ingest, retention, trim, cool);
        let (gate, answers, sealed) = (space.gate(), Arc::default(), Vec::new());
        Ok(Self {
            storage,
            index,
            clock,
            gate,
            space,
            committer,
            indexer,
            sealed,
            ingester,
            snapshots,
            sent,
            answers,
        })
    }

    fn memory() -> Self {
        Self::open(Arc::new(Memory::default()), Arc::new(MemoryTables::default()))
            .expect("a new log")
    }

    /// Commits these records as one group and lets the index follow, all but the tables.
    fn commit(&mut self, records: Vec<Record>) {
        while self.space.make_one().expect("room") {}
        self.write(records);
    }

    /// Commits these records in the room that there is.
    fn write(&mut self, records: Vec<Record>) {
        records.into_iter().for_each(|record| self.committer.add(0, record));
        if let Some(group) = self.committer.commit() {
            self.sealed.extend(self.indexer.apply(&group).expect("nobody gives up"));
        }
    }

    /// Moves sealed segments into the tables.
    fn ingest(&mut self) {
        for segment in self.sealed.drain(..) {
            self.ingester.move_in(&segment).expect("the tables take it");
        }
    }

    fn ticket(&self, id: u64) -> Ticket {
        self.answers.ticket(id)
    }

    fn message(&self, conversation: &str, seq: u64) -> Record {
        self.ordered(message(conversation, seq))
    }

    fn ordered(&self, message: Message) -> Record {
        let session = Session {
            number: 1,
            user_id: "alice".into(),
            device_id: "phone".into(),
            scopes: Scopes::default(),
        };
        let keys = Keys::of_message(&message);
        Record::Ordered(Arc::new(Entry {
            lsn: 0,
            ticket: Some(self.ticket(message.seq)),
            session: Some(Arc::new(session)),
            message,
            keys,
        }))
    }

    fn created(&self, conversation: &str) -> Record {
        let member = MemberInfo { user_id: "alice".into(), role: Role::Owner.into() };
        let created = ConversationCreated { members: vec![member], ..Default::default() };
        let fact = Fact {
            conversation_id: conversation.into(),
            at: 1,
            by: String::new(),
            change: Some(FactChange::Created(created)),
        };
        self.change(&Arc::new(fact))
    }

    fn change(&self, fact: &Arc<Fact>) -> Record {
        let (ticket, fact) = (self.ticket(900), Arc::clone(fact));
        Record::Change(Arc::new(Change { ticket, fact, answer: Body::Done(Done {}) }))
    }
}

fn message(conversation: &str, seq: u64) -> Message {
    Message {
        conversation_id: conversation.into(),
        seq,
        client_msg_id: format!("alice-phone-{seq}-1"),
        sender_id: "alice".into(),
        text: format!("the text of {seq} ").repeat(3),
        created_at: 1_000 + seq as i64,
        ..Default::default()
    }
}
