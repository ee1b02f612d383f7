//! In virtual time: two nodes over one server in memory.

use imflow_kind::{Gauge, Told, VirtualClock};
use imflow_proto::record::Grant;
use imflow_proto::wire::Role;

use super::*;
use crate::redis_routes::memory::{Memory, Server};
use crate::redis_routes::table::tests::event;
use crate::redis_routes::table::{LOCK_MS, LOCKED_RETRY_MS};

const START: u64 = 1_000_000;

struct World {
    clock: Arc<VirtualClock>,
    server: Arc<Mutex<Server>>,
    told: Vec<Told>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::at(START));
        Self { clock, server: Arc::default(), told: Vec::new() }
    }

    fn memory(&self, node: &str) -> Memory {
        let (server, clock) = (Arc::clone(&self.server), self.clock.clone() as Arc<dyn Clock>);
        Memory { server, node: node.into(), down_ms: 15_000, clock }
    }

    fn keeper(&self, node: &str, ordinary: Option<Arc<Ordinary>>) -> Keeper {
        Keeper {
            name: node.into(),
            clock: self.clock.clone(),
            inbox: Arc::new(Mutex::new(Inbox::new(60_000))),
            shared: Box::new(self.memory(node)),
            gateway: None,
            ordinary,
            timers: Timers { beat_ms: 5_000 },
            counts: Counts::default(),
            state: State::default(),
        }
    }

    /// Lets time pass through every step that is due.
    fn run(&mut self, keepers: &mut [&mut Keeper], until: u64) {
        loop {
            let mut next = u64::MAX;
            for keeper in keepers.iter_mut() {
                let mut due = keeper.step();
                while due <= self.clock.now_ms() {
                    due = keeper.step();
                }
                next = next.min(due);
            }
            self.told.append(&mut self.server.lock().told);
            if next > START + until {
                self.clock.advance_to(START + until);
                return;
            }
            self.clock.advance_to(next);
        }
    }

    /// What was told of a user: the nodes, after each change.
    fn told_of(&mut self, user: &str) -> Vec<Vec<String>> {
        let told = std::mem::take(&mut self.told);
        let of = told.into_iter().filter(|it| it.user_id == user);
        of.map(|it| it.presence.devices.into_iter().map(|it| it.node_id).collect()).collect()
    }

    fn presence(&self, user: &str) -> imflow_kind::UserPresence {
        self.memory("reader").presence(&[user]).expect("in reach").remove(0)
    }
}

fn connect(keeper: &Keeper, user: &str, node: &str, since: u64) {
    let mut began = event(user, 1, since as i64, None);
    began.node_id = node.into();
    keeper.inbox.lock().session(&began, node);
}

fn disconnect(keeper: &Keeper, user: &str, node: &str, since: u64, at: u64) {
    let mut ended = event(user, 1, since as i64, Some(at as i64));
    ended.node_id = node.into();
    keeper.inbox.lock().session(&ended, node);
}

fn counted(count: &Gauge) -> i64 {
    count.get()
}

#[test]
fn a_node_that_misses_three_heartbeats_is_down_and_its_users_are_taken_off_it() {
    let mut world = World::new();
    let (mut a, mut b) = (world.keeper("a", None), world.keeper("b", None));
    connect(&b, "bob", "b", START);
    connect(&b, "carol", "b", START);
    connect(&a, "carol", "a", START + 1);
    world.run(&mut [&mut a, &mut b], 1_000);
    assert_eq!(world.told_of("bob"), [["b"]]);
    // Node b is heard of no more: its last beat was at 0.
    world.run(&mut [&mut a], 15_000);
    assert_eq!((world.told_of("bob").len(), counted(&a.counts.node_failures)), (0, 0));
    world.run(&mut [&mut a], 20_000);
    assert_eq!(world.told_of("bob"), [Vec::<String>::new()]);
    assert_eq!(world.presence("bob").migrating_from.as_deref(), Some("b"));
    assert_eq!(world.presence("carol").devices[0].node_id, "a", "she had gone there before");
    assert_eq!((counted(&a.counts.node_failures), counted(&a.counts.route_migrations)), (1, 1));
    // He comes here; the mark goes.
    connect(&a, "bob", "a", START + 21_000);
    world.run(&mut [&mut a], 22_000);
    assert_eq!(
        (world.told_of("bob"), world.presence("bob").migrating_from),
        (vec![vec!["a".to_owned()]], None)
    );
    world.run(&mut [&mut a], 100_000);
    assert_eq!(counted(&a.counts.node_failures), 1);
}

#[test]
fn a_node_that_was_taken_for_down_says_anew_what_it_has() {
    let mut world = World::new();
    let (mut a, mut b) = (world.keeper("a", None), world.keeper("b", None));
    connect(&b, "bob", "b", START);
    connect(&b, "carol", "b", START);
    world.run(&mut [&mut a, &mut b], 0);
    world.run(&mut [&mut a], 40_000);
    connect(&a, "carol", "a", START + 30_000);
    world.run(&mut [&mut a], 41_000);
    world.told.clear();
    world.run(&mut [&mut a, &mut b], 42_000);
    assert_eq!(world.told_of("bob"), [["b"]]);
    assert_eq!(world.presence("carol").devices[0].node_id, "a", "she connected there later");
    assert_eq!(counted(&b.counts.route_inconsistencies), 1);
}

