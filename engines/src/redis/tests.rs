//! Against a real server (`tests/services up redis`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use imflow_kind::{IdIndex as _, IdPlace, Latest as _};
use imflow_proto::id;
use imflow_proto::log::fact::Change;
use imflow_proto::log::{Erased, Fact};
use imflow_proto::record::{Committed, CommittedFact};
use imflow_proto::wire::Message;
use serde_json::{Value, json};

use super::*;

const WEEK: Duration = Duration::from_secs(604_800);

/// Keys of the test's own.
fn settings() -> Settings {
    static PREFIXES: AtomicU32 = AtomicU32::new(0);
    let uri = std::env::var("IMFLOW_REDIS_URL").unwrap_or_else(|_| {
        panic!("IMFLOW_REDIS_URL is not set: run `tests/services up`, then `eval \"$(tests/services env)\"`")
    });
    let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("test-{}-{number}:", std::process::id());
    let timeout = Duration::from_secs(2);
    Settings {
        uri,
        prefix,
        copy: "node-1/ids".into(),
        timeout,
        shards: 16,
        ttl: WEEK,
        latest: 5,
        latest_ttl: WEEK,
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn message(lsn: Lsn, id: &str, conversation: &str, at_ms: i64) -> Logged {
    Logged::Message(Box::new(Committed::recovered(
        lsn,
        Message {
            conversation_id: conversation.into(),
            sender_id: "alice".into(),
            seq: lsn,
            server_msg_id: (1 << 60) + lsn as i64,
            client_msg_id: id.into(),
            r#type: 1,
            created_at: at_ms,
            ..Default::default()
        },
    )))
}

fn ask<T: redis::FromRedisValue>(settings: &Settings, words: &[&str]) -> T {
    let mut connection = redis::Client::open(&*settings.uri).unwrap().get_connection().unwrap();
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
}

#[test]
fn the_first_message_under_an_id_holds_it_however_often_it_is_written() {
    let settings = settings();
    let mut ids = Redis::new(settings.clone()).unwrap();
    assert_eq!(ids.open(), Ok(0));
    let now = now_ms();
    let records = [
        message(1, "a-p-1-1", "c1", now),
        message(2, "a-p-1-1", "c2", now),
        message(3, "a-p-2-2", "c1", now),
    ];
    ids.write(&records, 3).unwrap();
    ids.write(&records[1..], 3).unwrap();
    assert_eq!(Redis::new(settings.clone()).unwrap().open(), Ok(3));
    let found = ids.find(&["a-p-2-2", "a-p-1-1", "a-p-9-9"]).unwrap();
    let place = |seq: u64| {
        let (conversation_id, sender_id) = ("c1".into(), "alice".into());
        Some(IdPlace { conversation_id, sender_id, seq, server_msg_id: (1 << 60) + seq as i64 })
    };
    assert_eq!(found, [place(3), place(1), None]);
}

#[test]
fn a_key_has_the_name_the_value_and_the_end_that_others_know() {
    let settings = settings();
    let mut ids = Redis::new(settings.clone()).unwrap();
    ids.open().unwrap();
    let now = now_ms();
    ids.write(&[message(1, "10086-ios12345-789-1612345678000", "c1", now)], 1).unwrap();
    let shard = id::partition_of("10086-ios12345-789-1612345678000", 16);
    let key = format!("{}idempotent:{shard}:10086-ios12345-789-1612345678000", settings.prefix);
    let value: String = ask(&settings, &["GET", &key]);
    let value: Value = serde_json::from_str(&value).unwrap();
    assert_eq!((&value["seq"], &value["timestamp"]), (&json!(1), &json!(now)));
    assert_eq!(value["serverMsgId"], json!(((1_i64 << 60) + 1).to_string()));
    let ttl: u64 = ask(&settings, &["TTL", &key]);
    assert!((604_790..=604_800).contains(&ttl), "{ttl}");
}

#[test]
fn ids_that_have_expired_are_not_written() {
    let settings = settings();
    let mut ids = Redis::new(settings.clone()).unwrap();
    ids.open().unwrap();
    let old = now_ms() - WEEK.as_millis() as i64 - 1_000;
    ids.write(&[message(1, "a-p-1-1", "c1", old)], 1).unwrap();
    assert_eq!(ids.find(&["a-p-1-1"]), Ok(vec![None]));
    assert_eq!(ids.open(), Ok(1));
}

#[test]
fn a_server_that_is_not_there_is_told_in_time() {
    let uri = "redis://:secret@127.0.0.1:9/0".to_owned();
    let settings = Settings { uri, timeout: Duration::from_millis(100), ..settings() };
    let begin = Instant::now();
    let error = Redis::new(settings.clone()).unwrap().find(&["a"]).unwrap_err().to_string();
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert!(error.starts_with("Redis: connect: ") && !error.contains("secret"), "{error}");
    let error = Redis::new(Settings { uri: "redis:secret".into(), ..settings }).err().unwrap();
    assert!(error.contains("redis://HOST:PORT/DATABASE") && !error.contains("secret"), "{error}");
}

/// Messages of `c1` with these seqs, as of now.
fn of_c1(seqs: std::ops::RangeInclusive<u64>) -> Vec<Logged> {
    let now = now_ms();
    seqs.map(|seq| message(seq, &format!("a-p-{seq}-1"), "c1", now)).collect()
}

fn latest_of(latest: &RedisLatest, id: &str) -> Vec<u64> {
    latest.latest(id).unwrap().iter().map(|message| message.seq).collect()
}

#[test]
fn the_latest_are_kept_however_they_were_written() {
    let settings = settings();
    let mut redis = Redis::new(settings.clone()).unwrap();
    let latest = RedisLatest::new(settings.clone()).unwrap();
    redis.open().unwrap();
    assert_eq!(latest_of(&latest, "c1"), [0; 0]);
    let records = of_c1(1..=9);
    redis.write(&records[..3], 3).unwrap();
    assert_eq!(latest_of(&latest, "c1"), [1, 2, 3]);
    redis.write(&records, 9).unwrap();
    assert_eq!(latest_of(&latest, "c1"), [5, 6, 7, 8, 9]);
    // From an earlier position once more.
    redis.write(&records[..7], 9).unwrap();
    assert_eq!(latest_of(&latest, "c1"), [5, 6, 7, 8, 9]);
    let Logged::Message(committed) = &records[4] else { panic!() };
    assert_eq!(latest.latest("c1").unwrap()[0], committed.message);
    let ttl: u64 = ask(&settings, &["TTL", &format!("{}latest:c1", settings.prefix)]);
    assert!((604_790..=604_800).contains(&ttl), "{ttl}");
}

#[test]
fn what_is_long_old_or_of_others_is_not_among_the_latest() {
    let settings = settings();
    let mut redis = Redis::new(settings.clone()).unwrap();
    let latest = RedisLatest::new(settings.clone()).unwrap();
    redis.open().unwrap();
    let mut records = of_c1(1..=4);
    if let Logged::Message(committed) = &mut records[1] {
        let mut long = committed.message.clone();
        long.text = "x".repeat(20_000);
        **committed = Committed::recovered(2, long);
    }
    redis.write(&records, 4).unwrap();
    let key = format!("{}latest:c1", settings.prefix);
    let _: u64 = ask(&settings, &["ZADD", &key, "5", "none of ours"]);
    assert_eq!(latest_of(&latest, "c1"), [1, 3, 4]);
    redis.write(&of_c1(5..=5), 5).unwrap();
    assert_eq!(latest_of(&latest, "c1"), [1, 3, 4, 5], "a seq stands there once");

    let old = now_ms() - WEEK.as_millis() as i64 - 1_000;
    redis.write(&[message(6, "a-p-1-1", "c2", old)], 6).unwrap();
    assert_eq!(latest_of(&latest, "c2"), [0; 0]);
    let none = Settings { latest: 0, prefix: format!("{}none-", settings.prefix), ..settings };
    let mut redis = Redis::new(none.clone()).unwrap();
    redis.write(&of_c1(1..=3), 3).unwrap();
    assert_eq!(latest_of(&RedisLatest::new(none).unwrap(), "c1"), [0; 0]);
}

#[test]
fn what_is_erased_is_not_among_the_latest() {
    let settings = Settings { prefix: format!("[{}*", settings().prefix), ..settings() };
    let mut redis = Redis::new(settings.clone()).unwrap();
    let latest = RedisLatest::new(settings.clone()).unwrap();
    redis.open().unwrap();
    let other = Settings { prefix: format!("{}x", settings.prefix), ..settings.clone() };
    let mut of_others = Redis::new(other.clone()).unwrap();
    of_others.open().unwrap();
    of_others.write(&of_c1(1..=2), 2).unwrap();
    let mut records = of_c1(1..=3);
    records.push(message(4, "a-p-4-1", "c2", now_ms()));
    redis.write(&records, 4).unwrap();
    let erased = |lsn, conversation: &str, user: &str| {
        let change = Some(Change::Erased(Erased { user_id: user.into() }));
        let fact = Fact { conversation_id: conversation.into(), change, ..Fact::default() };
        Logged::Fact(CommittedFact { lsn, fact: Arc::new(fact) })
    };
    redis.write(&[erased(5, "c1", "")], 5).unwrap();
    assert_eq!((latest_of(&latest, "c1"), latest_of(&latest, "c2")), (vec![], vec![4]));
    redis.write(&[erased(6, "", "alice")], 6).unwrap();
    assert_eq!(latest_of(&latest, "c2"), [0; 0]);
    assert_eq!(redis.open(), Ok(6));
    assert!(redis.find(&["a-p-4-1"]).unwrap()[0].is_some(), "ids stay");
    let of_others = RedisLatest::new(other).unwrap();
    assert_eq!(latest_of(&of_others, "c1"), [1, 2], "another prefix is not ours");
}
