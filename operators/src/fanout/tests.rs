use std::time::Duration;

use imflow_kind::Value;
use imflow_kind::testing::{Driver, drive};
use imflow_proto::Fingerprint;
use imflow_proto::log::{
    ConversationCreated, Cursors, CursorsMoved, DeviceCursor, FanoutChanged, MembersChanged, fact,
};
use imflow_proto::record::{FanoutCost, Grant, Moved, OnlineChange};
use imflow_proto::wire::{Action, ConversationChange, ConversationType, FanoutMode, Role};

use super::*;
use crate::testing::{Dice, Sender, committed, conversation, fact, grant, member, options};

const TRIO: [(&str, Role); 3] =
    [("alice", Role::Owner), ("bob", Role::Member), ("carol", Role::Member)];

fn defaults() -> Options {
    options([
        ("receipts", Value::Integer(100)),
        ("direct_up_to", Value::Integer(1_000)),
        ("direct_bytes", Value::Size(10 << 10)),
        ("direct_cost", Value::Duration(Duration::from_millis(200))),
        ("notify_every", Value::Duration(Duration::from_secs(1))),
        ("absent_up_to", Value::Integer(1_000)),
    ])
}

fn fanout(online: &[&str]) -> Driver<Fanout> {
    let mut driver = drive(Fanout::new(&defaults()), &DESCRIPTION);
    driver.send("grants", conversation("c1", ConversationType::Group, &TRIO));
    for user in online {
        flip(&mut driver, user, true);
    }
    driver
}

fn flip(driver: &mut Driver<Fanout>, user: &str, online: bool) {
    driver.send(
        "online",
        [Record::Online(OnlineChange { user_id: user.into(), online, last_active_at: 0 })],
    );
}

fn deliveries(driver: &mut Driver<Fanout>) -> Vec<Arc<Delivery>> {
    let delivery = |record| match record {
        Record::Delivery(delivery) => delivery,
        other => panic!("{other:?}"),
    };
    driver.take("deliveries").into_iter().map(delivery).collect()
}

fn users(delivery: &Delivery) -> Vec<&str> {
    let mut users: Vec<&str> = delivery.to.iter().map(|user| &**user).collect();
    users.sort_unstable();
    users
}

fn say(driver: &mut Driver<Fanout>) -> Vec<Arc<Delivery>> {
    driver.send("messages", [Record::Committed(committed("c1", "alice", "x", "hello", 1))]);
    deliveries(driver)
}

#[test]
fn a_message_goes_to_the_online_members_but_not_to_the_banned() {
    let mut driver = fanout(&["alice", "bob", "erin"]);
    assert_eq!(users(&say(&mut driver)[0]), ["alice", "bob"]);
    flip(&mut driver, "carol", true);
    flip(&mut driver, "alice", false);
    assert_eq!(users(&say(&mut driver)[0]), ["bob", "carol"]);
    let banned = Some(Grant { role: Role::Member, muted_until: 0, banned: true });
    driver.send("grants", [grant("c1", "bob", banned), grant("c1", "carol", None)]);
    assert!(say(&mut driver).is_empty(), "nobody is online who may get it");
    assert_eq!(driver.take("stats").len(), 3);
}

#[test]
fn the_list_is_shared_and_the_sending_session_is_left_out() {
    let mut driver = fanout(&["alice", "bob"]);
    let mut own = Arc::unwrap_or_clone(committed("c1", "alice", "x", "hello", 1));
    own.session = Some(Sender::new("alice", "phone").session);
    driver.send("messages", [Record::Committed(Arc::new(own))]);
    let (first, second) = (deliveries(&mut driver), say(&mut driver));
    assert!(Arc::ptr_eq(&first[0].to, &second[0].to));
    assert_eq!((first[0].except, second[0].except), (7, 0));
    let Record::FanoutStats(stats) = driver.take("stats").remove(0) else { panic!("not stats") };
    assert_eq!(
        (stats.conversation_type, stats.recipients, stats.bytes),
        (ConversationType::Group, 2, 5)
    );
}