#[test]
fn an_outage_holds_nobody_and_then_everything_is_said_anew() {
    let mut world = World::new();
    let mut a = world.keeper("a", None);
    connect(&a, "alice", "a", START);
    connect(&a, "bob", "a", START);
    world.run(&mut [&mut a], 1_000);
    world.server.lock().is_away = true;
    disconnect(&a, "bob", "a", START, START + 2_000);
    connect(&a, "carol", "a", START + 2_000);
    world.run(&mut [&mut a], 30_000);
    assert!(a.state.pause_ms == LAST_PAUSE_MS, "it is tried again, ever more seldom");
    world.told.clear();
    // It comes back empty.
    world.server.lock().clear();
    world.run(&mut [&mut a], 36_000);
    assert_eq!(world.presence("alice").devices.len(), 1);
    assert_eq!(world.presence("carol").devices.len(), 1);
    assert_eq!(world.presence("bob").devices.len(), 0);
    assert_eq!(a.inbox.lock().table.len(), 2);
}

#[test]
fn who_is_online_is_written_again_before_the_keys_expire_and_nobody_else() {
    let mut world = World::new();
    let mut a = world.keeper("a", None);
    connect(&a, "alice", "a", START);
    connect(&a, "bob", "a", START);
    world.run(&mut [&mut a], 1_000);
    disconnect(&a, "bob", "a", START, START + 1_500);
    world.run(&mut [&mut a], 2_000);
    let seen = |world: &World, user: &str| world.presence(user).last_active_at as u64 - START;
    world.run(&mut [&mut a], 53_000);
    assert_eq!(seen(&world, "alice"), 0, "nothing is written between refreshes");
    world.run(&mut [&mut a], 61_000);
    assert!((54_000..=60_000).contains(&seen(&world, "alice")));
    assert_eq!(seen(&world, "bob"), 1_500);
}

#[test]
fn a_lock_of_somebody_else_is_waited_for_200_ms_and_holds_nobody_else() {
    let mut world = World::new();
    let mut a = world.keeper("a", None);
    world.server.lock().locked.insert("alice".into());
    connect(&a, "alice", "a", START);
    connect(&a, "bob", "a", START);
    world.run(&mut [&mut a], LOCK_MS - LOCKED_RETRY_MS);
    assert_eq!(
        (world.presence("alice").devices.len(), world.presence("bob").devices.len()),
        (0, 1)
    );
    world.run(&mut [&mut a], LOCK_MS);
    assert_eq!(world.presence("alice").devices.len(), 1);
}

#[test]
fn a_node_that_stops_leaves_nobody_behind() {
    let mut world = World::new();
    let (mut a, mut b) = (world.keeper("a", None), world.keeper("b", None));
    connect(&b, "bob", "b", START);
    world.run(&mut [&mut a, &mut b], 1_000);
    b.leave();
    assert_eq!(world.presence("bob").devices.len(), 0);
    world.run(&mut [&mut a], 60_000);
    assert_eq!(counted(&a.counts.node_failures), 0, "it has not failed");
}

#[test]
fn conversations_know_who_of_their_members_is_online_unless_they_are_busy() {
    let store =
        Arc::new(crate::redis_routes::testing::Groups::of(&[("small", 3), ("busy", 1_001)]));
    let ordinary = Arc::new(Ordinary { store, busy: 1_000, conversations: 10 });
    let mut world = World::new();
    let mut a = world.keeper("a", Some(ordinary));
    connect(&a, "u1", "a", START);
    connect(&a, "u2", "a", START);
    world.run(&mut [&mut a], 1_000);
    let members = |world: &World, id: &str| world.memory("reader").members(id).expect("in reach");
    assert_eq!(members(&world, "small"), Some(vec!["u1".to_owned(), "u2".into()]));
    assert_eq!(members(&world, "busy"), None);
    disconnect(&a, "u1", "a", START, START + 1_000);
    let left = |user: &str, member: bool| GrantChange {
        conversation_id: "small".into(),
        subject: GrantSubject::User {
            user_id: user.into(),
            grant: member.then_some(Grant { role: Role::Member, muted_until: 0, banned: false }),
        },
    };
    a.inbox.lock().grant(&left("u2", false));
    a.inbox.lock().grant(&left("u9", true));
    world.run(&mut [&mut a], 2_000);
    assert_eq!(
        members(&world, "small"),
        None,
        "one went offline, one left, and one was never here"
    );
}

/// Nanoseconds that this thread has run.
fn ran_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

#[test]
#[ignore = "a measurement: what a refresh of 100,000 idle users costs, with a real Redis (IMFLOW_REDIS_URL)"]
fn a_refresh_of_a_hundred_thousand_users() {
    use imflow_engines::redis::{RedisRoutes, RouteSettings};
    use std::time::{Duration, Instant};
    const USERS: usize = 100_000;
    let world = World::new();
    let mut a = world.keeper("a", None);
    let second = Duration::from_secs(1);
    a.shared = Box::new(
        RedisRoutes::new(RouteSettings {
            uri: std::env::var("IMFLOW_REDIS_URL").expect("a server"),
            prefix: format!("measured-{}:", std::process::id()),
            node: "a".into(),
            timeout: 2 * second,
            ttl: 30 * second,
            keep: 30 * second,
            down: 15 * second,
            members_ttl: 30 * second,
            global_devices: false,
        })
        .expect("an address"),
    );
    for number in 0..USERS {
        connect(&a, &format!("user-{number}"), "a", START);
    }
    for round in ["first", "refresh"] {
        let (wall, cpu) = (Instant::now(), ran_ns());
        while a.step() <= world.clock.now_ms() {}
        let (wall, cpu) = (wall.elapsed(), Duration::from_nanos(ran_ns() - cpu));
        println!("{round}: {USERS} users in {wall:?}, {cpu:?} of this thread");
        world.clock.advance_to(world.clock.now_ms() + 61_000);
    }
    assert_eq!(a.inbox.lock().table.len(), USERS);
}
