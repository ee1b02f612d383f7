//! The copy in MongoDB, against real servers that speak its protocol (`tests/services up`).
//!
//! FerretDB keeps what it is given; mongo-java-server also knows TTL indexes. What holds for both is run on
//! both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use imflow_kind::testing::archive::{self, Subject, conforms};
use imflow_kind::{Archive, Logged, Replica};
use imflow_proto::log::fact::Change;
use imflow_proto::log::{ConversationCreated, Fact, LevelChanged, MembersChanged};
use imflow_proto::record::{Committed, CommittedFact, Lsn};
use imflow_proto::wire::{MemberInfo, Message};
use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use tokio::runtime::Runtime;

use super::{Mongo, MongoArchive, Settings};

const DAY_MS: i64 = 86_400_000;
/// 2026-06-15T12:00:00Z
const NOW_MS: i64 = 1_781_524_800_000;

/// A server and a database of the test's own.
struct Server {
    settings: Settings,
    runtime: Runtime,
    database: Database,
}

impl Server {
    /// The servers that `tests/services` has started.
    fn both() -> [Self; 2] {
        ["IMFLOW_MONGO_URL", "IMFLOW_MONGO_JAVA_URL"].map(Self::of)
    }

    fn of(variable: &str) -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let uri = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `tests/services up`, then `eval \"$(tests/services env)\"`")
        });
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let settings = Settings {
            database: format!("test_{}_{number}", std::process::id()),
            uri: uri.clone(),
            copy: "node-1/archive".into(),
            timeout: Duration::from_secs(5),
            writers: 8,
            timeline_members: 3,
            ids_ms: 7 * DAY_MS,
            hot_ms: 30 * DAY_MS,
            archive_ms: 180 * DAY_MS,
            levels: BTreeMap::from([
                ("gold".to_owned(), 365 * DAY_MS),
                ("basic".to_owned(), DAY_MS),
            ]),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async { Client::with_uri_str(&uri).await.unwrap() });
        let database = client.database(&settings.database);
        Self { settings, runtime, database }
    }

    fn copy(&self) -> Mongo {
        Mongo::new(self.settings.clone()).unwrap()
    }

    /// A copy that writes all of `records` at once, from its position on.
    fn write(&self, records: &[Logged]) {
        let mut copy = self.copy();
        let position = copy.open().unwrap();
        assert!(copy.learns());
        copy.unlearn();
        let split = records.partition_point(|record| record.lsn() <= position);
        for record in &records[..split] {
            if let Logged::Fact(fact) = record {
                copy.learn(fact);
            }
        }
        let upto = records.last().map_or(0, Logged::lsn);
        copy.write(&records[split..], upto).unwrap();
    }

    /// Every document, as bytes, by collection; positions left out.
    fn everything(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut all = BTreeMap::new();
        for name in self.collections() {
            let documents = self.documents(&name, doc! {});
            let mut bytes: Vec<_> = documents.iter().map(|d| d.to_vec().unwrap()).collect();
            bytes.sort();
            if name != "imflow_position" && !bytes.is_empty() {
                all.insert(name, bytes);
            }
        }
        all
    }

    fn collections(&self) -> Vec<String> {
        self.runtime.block_on(async { self.database.list_collection_names().await.unwrap() })
    }

    fn documents(&self, collection: &str, filter: Document) -> Vec<Document> {
        let collection = self.database.collection::<Document>(collection);
        self.runtime
            .block_on(async { collection.find(filter).await.unwrap().try_collect().await.unwrap() })
    }

    fn insert(&self, collection: &str, document: Document) {
        let collection = self.database.collection::<Document>(collection);
        self.runtime.block_on(async { collection.insert_one(document).await.unwrap() });
    }

    /// Where the copy stands, or is to stand.
    fn set_position(&self, lsn: i64) {
        let collection = self.database.collection::<Document>("imflow_position");
        let set = doc! { "$set": { "lsn": lsn } };
        self.runtime.block_on(async { collection.update_one(doc! {}, set).await.unwrap() });
    }

    fn messages(&self) -> Vec<Document> {
        (0..32).flat_map(|n| self.documents(&format!("message_{n}"), doc! {})).collect()
    }

    fn rows(&self, user: &str) -> Vec<(String, i64)> {
        let found =
            (0..32).flat_map(|n| self.documents(&format!("timeline_{n}"), doc! { "userId": user }));
        let mut rows: Vec<_> = found
            .map(|row| (row.get_str("conversationId").unwrap().into(), row.get_i64("seq").unwrap()))
            .collect();
        rows.sort();
        rows
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(async { self.database.drop().await });
    }
}

