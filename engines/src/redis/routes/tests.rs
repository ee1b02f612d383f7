//! Against a real server (`tests/services up redis`).

use std::sync::atomic::{AtomicU32, Ordering};

use imflow_kind::Told;
use serde_json::{Value, json};

use super::*;

fn settings(node: &str, prefix: &str) -> RouteSettings {
    let uri = std::env::var("IMFLOW_REDIS_URL").unwrap_or_else(|_| {
        panic!("IMFLOW_REDIS_URL is not set: run `tests/services up`, then `eval \"$(tests/services env)\"`")
    });
    RouteSettings {
        uri,
        prefix: prefix.into(),
        node: node.into(),
        timeout: Duration::from_secs(2),
        ttl: Duration::from_secs(60),
        keep: Duration::from_secs(600),
        down: Duration::from_millis(300),
        members_ttl: Duration::from_secs(600),
        global_devices: false,
    }
}

/// Keys of the test's own.
fn prefix() -> String {
    static PREFIXES: AtomicU32 = AtomicU32::new(0);
    format!("routes-{}-{}:", std::process::id(), PREFIXES.fetch_add(1, Ordering::Relaxed))
}

fn node(name: &str, prefix: &str) -> RedisRoutes {
    RedisRoutes::new(settings(name, prefix)).expect("an address")
}

fn device(id: &str, since: i64, last_seen: i64) -> DeviceHere {
    DeviceHere { device_id: id.into(), since, number: 1, last_seen }
}

fn here(user: &str, devices: &[DeviceHere], ended: &[DeviceHere]) -> UserHere {
    let (devices, ended) = (devices.to_vec(), ended.to_vec());
    UserHere { user_id: user.into(), devices, ended, force: false }
}

fn put(node: &mut RedisRoutes, user: &UserHere) -> Shared {
    node.put(std::slice::from_ref(user), 0).expect("the server answers").remove(0)
}

fn written(online: bool, elsewhere: &[&str], inconsistent: u64) -> Shared {
    let elsewhere = elsewhere.iter().map(|it| (*it).to_owned()).collect();
    Shared::Written { online, elsewhere, inconsistent }
}

fn ask<T: redis::FromRedisValue>(words: &[&str]) -> T {
    let uri = settings("", "").uri;
    let mut connection = redis::Client::open(uri).unwrap().get_connection().unwrap();
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).unwrap()
}

fn nodes(node: &mut RedisRoutes, user: &str) -> Vec<String> {
    let presence = node.presence(&[user]).expect("the server answers").remove(0);
    presence.devices.into_iter().map(|it| format!("{}@{}", it.device_id, it.node_id)).collect()
}