#[test]
fn a_change_is_told_to_members_whether_grants_come_first_or_last() {
    let roles = [member("bob", Role::Admin), member("erin", Role::Member)];
    let change = MembersChanged { set: roles.into(), removed: vec!["carol".into()] };
    let standing = |role| Some(Grant { role, muted_until: 0, banned: false });
    let grants = || {
        vec![
            grant("c1", "bob", standing(Role::Admin)),
            grant("c1", "carol", None),
            grant("c1", "erin", standing(Role::Member)),
        ]
    };
    let all = || ["alice", "bob", "erin"].map(String::from).to_vec();
    let expected = [
        (ConversationChange::RoleChanged, "bob".into(), all()),
        (ConversationChange::MemberAdded, "erin".into(), all()),
        (ConversationChange::MemberRemoved, "carol".into(), all()),
        (ConversationChange::MemberRemoved, "carol".into(), vec!["carol".into()]),
    ];
    for grants_first in [false, true] {
        let mut driver = fanout(&["alice", "bob", "carol", "erin"]);
        let (now, mut out) = (driver.now().next(0), Out::new(2));
        let mut batches =
            [(1, vec![fact("c1", fact::Change::Members(change.clone()))]), (GRANTS, grants())];
        if grants_first {
            batches.reverse();
        }
        for (port, mut batch) in batches {
            driver.operator.on_batch(now, port, &mut batch, &mut out);
        }
        assert_eq!(named(out.port(DELIVERIES)), expected, "grants first: {grants_first}");
        driver.pass(1);
        assert_eq!(users(&say(&mut driver)[0]), ["alice", "bob", "erin"]);
    }
}