fn message(lsn: Lsn, conversation: &str, seq: u64, at_ms: i64) -> Logged {
    let message = archive::message(lsn, conversation, seq, at_ms);
    let message = Message { payload: vec![0, 1, 255].into(), ..message };
    Logged::Message(Box::new(Committed::recovered(lsn, message)))
}

fn fact(lsn: Lsn, conversation: &str, change: Change) -> Logged {
    let fact =
        Fact { conversation_id: conversation.into(), change: Some(change), ..Default::default() };
    Logged::Fact(CommittedFact { lsn, fact: Arc::new(fact) })
}

fn infos(users: &[&str]) -> Vec<MemberInfo> {
    users.iter().map(|user| MemberInfo { user_id: (*user).into(), role: 1 }).collect()
}

fn created(lsn: Lsn, conversation: &str, users: &[&str]) -> Logged {
    let created = ConversationCreated { members: infos(users), ..Default::default() };
    fact(lsn, conversation, Change::Created(created))
}

fn changed(lsn: Lsn, conversation: &str, set: &[&str], removed: &[&str]) -> Logged {
    let removed = removed.iter().map(|user| (*user).to_owned()).collect();
    fact(lsn, conversation, Change::Members(MembersChanged { set: infos(set), removed }))
}

/// Two conversations, whose members change between messages.
fn story() -> Vec<Logged> {
    let mut records = vec![created(1, "c1", &["alice", "bob"]), created(2, "c2", &["alice"])];
    let mut seq = 0;
    for lsn in 3..40 {
        records.push(match lsn {
            10 => changed(lsn, "c1", &["carol"], &[]),
            20 => changed(lsn, "c1", &["dave"], &[]),
            30 => changed(lsn, "c1", &[], &["bob", "dave"]),
            _ => {
                seq += 1;
                let conversation = if lsn % 2 == 0 { "c2" } else { "c1" };
                message(lsn, conversation, seq, NOW_MS + lsn as i64)
            }
        });
    }
    records
}

#[test]
fn documents_depend_on_the_log_alone_and_come_again_unchanged() {
    for server in Server::both() {
        let records = story();
        server.write(&records);
        let all = server.everything();
        assert_eq!(server.messages().len(), 34);
        // Again from the start, then from places in between, as after a crash before the position moved.
        for position in [0, 1, 9, 10, 19, 20, 25, 30, 38] {
            server.set_position(position);
            server.write(&records);
            assert!(server.everything() == all, "from position {position}");
        }
        assert_eq!(server.copy().open(), Ok(39));
    }
}

#[test]
fn what_was_written_in_part_is_completed() {
    for (server, whole) in Server::both().into_iter().zip(Server::both()) {
        let records = story();
        whole.write(&records);
        let mut copy = server.copy();
        assert_eq!(copy.open(), Ok(0));
        // The documents of every third message are there, nothing else.
        for (n, document) in whole.messages().into_iter().enumerate() {
            if n % 3 == 0 {
                let shard =
                    imflow_proto::id::partition_of(document.get_str("conversationId").unwrap(), 32);
                server.insert(&format!("message_{shard}"), document);
            }
        }
        copy.write(&records, 39).unwrap();
        assert!(server.everything() == whole.everything());
    }
}

#[test]
fn timelines_have_those_who_were_members_of_small_conversations() {
    for server in Server::both() {
        server.write(&story());
        let of = |user: &str| {
            let rows = server.rows(user);
            rows.into_iter().filter(|(id, _)| id == "c1").map(|(_, seq)| seq).collect::<Vec<_>>()
        };
        let (alice, bob, carol) = (of("alice"), of("bob"), of("carol"));
        assert!(bob.iter().all(|seq| alice.contains(seq)));
        assert!(carol.iter().all(|seq| alice.contains(seq)));
        // From record 20 to 30 there were four members, and rows are for three.
        let gap: Vec<i64> = (1..40).filter(|seq| alice.contains(seq)).collect();
        assert!(gap.windows(2).any(|pair| pair[1] - pair[0] > 2), "{gap:?}");
        assert!(of("dave").is_empty());
        assert!(bob.last() < carol.last(), "bob had left");
    }
}

