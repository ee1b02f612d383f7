use imflow_proto::wire::Role;

use super::*;
use crate::log::index::MemoryTables;

fn member(user: &str, role: Role) -> MemberInfo {
    MemberInfo { user_id: user.into(), role: role.into() }
}

fn fact(conversation: &str, change: Change) -> Fact {
    Fact { conversation_id: conversation.into(), at: 5, by: String::new(), change: Some(change) }
}

fn directory() -> Directory {
    let directory = Directory::new(Arc::new(MemoryTables::default()));
    let created = ConversationCreated {
        members: vec![member("alice", Role::Owner), member("bob", Role::Member)],
        ..Default::default()
    };
    let members = MembersChanged {
        set: vec![member("bob", Role::Admin), member("carl", Role::Member)],
        removed: vec!["alice".into()],
    };
    directory.apply(1, &fact("c1", Change::Created(created)), 0).expect("applied");
    directory.apply(4, &fact("c1", Change::Members(members)), 0).expect("applied");
    directory
        .apply(6, &fact("c1", Change::Mute(MuteChanged { user_id: "bob".into(), until: 77 })), 0)
        .expect("applied");
    directory
        .apply(7, &fact("c1", Change::Ban(BanChanged { user_id: "carl".into(), banned: true })), 0)
        .expect("applied");
    directory
}

#[test]
fn facts_add_up_and_none_counts_twice() {
    let directory = directory();
    let again = MembersChanged { set: vec![], removed: vec!["bob".into()] };
    directory.apply(4, &fact("c1", Change::Members(again)), 0).expect("ignored");
    assert_eq!(
        directory.members("c1").expect("read"),
        [member("bob", Role::Admin), member("carl", Role::Member)]
    );
    let seen_by = |user| directory.conversation("c1", user).expect("read").expect("there");
    let View { info, banned, .. } = seen_by("bob");
    assert_eq!((info.member_count, info.role(), info.created_at), (2, Role::Admin, 5));
    assert!(!banned && seen_by("carl").banned && !seen_by("alice").banned);
    assert_eq!(seen_by("carl").info.role(), Role::Unspecified);
    assert_eq!(directory.conversations_of("alice", "", 10).expect("read").items, []);
    assert_eq!(directory.conversation("c2", "bob").expect("read"), None);
}

#[test]
fn the_facts_told_make_the_same_directory() {
    let (directory, copy) = (directory(), Directory::new(Arc::new(MemoryTables::default())));
    let mut lsn = 0;
    directory
        .facts(&mut |fact| {
            lsn += 1;
            copy.apply(lsn, &fact, 0).expect("applied");
        })
        .expect("told");
    for user in ["alice", "bob", "carl"] {
        assert_eq!(
            directory.conversation("c1", user).expect("read"),
            copy.conversation("c1", user).expect("read")
        );
    }
    assert_eq!(directory.users(b't', "c1").expect("read"), copy.users(b't', "c1").expect("read"));
}

#[test]
fn lists_are_paged_by_id() {
    let directory = Directory::new(Arc::new(MemoryTables::default()));
    for (lsn, id) in (1..).zip(["a", "b", "c"]) {
        let created = ConversationCreated {
            members: vec![member("alice", Role::Member)],
            ..Default::default()
        };
        directory.apply(lsn, &fact(id, Change::Created(created)), 0).expect("applied");
    }
    let list = directory.conversations_of("alice", "a", 1).expect("read");
    assert_eq!((list.items[0].info.conversation_id.as_str(), list.more), ("b", true));
    let list = directory.conversations_of("alice", "b", 1).expect("read");
    assert_eq!((list.items[0].info.conversation_id.as_str(), list.more), ("c", false));
    assert_eq!(directory.conversations_of("alice", "c", 1).expect("read").items, []);
}

#[test]
fn a_page_reaches_over_conversations_that_are_not_shown() {
    let directory = Directory::new(Arc::new(MemoryTables::default()));
    for (lsn, id) in (0..).map(|n| 2 * n + 1).zip(["a", "b", "c", "d", "e", "f"]) {
        let created = ConversationCreated {
            members: vec![member("alice", Role::Member)],
            ..Default::default()
        };
        directory.apply(lsn, &fact(id, Change::Created(created)), 0).expect("applied");
        if ["b", "c", "d", "f"].contains(&id) {
            let ban = BanChanged { user_id: "alice".into(), banned: true };
            directory.apply(lsn + 1, &fact(id, Change::Ban(ban)), 0).expect("applied");
        }
    }
    let page = |after, limit| {
        let list = directory.conversations_of("alice", after, limit).expect("read");
        let ids: String = list.items.into_iter().map(|view| view.info.conversation_id).collect();
        (ids, list.more)
    };
    assert_eq!(page("", 1), ("a".into(), true));
    assert_eq!(page("a", 1), ("e".into(), false), "what is left is not shown either");
    assert_eq!(page("", 2), ("ae".into(), false));
    assert_eq!(page("b", 9), ("e".into(), false));
}
