//! A copy of the log in MongoDB.
//!
//! ```text
//! records -> members (as of each message) -> documents by collection -> unordered inserts, side by side
//!                                                                           -> the position
//! ```
//! Invariant: the documents of a record depend on the log alone, byte for byte, so that writing a record
//! again finds what it would write. Whatever was cut short is finished by writing it again.

mod archive;
mod collections;
mod documents;
mod erase;
mod insert;
mod members;
mod reads;
mod timeline;

use std::collections::BTreeMap;
use std::time::Duration;

use imflow_kind::{Logged, Replica, ReplicaError};
use imflow_proto::record::{CommittedFact, Lsn};
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};
use mongodb::{Client, Database};
use tokio::runtime::Runtime;

use collections::Prepared;
use documents::Batch;
use insert::Expect;
use members::Members;
pub use reads::MongoArchive;

/// Where the copies stand.
const POSITIONS: &str = "imflow_position";

/// A call may take this many times as long as a server is waited for.
const PATIENCE: u32 = 10;

/// How a copy is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    pub uri: String,
    pub database: String,
    /// The name of this copy, under which its position is kept.
    pub copy: String,
    /// How long a server is waited for.
    pub timeout: Duration,
    /// Collections that are written at the same time.
    pub writers: usize,
    /// Conversations with more members get no timeline rows.
    pub timeline_members: usize,
    /// How long collections of ids are kept.
    pub ids_ms: i64,
    /// The age at which messages move to the archive.
    pub hot_ms: i64,
    /// The age at which archived messages expire.
    pub archive_ms: i64,
    /// The same where a member has one of these levels, if that is later.
    pub levels: BTreeMap<String, i64>,
}

/// The copy.
pub struct Mongo {
    settings: Settings,
    options: ClientOptions,
    /// One thread, whose tasks run while a call waits.
    runtime: Runtime,
    /// Made anew after a failure of which nobody knows what it left behind.
    database: Option<Database>,
    prepared: Prepared,
    members: Members,
    job: archive::Job,
    eraser: erase::Eraser,
    expect: Expect,
}

impl Mongo {
    /// A copy that is not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let (runtime, options) = client_options(&settings)?;
        let members = Members::new(settings.timeline_members);
        let job = archive::Job::default();
        let (prepared, eraser) = (Prepared::default(), erase::Eraser::default());
        let expect = Expect::Known;
        let database = None;
        Ok(Self { settings, options, runtime, database, prepared, members, job, eraser, expect })
    }

    /// The longest call. A server may be slow in many steps; only one that stands still meets it.
    fn limit(&self) -> Duration {
        self.settings.timeout.saturating_mul(PATIENCE)
    }

    fn connected(&mut self) -> Result<Database, ReplicaError> {
        if let Some(database) = &self.database {
            return Ok(database.clone());
        }
        let client = self.runtime.block_on(async { Client::with_options(self.options.clone()) });
        let database =
            client.map_err(|error| failure("connect", &error))?.database(&self.settings.database);
        self.database = Some(database.clone());
        Ok(database)
    }
}

impl Replica for Mongo {
    fn open(&mut self) -> Result<Lsn, ReplicaError> {
        let database = self.connected()?;
        let limit = self.limit();
        // A server that has lost its documents has lost its indexes too.
        self.prepared = Prepared::default();
        // The position moves behind what was written.
        self.expect = Expect::Known;
        self.eraser.look_again();
        let of = doc! { "_id": &self.settings.copy };
        let found = self.runtime.block_on(within(limit, async {
            let position = database.collection::<Document>(POSITIONS);
            let found = position.find_one(of).await;
            found.map_err(|error| failure("read the position", &error))
        }))?;
        Ok(found.and_then(|found| found.get_i64("lsn").ok()).unwrap_or(0) as Lsn)
    }

    fn learns(&self) -> bool {
        true
    }

    fn holds(&self) -> bool {
        true
    }

    fn unlearn(&mut self) {
        self.members = Members::new(self.settings.timeline_members);
    }

    fn learn(&mut self, fact: &CommittedFact) {
        self.members.apply(&fact.fact);
    }

    fn write(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError> {
        let mut rest = records;
        // When it is noted what is to be erased, nothing that comes later is there.
        while let Some(at) = rest.iter().position(Logged::is_erasure) {
            let (part, behind) = rest.split_at(at + 1);
            self.write_part(part, part[at].lsn())?;
            rest = behind;
        }
        self.write_part(rest, upto)
    }

    fn tend(&mut self, now_ms: u64) -> Result<bool, ReplicaError> {
        let (database, limit) = (self.connected()?, self.limit());
        let Self { runtime, settings, prepared, job, eraser, members, .. } = self;
        let keeping = archive::Keeping { settings, members };
        runtime.block_on(within(limit, async {
            match eraser.step(&database, &settings.copy).await? {
                true => Ok(true),
                false => job.step(&database, keeping, prepared, now_ms as i64).await,
            }
        }))
    }
}

impl Mongo {
    /// Writes records of which only the last may ask for an erasure, then moves the position.
    fn write_part(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError> {
        let (database, limit) = (self.connected()?, self.limit());
        let mut changed = self.members.begin();
        let batch = Batch::of(records, &mut changed);
        let written = self.runtime.block_on(within(limit, async {
            let batch = batch
                .map_err(|error| ReplicaError(format!("a message has no form in BSON: {error}")))?;
            let how = (self.expect, self.settings.writers);
            self.expect = insert::all(&database, &mut self.prepared, batch, how).await?;
            if let Some(Logged::Fact(fact)) = records.last() {
                self.eraser.ask(&database, &self.settings.copy, fact).await?;
            }
            let position = database.collection::<Document>(POSITIONS);
            let move_to = doc! { "$set": { "lsn": upto as i64 } };
            let moved = position
                .update_one(doc! { "_id": &self.settings.copy }, move_to)
                .upsert(true)
                .await;
            moved.map(drop).map_err(|error| failure("move the position", &error))
        }));
        match written {
            Ok(()) => changed.keep(),
            Err(_) => changed.undo(),
        }
        written
    }
}

/// A runtime of one thread, whose tasks run while a call waits, and how to connect.
fn client_options(settings: &Settings) -> Result<(Runtime, ClientOptions), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime can be made: {error}"))?;
    let options = runtime.block_on(async { ClientOptions::parse(&settings.uri).await });
    let mut options = options.map_err(|error| {
        format!(
            "`uri` is not the address of a MongoDB server: {}; write it as mongodb://HOST:PORT/",
            reason(&error)
        )
    })?;
    options.app_name.get_or_insert_with(|| "imflow".into());
    options.server_selection_timeout = Some(settings.timeout);
    options.connect_timeout = Some(settings.timeout);
    // What the service calls durable stays so when a member of the replica set is lost.
    let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true);
    options.write_concern.get_or_insert_with(|| concern.build());
    Ok((runtime, options))
}

/// Ends a call that takes too long. What the server still does of it changes nothing when it is done again.
async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, ReplicaError>>,
) -> Result<T, ReplicaError> {
    let too_long = || Err(ReplicaError(format!("MongoDB: no answer within {} s", limit.as_secs())));
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| too_long())
}

/// What was being done, and what the server or the driver said.
fn failure(doing: &str, error: &mongodb::error::Error) -> ReplicaError {
    ReplicaError(format!("MongoDB: {doing}: {}", reason(error)))
}

/// An error of the driver without its addresses of servers, which may hold a password, and in one line.
fn reason(error: &mongodb::error::Error) -> String {
    error.kind.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