#[test]
fn a_foreign_document_in_the_place_stays_and_the_rest_is_written() {
    for server in Server::both() {
        let shard = imflow_proto::id::partition_of("c1", 32);
        let name = format!("message_{shard}");
        let records: Vec<_> = (1..=10).map(|n| message(n, "c1", n, NOW_MS + n as i64)).collect();
        let mut copy = server.copy();
        copy.open().unwrap();
        copy.write(&records[..1], 1).unwrap();
        server.insert(&name, doc! { "_id": 5_i64, "conversationId": "c1", "seq": 5_i64, "senderId": "eve", "clientMsgId": "x" });
        copy.write(&records[1..], 10).unwrap();
        let found = server.documents(&name, doc! { "conversationId": "c1" });
        assert_eq!(found.len(), 10);
        let of_five = server.documents(&name, doc! { "conversationId": "c1", "seq": 5_i64 });
        assert_eq!(of_five[0].get_str("senderId").unwrap(), "eve");
        assert_eq!(copy.open(), Ok(10));
    }
}

#[test]
fn old_messages_move_to_the_archive_of_their_month_and_old_ids_go() {
    for server in Server::both() {
        let ages = [200, 100, 40, 31, 29, 8, 6, 0];
        let records: Vec<_> = (1..)
            .zip(ages)
            .map(|(lsn, days)| message(lsn, "c1", lsn, NOW_MS - days * DAY_MS))
            .collect();
        server.write(&records);
        // As if a move had been cut short between its two halves.
        let twice = server
            .messages()
            .into_iter()
            .find(|m| m.get_i64("seq").is_ok_and(|seq| seq == 3))
            .unwrap();
        let mut half = twice.clone();
        let expire = mongodb::bson::DateTime::from_millis(NOW_MS + 140 * DAY_MS);
        half.insert("expireAt", expire);
        server.insert("message_archive_202605", half);

        let mut copy = server.copy();
        copy.open().unwrap();
        let mut steps = 0;
        while copy.tend(NOW_MS as u64).unwrap() {
            steps += 1;
            assert!(steps < 100, "the round ends");
        }
        let seqs = |documents: Vec<Document>| {
            let mut seqs: Vec<_> = documents.iter().map(|d| d.get_i64("seq").unwrap()).collect();
            seqs.sort_unstable();
            seqs
        };
        assert_eq!(seqs(server.messages()), [5, 6, 7, 8]);
        let archived =
            |month: &str| seqs(server.documents(&format!("message_archive_{month}"), doc! {}));
        assert_eq!(archived("202511"), [1]);
        assert_eq!(archived("202603"), [2]);
        assert_eq!(archived("202605"), [3, 4]);
        let of_three = server.documents("message_archive_202605", doc! { "seq": 3_i64 });
        assert_eq!(of_three[0].get_datetime("expireAt").unwrap(), &expire);
        let days: Vec<_> = server
            .collections()
            .into_iter()
            .filter(|name| name.starts_with("idempotent_"))
            .collect();
        let mut days: Vec<_> = days.iter().map(|name| &name[11..]).collect();
        days.sort_unstable();
        assert_eq!(days, ["20260609", "20260615"]);

        // Written again, old ones come back and are moved again.
        server.set_position(0);
        server.write(&records);
        while copy.tend(NOW_MS as u64).unwrap() {}
        assert_eq!(seqs(server.messages()), [5, 6, 7, 8]);
        assert_eq!(archived("202605"), [3, 4]);
    }
}

