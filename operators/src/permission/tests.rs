use imflow_kind::testing::{Driver, drive};
use imflow_proto::record::{Grant, Wish};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{ConversationType, MemberInfo};

use super::*;
use crate::testing::{Sender, conversation, error_of, grant, member};

const USERS: [(&str, Role); 4] =
    [("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Member), ("dave", Role::Member)];

fn permission() -> Driver<Permission> {
    let mut driver = drive(Permission::new(Bounds { max_members: 6, max_change: 3 }), &DESCRIPTION);
    driver.send("grants", conversation("c1", ConversationType::Group, &USERS));
    driver
}

fn send_as(driver: &mut Driver<Permission>, sender: &Sender, to: &str) -> Option<ErrorCode> {
    driver.send("messages", [sender.send(to, "x", "hi")]);
    let denied = driver.take("denied");
    assert_eq!(driver.take("allowed").len() + denied.len(), 1);
    denied.first().map(|record| error_of(record).code())
}

fn ask(
    driver: &mut Driver<Permission>,
    user: &str,
    to: &str,
    wish: Wish,
) -> Result<Vec<Arc<Change>>, ErrorCode> {
    let sender = if user == "admin" { Sender::admin() } else { Sender::new(user, "phone") };
    driver.send("commands", [sender.command(to, wish)]);
    match driver.take("denied").first() {
        Some(record) => Err(error_of(record).code()),
        None => Ok(changes(driver)),
    }
}

fn changes(driver: &mut Driver<Permission>) -> Vec<Arc<Change>> {
    let change = |record| match record {
        Record::Change(change) => change,
        other => panic!("{other:?}"),
    };
    driver.take("facts").into_iter().map(change).collect()
}

fn set(user: &str, role: Role) -> Wish {
    Wish::ChangeMembers { set: vec![member(user, role)], remove: vec![] }
}

fn remove(user: &str) -> Wish {
    Wish::ChangeMembers { set: vec![], remove: vec![user.into()] }
}

fn create(kind: ConversationType, members: &[&str]) -> Wish {
    let members = members.iter().map(|user| member(user, Role::Unspecified)).collect();
    Wish::Create { kind, name: "n".into(), members, history_since_join: false }
}

#[test]
fn only_members_in_good_standing_speak() {
    let mut driver = permission();
    let now = driver.now().ms() as i64;
    assert_eq!(send_as(&mut driver, &Sender::new("carol", "x"), "c1"), None);
    assert_eq!(
        send_as(&mut driver, &Sender::new("carol", "x"), "c2"),
        Some(ErrorCode::UnknownConversation)
    );
    assert_eq!(send_as(&mut driver, &Sender::new("erin", "x"), "c1"), Some(ErrorCode::NotAMember));
    assert_eq!(send_as(&mut driver, &Sender::admin(), "c1"), None);
    assert_eq!(send_as(&mut driver, &Sender::admin(), "c2"), Some(ErrorCode::UnknownConversation));
    let muted = Grant { role: Role::Member, muted_until: now + 5_000, banned: false };
    driver.send("grants", [grant("c1", "carol", Some(muted))]);
    assert_eq!(send_as(&mut driver, &Sender::new("carol", "x"), "c1"), Some(ErrorCode::Muted));
    driver.pass(5_000);
    assert_eq!(
        send_as(&mut driver, &Sender::new("carol", "x"), "c1"),
        None,
        "a mute ends by itself"
    );
    let for_good = Grant { muted_until: UNTIL_LIFTED, ..muted };
    driver.send("grants", [grant("c1", "carol", Some(for_good))]);
    driver.send("messages", [Sender::new("carol", "x").send("c1", "x", "hi")]);
    let error = error_of(&driver.take("denied")[0]);
    assert_eq!((error.code(), error.retry_after_ms), (ErrorCode::Muted, 0), "{error:?}");
    driver.send("grants", [grant("c1", "carol", Some(Grant { banned: true, ..muted }))]);
    assert_eq!(send_as(&mut driver, &Sender::new("carol", "x"), "c1"), Some(ErrorCode::Banned));
}

#[test]
fn roles_bound_what_a_member_may_change() {
    use ErrorCode::{Forbidden, NotAMember};
    let cases: [(&str, Wish, Result<usize, ErrorCode>); 14] = [
        ("carol", set("erin", Role::Member), Err(Forbidden)),
        ("erin", set("erin", Role::Member), Err(NotAMember)),
        ("bob", set("erin", Role::Member), Ok(1)),
        ("bob", set("erin", Role::Admin), Err(Forbidden)),
        ("bob", set("alice", Role::Member), Err(Forbidden)),
        ("bob", remove("alice"), Err(Forbidden)),
        ("bob", set("bob", Role::Member), Ok(1)),
        ("alice", set("carol", Role::Owner), Ok(1)),
        ("admin", remove("alice"), Ok(1)),
        ("carol", remove("carol"), Ok(1)),
        ("carol", remove("dave"), Err(Forbidden)),
        ("bob", Wish::Ban { user_id: "carol".into(), banned: true }, Ok(1)),
        ("bob", Wish::Mute { user_id: "alice".into(), until: i64::MAX }, Err(Forbidden)),
        ("alice", Wish::Mute { user_id: "erin".into(), until: i64::MAX }, Err(NotAMember)),
    ];
    for (user, wish, expected) in cases {
        let found = ask(&mut permission(), user, "c1", wish.clone()).map(|changes| changes.len());
        assert_eq!(found, expected, "{user} {wish:?}");
    }
}

#[test]
fn a_command_that_changes_nothing_is_answered_at_once() {
    let alice = Sender::new("alice", "phone");
    for wish in [
        set("bob", Role::Unspecified),
        remove("erin"),
        Wish::Mute { user_id: "bob".into(), until: 5 },
    ] {
        let mut driver = permission();
        driver.send(
            "commands",
            [alice.command("c1", wish), alice.command("c1", set("erin", Role::Member))],
        );
        assert!(matches!(alice.answers.take()[..], [(1, Body::Done(_))]));
        assert_eq!(changes(&mut driver).len(), 1, "the next command is not held up");
    }
}

#[test]
fn only_the_control_api_erases_and_nothing_waits_behind_it() {
    let (of_user, of_all) =
        (Wish::Erase { user_id: Some("bob".into()) }, Wish::Erase { user_id: None });
    for wish in [&of_user, &of_all] {
        let refused = ask(&mut permission(), "alice", "c1", wish.clone()).err();
        assert_eq!(refused, Some(ErrorCode::Forbidden), "{wish:?}");
        let mut driver = permission();
        assert_eq!(ask(&mut driver, "admin", "c1", wish.clone()).map(|facts| facts.len()), Ok(1));
        let next = ask(&mut driver, "admin", "c1", set("erin", Role::Member));
        assert_eq!(next.map(|facts| facts.len()), Ok(1), "no grant changes, so none is awaited");
    }
    let unknown = ask(&mut permission(), "admin", "c2", of_all).err();
    assert_eq!(unknown, Some(ErrorCode::UnknownConversation));
    assert_eq!(ask(&mut permission(), "admin", "", of_user).map(|facts| facts.len()), Ok(1));
}

#[test]
fn only_the_control_api_sets_a_level_which_is_a_name() {
    let wish = |level: &str| Wish::SetLevel { user_id: "bob".into(), level: level.into() };
    let ask = |user, level| ask(&mut permission(), user, "", wish(level)).map(|facts| facts.len());
    assert_eq!(ask("alice", "gold"), Err(ErrorCode::Forbidden));
    assert_eq!((ask("admin", "gold"), ask("admin", "")), (Ok(1), Ok(1)));
    assert_eq!(ask("admin", "two words"), Err(ErrorCode::Invalid));
}

#[test]
fn a_conversations_facts_are_decided_one_at_a_time() {
    let (mut driver, alice) = (permission(), Sender::new("alice", "phone"));
    let both = Wish::ChangeMembers {
        set: vec![member("erin", Role::Member)],
        remove: vec!["dave".into()],
    };
    driver.send(
        "commands",
        [
            alice.command("c1", both),
            alice.command("c1", remove("erin")),
            alice.command("c1", remove("erin")),
        ],
    );
    assert_eq!(changes(&mut driver).len(), 1);
    driver.send("grants", [grant("c1", "dave", None)]);
    assert_eq!(changes(&mut driver).len(), 0, "one of two grants is still to come");
    let erin = Grant { role: Role::Member, muted_until: 0, banned: false };
    driver.send("grants", [grant("c1", "erin", Some(erin))]);
    let second = changes(&mut driver);
    assert!(
        matches!(&second[0].fact.change, Some(fact::Change::Members(change)) if change.removed == ["erin"])
    );
    driver.send("grants", [grant("c1", "erin", None)]);
    assert_eq!(
        (changes(&mut driver).len(), alice.answers.take().len()),
        (0, 1),
        "the third has nothing left to remove"
    );
    assert!(driver.operator.in_flight.is_empty());
}

#[test]
fn a_creator_owns_its_group_and_a_repeat_is_answered_by_what_exists() {
    let mut driver = permission();
    let made =
        ask(&mut driver, "erin", "c2", create(ConversationType::Group, &["bob", "bob", "erin"]))
            .unwrap();
    let Some(fact::Change::Created(created)) = &made[0].fact.change else { panic!("{made:?}") };
    assert_eq!(created.members, [member("bob", Role::Member), member("erin", Role::Owner)]);
    let Body::Conversation(info) = &made[0].answer else { panic!("{made:?}") };
    assert_eq!((info.role(), info.member_count, info.name.as_str()), (Role::Owner, 2, "n"));
    driver.send(
        "grants",
        conversation(
            "c2",
            ConversationType::Group,
            &[("bob", Role::Member), ("erin", Role::Owner)],
        ),
    );
    assert!(driver.operator.in_flight.is_empty());
    let bob = Sender::new("bob", "phone");
    driver.send("commands", [bob.command("c2", create(ConversationType::Group, &[]))]);
    let existing = driver.take("existing");
    let [Record::Query(query)] = &existing[..] else { panic!("{existing:?}") };
    assert_eq!((&query.ask, &*query.session.user_id), (&Ask::Conversation("c2".into()), "bob"));
    let taken = ask(&mut driver, "carol", "c2", create(ConversationType::Group, &[]));
    assert_eq!(taken.unwrap_err(), ErrorCode::Conflict);
}

#[test]
fn a_pair_is_two_users_under_their_own_id() {
    let pair = |users: &[&str]| create(ConversationType::OneToOne, users);
    let mut driver = permission();
    for (id, users) in
        [("x", &["bob"][..]), ("alice:bob", &["bob", "carol"]), ("alice:alice", &["alice"])]
    {
        assert_eq!(
            ask(&mut driver, "alice", id, pair(users)).unwrap_err(),
            ErrorCode::Invalid,
            "{id}"
        );
    }
    let squatter = ask(&mut driver, "carol", "alice:bob", create(ConversationType::Group, &[]));
    assert_eq!(squatter.unwrap_err(), ErrorCode::Invalid);
    let made = ask(&mut driver, "alice", "alice:bob", pair(&["bob"])).unwrap();
    let Some(fact::Change::Created(created)) = &made[0].fact.change else { panic!("{made:?}") };
    assert!(created.members.iter().all(|member| member.role() == Role::Member));
    driver.send(
        "grants",
        conversation(
            "alice:bob",
            ConversationType::OneToOne,
            &[("alice", Role::Member), ("bob", Role::Member)],
        ),
    );
    assert_eq!(
        ask(&mut driver, "alice", "alice:bob", remove("alice")).unwrap_err(),
        ErrorCode::Forbidden
    );
}

#[test]
fn bounds_hold() {
    let many = |count: usize| -> Vec<MemberInfo> {
        (0..count).map(|n| member(&format!("u{n}"), Role::Member)).collect()
    };
    let change = |count| Wish::ChangeMembers { set: many(count), remove: vec![] };
    assert_eq!(
        ask(&mut permission(), "alice", "c1", change(4)).unwrap_err(),
        ErrorCode::TooLarge,
        "max_change"
    );
    assert_eq!(
        ask(&mut permission(), "alice", "c1", change(3)).unwrap_err(),
        ErrorCode::TooLarge,
        "max_members"
    );
    assert_eq!(ask(&mut permission(), "alice", "c1", change(2)).unwrap().len(), 1);
    let mut driver = permission();
    let alice = Sender::new("alice", "phone");
    driver.send(
        "commands",
        (0..MAX_WAITING + 2).map(|_| alice.command("c1", set("erin", Role::Member))),
    );
    assert_eq!(
        driver.take("denied").iter().map(|record| error_of(record).code()).collect::<Vec<_>>(),
        [ErrorCode::Busy]
    );
}

#[test]
fn a_change_that_no_log_takes_is_refused_and_leaves_the_conversation_free() {
    let bounds = Bounds { max_members: 100_000, max_change: 100_000 };
    let mut driver = drive(Permission::new(bounds), &DESCRIPTION);
    let users: Vec<String> = (0..6_000).map(|n| format!("{n:064}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let create = |count| create(ConversationType::Group, &users[..count]);
    assert_eq!(ask(&mut driver, "admin", "c9", create(6_000)).unwrap_err(), ErrorCode::TooLarge);
    assert!(driver.operator.in_flight.is_empty());
    let made = ask(&mut driver, "admin", "c9", create(3_000)).unwrap();
    assert!(made[0].fact.encoded_len() <= MAX_FACT_BYTES);
}