/// Change, user and recipients of each notice.
fn named(records: &[Record]) -> Vec<(ConversationChange, String, Vec<String>)> {
    let notice = |record: &Record| match record {
        Record::Delivery(delivery) => match &delivery.event {
            Event::ConversationChanged(notice) => (
                notice.change(),
                notice.user_id.clone(),
                users(delivery).into_iter().map(String::from).collect(),
            ),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    records.iter().map(notice).collect()
}

#[test]
fn who_did_not_revoke_the_message_itself_is_told_that_somebody_did() {
    let mut driver = fanout(&["alice", "bob"]);
    let mut revoke = |by: &str, target_sender: &str| {
        let mut committed = Arc::unwrap_or_clone(committed("c1", by, "x", "", 9));
        let message = &mut committed.message;
        message.r#type = MessageType::Revoke.into();
        let target_sender_id = target_sender.into();
        let action = Action { target_seq: 4, target_sender_id, ..Action::default() };
        message.action = Some(action.into());
        driver.send("messages", [Record::Committed(Arc::new(committed))]);
        let recalled = deliveries(&mut driver).into_iter().filter_map(|delivery| {
            let to = users(&delivery).join(" ");
            match &delivery.event {
                Event::Recalled(it) => Some(format!("{to}: {} by {}", it.seq, it.by)),
                Event::Message(entry) => {
                    (entry.message.seq != 9).then(|| "another entry".to_owned())
                }
                other => panic!("{other:?}"),
            }
        });
        recalled.collect::<Vec<_>>()
    };
    assert_eq!(revoke("alice", "bob"), ["bob: 4 by alice"]);
    assert_eq!(revoke("", "bob"), ["bob: 4 by "]);
    assert!(revoke("bob", "bob").is_empty(), "it knows");
    assert!(revoke("alice", "carol").is_empty(), "she is offline and reads it in history");
}

#[test]
fn a_new_conversation_is_told_once_and_nobody_when_all_are_offline() {
    let created = |members: &[(&str, Role)]| {
        let members = members.iter().map(|(user, role)| member(user, *role)).collect();
        fact::Change::Created(ConversationCreated {
            r#type: ConversationType::Group.into(),
            name: "team".into(),
            members,
            ..Default::default()
        })
    };
    let mut driver = fanout(&["alice", "bob"]);
    driver
        .send("facts", [fact("c2", created(&TRIO)), fact("c3", created(&[("zoe", Role::Owner)]))]);
    assert_eq!(
        named(&driver.take("deliveries")),
        [(ConversationChange::Created, String::new(), vec!["alice".into(), "bob".into()])]
    );
}

#[test]
fn a_large_conversation_tells_only_those_affected() {
    let mut driver = fanout(&["alice", "bob", "erin"]);
    let standing = Some(Grant { role: Role::Member, muted_until: 0, banned: false });
    driver.send("grants", (0..1_000).map(|n| grant("c1", &format!("u{n}"), standing)));
    let change =
        MembersChanged { set: vec![member("erin", Role::Member)], removed: vec!["bob".into()] };
    driver.send("facts", [fact("c1", fact::Change::Members(change))]);
    let expected = [
        (ConversationChange::MemberAdded, "erin".into(), vec!["erin".into()]),
        (ConversationChange::MemberRemoved, "bob".into(), vec!["bob".into()]),
    ];
    assert_eq!(named(&driver.take("deliveries")), expected);
}

#[test]
fn a_receipt_goes_to_all_of_a_small_conversation_and_to_the_user_alone_in_a_large_one() {
    let row = Cursors {
        user_id: "bob".into(),
        read: 3,
        devices: vec![DeviceCursor { device_id: "pad".into(), delivered: 5 }],
    };
    let moves = CursorsMoved { conversation_id: "c1".into(), members: vec![row] };
    let moved = || Record::Moved(Arc::new(Moved { lsn: 1, moves: Arc::new(moves.clone()) }));
    for (receipts, told) in [(3, vec!["alice", "bob"]), (2, vec!["bob"])] {
        let mut driver = fanout(&["alice", "bob", "erin"]);
        driver.operator.receipts = receipts;
        driver.send("moved", [moved()]);
        let sent = deliveries(&mut driver);
        let Event::Receipt(receipt) = &sent[0].event else { panic!("{sent:?}") };
        assert_eq!((receipt.delivered, receipt.read, &*receipt.user_id), (5, 3, "bob"));
        assert_eq!((sent.len(), users(&sent[0])), (1, told));
        flip(&mut driver, "bob", false);
        driver.send("moved", [moved()]);
        let told: Vec<_> = deliveries(&mut driver).iter().map(|d| users(d).join(" ")).collect();
        assert_eq!(told, if receipts == 3 { vec!["alice"] } else { vec![] });
    }
}

#[test]
fn lists_equal_a_naive_model_and_idle_users_are_forgotten() {
    for seed in 0..30 {
        let (mut dice, mut rooms) = (Dice(seed), Rooms::default());
        let mut members = std::collections::BTreeSet::new();
        let mut online = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let (user, room) = (dice.below(8), dice.below(3));
            let (id, conversation): (Arc<str>, Arc<str>) =
                (format!("u{user}").into(), format!("c{room}").into());
            if dice.below(2) == 0 {
                let on = dice.below(2) == 0;
                rooms.set_online(&id, on);
                if on {
                    online.insert(user)
                } else {
                    online.remove(&user)
                };
            } else {
                let standing = (dice.below(2) == 0).then_some(Grant {
                    role: Role::Member,
                    muted_until: 0,
                    banned: false,
                });
                if standing.is_some() {
                    members.insert((room, user))
                } else {
                    members.remove(&(room, user))
                };
                let Record::Grant(change) = grant(&conversation, &id, standing) else {
                    unreachable!()
                };
                rooms.apply(&change);
            }
            for room in 0..3 {
                let audience = rooms.audience(Fingerprint::of(&format!("c{room}")));
                let found = audience.map_or_else(Vec::new, |(_, to)| {
                    let mut to: Vec<_> = to.iter().map(|user| user.to_string()).collect();
                    to.sort_unstable();
                    to
                });
                let expected: Vec<_> = (0..8)
                    .filter(|user| members.contains(&(room, *user)) && online.contains(user))
                    .map(|user| format!("u{user}"))
                    .collect();
                assert_eq!(found, expected, "seed {seed}");
            }
        }
    }
}

fn pin(driver: &mut Driver<Fanout>, mode: FanoutMode) {
    let change = fact::Change::Fanout(FanoutChanged { mode: mode.into() });
    driver.send("facts", [fact("c1", change)]);
}

/// What a message of this seq causes: pushed, told of, or neither.
fn says(driver: &mut Driver<Fanout>, seq: u64) -> Vec<(&'static str, u64, Band)> {
    driver.send("messages", [Record::Committed(committed("c1", "alice", "x", "hello", seq))]);
    told(driver)
}

fn told(driver: &mut Driver<Fanout>) -> Vec<(&'static str, u64, Band)> {
    let told = |delivery: Arc<Delivery>| match &delivery.event {
        Event::Message(entry) => ("push", entry.message.seq, delivery.band),
        Event::Notify(notify) => ("notify", notify.up_to_seq, delivery.band),
        other => panic!("{other:?}"),
    };
    deliveries(driver).into_iter().map(told).collect()
}

#[test]
fn a_pinned_conversation_is_told_of_once_a_second_and_what_is_pushed_comes_behind() {
    let mut driver = fanout(&["alice", "bob"]);
    pin(&mut driver, FanoutMode::Notify);
    assert_eq!(says(&mut driver, 1), [("notify", 1, Band::P2)]);
    for seq in 2..=20 {
        assert_eq!(says(&mut driver, seq), []);
    }
    driver.pass(1_000);
    assert_eq!(told(&mut driver), [("notify", 20, Band::P2)]);
    assert_eq!(says(&mut driver, 21), []);
    pin(&mut driver, FanoutMode::Direct);
    assert_eq!(says(&mut driver, 22), [("notify", 21, Band::P2), ("push", 22, Band::P1)]);
    let stats = driver.take("stats").into_iter().map(|record| match record {
        Record::FanoutStats(stats) => stats.direct,
        other => panic!("{other:?}"),
    });
    assert_eq!(stats.filter(|direct| *direct).count(), 1);
}

#[test]
fn nobody_is_told_who_has_gone_before_the_notice_is_due() {
    let mut driver = fanout(&["bob"]);
    pin(&mut driver, FanoutMode::Notify);
    says(&mut driver, 1);
    says(&mut driver, 2);
    flip(&mut driver, "bob", false);
    driver.pass(5_000);
    assert_eq!(told(&mut driver), []);
}

#[test]
fn more_than_a_thousand_online_and_slow_fan_outs_are_told_of() {
    let mut driver = fanout(&[]);
    let crowd: Vec<String> = (0..1_001).map(|n| format!("u{n}")).collect();
    let standing = Some(Grant { role: Role::Member, muted_until: 0, banned: false });
    driver.send("grants", crowd.iter().map(|user| grant("c1", user, standing)));
    crowd[..1_000].iter().for_each(|user| flip(&mut driver, user, true));
    assert_eq!(says(&mut driver, 1), [("push", 1, Band::P2)], "large by its members");
    flip(&mut driver, &crowd[1_000], true);
    assert_eq!(says(&mut driver, 2), [("notify", 2, Band::P2)]);
    flip(&mut driver, &crowd[1_000], false);
    let cost = FanoutCost { conversation_id: "c1".into(), recipients: 1_000, cost_ms: 201 };
    driver.send("costs", [Record::FanoutCost(Arc::new(cost))]);
    driver.pass(1_001);
    assert_eq!(says(&mut driver, 3), [("notify", 3, Band::P2)]);
}

#[test]
fn who_types_is_told_to_the_others_if_a_member() {
    let mut driver = fanout(&["alice", "bob"]);
    for (user, told) in [("alice", 1), ("mallory", 0)] {
        let session = Sender::new(user, "phone").session;
        let typing = Typing { session, conversation_id: "c1".into(), credit: None };
        driver.send("typing", [Record::Typing(Arc::new(typing))]);
        let deliveries = deliveries(&mut driver);
        assert_eq!(deliveries.len(), told, "{user}");
        assert!(deliveries.iter().all(|delivery| delivery.except == 7));
    }
}

#[test]
fn members_without_a_live_device_are_told_of_apart() {
    let mut driver = fanout(&["bob"]);
    let absent = |driver: &mut Driver<Fanout>| {
        let users = |record| match record {
            Record::Absent(absent) => absent.users.iter().map(|user| user.to_string()).collect(),
            other => panic!("{other:?}"),
        };
        driver.take("absent").into_iter().map(users).collect::<Vec<Vec<String>>>()
    };
    say(&mut driver);
    assert_eq!(absent(&mut driver), [["carol"]], "neither the sender nor who is online");
    flip(&mut driver, "bob", false);
    let banned = Some(Grant { role: Role::Member, muted_until: 0, banned: true });
    driver.send("grants", [grant("c1", "carol", banned)]);
    driver.pass(1);
    say(&mut driver);
    assert_eq!(absent(&mut driver), [["bob"]]);
    flip(&mut driver, "bob", true);
    say(&mut driver);
    assert!(absent(&mut driver).is_empty());
}