#[test]
fn keys_are_those_that_other_systems_read_and_all_of_them_end() {
    let prefix = prefix();
    let key = |rest: &str| format!("{prefix}{rest}");
    let mut a = node("a", &prefix);
    let (phone, pad) = (device("phone", 10, 15), device("pad", 11, 12));
    assert_eq!(
        put(&mut a, &here("alice", &[phone.clone(), pad.clone()], &[])),
        written(true, &[], 0)
    );
    let value: String = ask(&["GET", &key("presence:user:alice")]);
    let expected = json!({
        "devices": [
            { "deviceId": "pad", "nodeId": "a", "lastSeen": 12, "since": 11, "session": 1 },
            { "deviceId": "phone", "nodeId": "a", "lastSeen": 15, "since": 10, "session": 1 },
        ],
        "lastActiveAt": 15,
    });
    assert_eq!(serde_json::from_str::<Value>(&value).unwrap(), expected);
    assert_eq!(ask::<String>(&["GET", &key("route:device:alice-phone")]), "a");
    assert_eq!(ask::<Vec<String>>(&["SMEMBERS", &key("node:users:a")]), ["alice"]);
    a.mark_members(&[("c1".into(), "alice".into(), true)]).unwrap();
    assert_eq!(a.members("c1").unwrap(), Some(vec!["alice".to_owned()]));
    for (name, least, most) in [
        ("presence:user:alice", 59_000, 72_000),
        ("route:device:alice-pad", 59_000, 72_000),
        ("node:users:a", 119_000, 144_000),
        ("subscribers:conv:c1", 599_000, 720_000),
    ] {
        let ttl: i64 = ask(&["PTTL", &key(name)]);
        assert!((least..=most).contains(&ttl), "{name}: {ttl}");
    }
    assert_eq!(
        put(&mut a, &here("alice", &[], &[phone, device("pad", 11, 20)])),
        written(false, &[], 0)
    );
    let value: String = ask(&["GET", &key("presence:user:alice")]);
    assert_eq!(value, r#"{"devices":[],"lastActiveAt":20}"#);
    assert!(ask::<i64>(&["PTTL", &key("presence:user:alice")]) > 590_000);
    assert_eq!(ask::<Option<String>>(&["GET", &key("route:device:alice-phone")]), None);
    assert!(!ask::<bool>(&["EXISTS", &key("node:users:a")]));
}

#[test]
fn the_session_that_began_last_counts_in_whatever_order_nodes_write() {
    // Sessions of one device, which of them have ended, and who has it in the end.
    let sessions = [("a", 1, true), ("b", 5, false), ("c", 5, true), ("a", 3, false)];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let prefix = prefix();
        for _ in 0..2 {
            for (name, since, ended) in order.map(|at| sessions[at]) {
                let it = [device("phone", since, since)];
                let (devices, ended): (&[_], &[_]) = if ended { (&[], &it) } else { (&it, &[]) };
                put(&mut node(name, &prefix), &here("alice", devices, ended));
            }
        }
        // c began with b, is the greater node, and has ended.
        assert_eq!(nodes(&mut node("a", &prefix), "alice"), Vec::<String>::new(), "{order:?}");
    }
    let prefix = prefix();
    put(&mut node("b", &prefix), &here("alice", &[device("phone", 7, 7)], &[]));
    let older = put(&mut node("a", &prefix), &here("alice", &[device("phone", 7, 9)], &[]));
    assert_eq!(older, written(true, &["phone"], 0));
    assert_eq!(nodes(&mut node("a", &prefix), "alice"), ["phone@b"]);
    let newer = put(&mut node("a", &prefix), &here("alice", &[device("phone", 8, 9)], &[]));
    assert_eq!(newer, written(true, &[], 0));
    let late = put(&mut node("b", &prefix), &here("alice", &[], &[device("phone", 7, 9)]));
    assert_eq!(
        (late, nodes(&mut node("a", &prefix), "alice")),
        (written(true, &[], 0), vec!["phone@a".to_owned()])
    );
}

#[test]
fn a_lock_is_heeded_until_it_is_too_old_and_a_wrong_route_is_counted() {
    let prefix = prefix();
    let mut a = node("a", &prefix);
    ask::<()>(&["SET", &format!("{prefix}presence:lock:alice"), "other", "PX", "60000"]);
    let mut alice = here("alice", &[device("phone", 1, 1)], &[]);
    assert_eq!(put(&mut a, &alice), Shared::Locked);
    assert_eq!(nodes(&mut a, "alice"), Vec::<String>::new());
    alice.force = true;
    assert_eq!(put(&mut a, &alice), written(true, &[], 0));
    ask::<()>(&["SET", &format!("{prefix}route:device:alice-phone"), "nowhere"]);
    assert_eq!(put(&mut a, &alice), written(true, &[], 1));
    assert_eq!(ask::<String>(&["GET", &format!("{prefix}route:device:alice-phone")]), "a");
}