#[test]
fn archived_messages_are_kept_for_the_longest_level_of_the_members() {
    let level = |lsn, user: &str, level: &str| {
        let (user_id, level) = (user.into(), level.into());
        fact(lsn, "", Change::Level(LevelChanged { user_id, level }))
    };
    let old = NOW_MS - 40 * DAY_MS;
    for server in Server::both() {
        let mut records = vec![
            created(1, "both", &["alice", "bob", "carol", "dave"]),
            created(2, "short", &["bob"]),
            created(3, "none", &["carol"]),
            created(4, "left", &["alice", "carol"]),
            changed(5, "left", &[], &["alice"]),
            level(6, "alice", "gold"),
            level(7, "bob", "basic"),
            level(8, "carol", "gold"),
            level(9, "carol", ""),
            level(10, "dave", "of no option"),
        ];
        for (lsn, id) in (11..).zip(["both", "short", "none", "left", "unknown"]) {
            records.push(message(lsn, id, 1, old));
        }
        let mut copy = server.copy();
        copy.open().unwrap();
        copy.write(&records, 15).unwrap();
        while copy.tend(NOW_MS as u64).unwrap() {}
        let kept_for = |id: &str| {
            let filter = doc! { "conversationId": id };
            let [found] = &server.documents("message_archive_202605", filter)[..] else { panic!() };
            let expires = found.get_datetime("expireAt").unwrap();
            (expires.timestamp_millis() - old) / DAY_MS
        };
        let ages = ["both", "short", "none", "left", "unknown"].map(kept_for);
        assert_eq!(ages, [365, 180, 180, 180, 180]);
    }
}

#[test]
fn the_archive_expires_where_the_server_can() {
    let server = Server::of("IMFLOW_MONGO_JAVA_URL");
    server.write(&[message(1, "c1", 1, NOW_MS - 40 * DAY_MS)]);
    let mut copy = server.copy();
    copy.open().unwrap();
    while copy.tend(NOW_MS as u64).unwrap() {}
    let archive = server.database.collection::<Document>("message_archive_202605");
    let indexes: Vec<_> = server
        .runtime
        .block_on(async { archive.list_indexes().await.unwrap().try_collect().await.unwrap() });
    let ttl = indexes.iter().find(|index| index.keys == doc! { "expireAt": 1 }).unwrap();
    assert_eq!(ttl.options.as_ref().unwrap().expire_after, Some(Duration::ZERO));
}

#[test]
fn a_server_that_is_not_there_is_told_in_time_and_its_address_is_not() {
    let mut server = Server::of("IMFLOW_MONGO_JAVA_URL");
    server.settings.uri = "mongodb://user:secret@127.0.0.1:9/".into();
    server.settings.timeout = Duration::from_millis(300);
    let begin = Instant::now();
    let error = server.copy().open().unwrap_err().to_string();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(error.starts_with("MongoDB: ") && !error.contains("secret"), "{error}");
    server.settings.uri = "mongo:secret".into();
    let error = Mongo::new(server.settings.clone()).err().unwrap();
    assert!(error.contains("mongodb://HOST:PORT/") && !error.contains("secret"), "{error}");
}

/// The copy as a store of messages, and its reading side.
struct Stored {
    server: Server,
    archive: Arc<MongoArchive>,
}

impl Subject for Stored {
    fn write(&mut self, records: &[Logged], again: Lsn) {
        if again > 0 {
            // The position had not been moved yet.
            self.server.set_position(records[0].lsn() as i64 - 1);
        }
        self.server.write(records);
    }

    fn archive(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.archive) as _
    }

    fn age(&mut self, now_ms: i64) {
        let mut copy = self.server.copy();
        copy.open().unwrap();
        while copy.tend(now_ms as u64).unwrap() {}
    }
}

#[test]
fn the_copy_conforms() {
    for variable in ["IMFLOW_MONGO_URL", "IMFLOW_MONGO_JAVA_URL"] {
        let begin = Instant::now();
        conforms(&mut || {
            let server = Server::of(variable);
            let archive = Arc::new(MongoArchive::new(server.settings.clone()).unwrap());
            Box::new(Stored { server, archive })
        });
        eprintln!("{variable}: {:?}", begin.elapsed());
    }
}

#[test]
fn an_archive_may_end_inside_another_runtime() {
    let server = Server::of("IMFLOW_MONGO_JAVA_URL");
    let archive = MongoArchive::new(server.settings.clone()).unwrap();
    assert_eq!(archive.first("c1", 0..9, 9).unwrap(), []);
    server.runtime.block_on(async move { drop(archive) });
}