#[test]
fn users_are_taken_off_a_node_that_beats_no_more() {
    let prefix = prefix();
    let (mut a, mut b) = (node("a", &prefix), node("b", &prefix));
    assert_eq!(a.beat(), Ok(Beat { joined: true, failed: vec![] }));
    assert_eq!(b.beat(), Ok(Beat { joined: true, failed: vec![] }));
    for number in 0..600 {
        put(&mut b, &here(&format!("u{number}"), &[device("phone", 1, 1)], &[]));
    }
    put(&mut a, &here("u7", &[device("pad", 1, 1)], &[]));
    put(&mut a, &here("u8", &[device("phone", 2, 2)], &[]));
    assert!(b.migrate("a").unwrap().is_anothers, "it lives");
    while a.beat().unwrap().failed.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let first = a.migrate("b").unwrap();
    assert_eq!((first.users.len(), first.more), (500, true));
    assert!(node("c", &prefix).migrate("b").unwrap().is_anothers, "one node does it");
    let second = a.migrate("b").unwrap();
    assert_eq!((second.users.len(), second.more), (100, false));
    assert_eq!(first.routes + second.routes, 599, "one device had gone to a before");
    let users = first.users.iter().chain(&second.users);
    let mut online: Vec<_> = users.filter(|it| it.1).map(|it| &*it.0).collect();
    online.sort_unstable();
    assert_eq!(online, ["u7", "u8"]);
    assert_eq!(nodes(&mut a, "u7"), ["pad@a"]);
    assert_eq!(nodes(&mut a, "u8"), ["phone@a"]);
    let gone = a.presence(&["u9"]).unwrap().remove(0);
    assert_eq!((gone.devices.len(), gone.migrating_from.as_deref()), (0, Some("b")));
    assert_eq!(ask::<Option<String>>(&["GET", &format!("{prefix}route:device:u9-phone")]), None);
    assert_eq!(a.beat().unwrap().failed, Vec::<String>::new());
    // It was only slow, and says anew what it has.
    assert!(b.beat().unwrap().joined && !b.beat().unwrap().joined);
    put(&mut b, &here("u9", &[device("phone", 1, 5)], &[]));
    assert_eq!(a.presence(&["u9"]).unwrap()[0].migrating_from, None);
    b.leave().unwrap();
    assert!(b.beat().unwrap().joined);
}

#[test]
fn every_change_is_heard_and_nothing_else() {
    let prefix = prefix();
    let mut listener = Listener::new(&settings("a", &prefix)).unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (heard, hears) = std::sync::mpsc::channel::<Told>();
    let thread = std::thread::spawn(move || {
        let ready = || ready.send(()).is_ok();
        listener.listen(Duration::from_millis(50), ready, |told| {
            let is_last = told.as_ref().is_some_and(|it| it.user_id == "last");
            told.is_none_or(|told| heard.send(told).is_ok()) && !is_last
        })
    });
    is_ready.recv().unwrap();
    let mut b = node("b", &prefix);
    let phone = device("phone", 1, 1);
    for (devices, ended) in
        [(vec![phone.clone()], vec![]), (vec![phone.clone()], vec![]), (vec![], vec![phone])]
    {
        put(&mut b, &UserHere { user_id: "alice".into(), devices, ended, force: false });
    }
    put(&mut b, &here("last", &[device("phone", 1, 1)], &[]));
    thread.join().unwrap().unwrap();
    let told: Vec<_> = hears.iter().map(|it| (it.user_id, it.presence.devices.len())).collect();
    assert_eq!(told, [("alice".to_owned(), 1), ("alice".to_owned(), 0), ("last".to_owned(), 1)]);
}

#[test]
fn device_ids_that_are_globally_unique_stand_alone() {
    let prefix = prefix();
    let settings = RouteSettings { global_devices: true, ..settings("a", &prefix) };
    let mut a = RedisRoutes::new(settings).unwrap();
    put(&mut a, &here("alice", &[device("phone", 1, 1)], &[]));
    assert_eq!(ask::<String>(&["GET", &format!("{prefix}route:device:phone")]), "a");
}
