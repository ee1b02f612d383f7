use imflow_kind::{DeviceHere, DevicePresence, UserHere, VirtualClock};

use super::*;
use crate::redis_routes::memory::{Memory, Server};
use crate::redis_routes::testing::Groups;

struct Rig {
    clock: Arc<VirtualClock>,
    server: Arc<Mutex<Server>>,
    places: Arc<Places>,
}

fn memory(rig_clock: &Arc<VirtualClock>, server: &Arc<Mutex<Server>>, node: &str) -> Memory {
    let (server, clock) = (Arc::clone(server), rig_clock.clone() as Arc<dyn Clock>);
    Memory { server, node: node.into(), down_ms: 15_000, clock }
}

fn rig(sticky: bool, users: usize) -> Rig {
    let clock = Arc::new(VirtualClock::at(1_000_000));
    let server = Arc::<Mutex<Server>>::default();
    let ages = Ages { sticky, users, routes_ms: 30_000, busy_ms: 2_000 };
    let shared = Box::new(memory(&clock, &server, "a"));
    let places = Places::new("a", clock.clone(), shared, &ages);
    Rig { clock, server, places }
}

impl Rig {
    fn put(&self, user: &str, node: &str, since: i64) {
        let it = DeviceHere { device_id: "phone".into(), since, number: 1, last_seen: since };
        let (user_id, devices) = (user.into(), vec![it]);
        let here = UserHere { user_id, devices, ended: Vec::new(), force: false };
        memory(&self.clock, &self.server, node).put(&[here], 0).expect("in reach");
    }

    fn route(&self, user: &str) -> Option<String> {
        self.places.routes(user).expect("in reach").pop().map(|route| route.node_id)
    }

    fn pass(&self, ms: u64) {
        self.clock.advance_to(self.clock.now_ms() + ms);
    }
}

#[test]
fn a_route_is_used_until_it_fails_or_is_30_s_old() {
    let rig = rig(true, 1_000);
    rig.put("bob", "b", 1);
    assert_eq!(rig.route("bob").as_deref(), Some("b"));
    rig.put("bob", "c", 2);
    assert_eq!(rig.route("bob").as_deref(), Some("b"));
    rig.places.failed("bob", "another");
    assert_eq!(rig.route("bob").as_deref(), Some("b"));
    rig.places.failed("bob", "phone");
    assert_eq!(rig.route("bob").as_deref(), Some("c"));
    rig.put("bob", "d", 3);
    rig.pass(30_000);
    assert_eq!(rig.route("bob").as_deref(), Some("d"));
    // What a node tells is an answer too.
    rig.put("bob", "e", 4);
    let told = rig.server.lock().told.pop().expect("it was told");
    rig.places.hear(&told);
    rig.server.lock().is_away = true;
    assert_eq!(rig.route("bob").as_deref(), Some("e"));
    assert!(matches!(rig.places.routes("carol"), Err(StoreError::Away(_))));
}

#[test]
fn the_cache_is_bounded_and_can_be_left_out() {
    let rig_of = |sticky| {
        let rig = rig(sticky, 2);
        for user in ["u1", "u2", "u3"] {
            rig.put(user, "b", 1);
            rig.route(user);
        }
        rig.put("u1", "c", 2);
        rig.put("u3", "c", 2);
        (rig.route("u1"), rig.route("u3"))
    };
    assert_eq!(rig_of(true), (Some("c".into()), Some("b".into())));
    assert_eq!(rig_of(false), (Some("c".into()), Some("c".into())));
}

/// Its own devices.
struct Gateway;

impl Routes for Gateway {
    fn presence(&self, user_ids: &[&str]) -> Result<Vec<UserPresence>, StoreError> {
        let (device_id, node_id) = ("phone".into(), "a".into());
        let device = DevicePresence { device_id, node_id, last_seen: 9, since: 5 };
        let here = UserPresence { devices: vec![device], last_active_at: 9, migrating_from: None };
        Ok(user_ids
            .iter()
            .map(|user| if *user == "alice" { here.clone() } else { UserPresence::default() })
            .collect())
    }

    fn routes(&self, _: &str) -> Result<Vec<Route>, StoreError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_node_knows_its_own_devices_best() {
    let rig = rig(false, 2);
    rig.places.gateway.get_or_init(|| Arc::new(Gateway));
    // What is shared is behind: there she is still at b; and bob is still here.
    rig.put("alice", "b", 3);
    rig.put("bob", "a", 3);
    assert_eq!((rig.route("alice").as_deref(), rig.route("bob")), (Some("a"), None));
    assert_eq!(rig.places.presence(&["alice"]).expect("in reach")[0].devices[0].last_seen, 9);
    // She has gone on to b meanwhile.
    rig.put("alice", "b", 7);
    assert_eq!(rig.route("alice").as_deref(), Some("b"));
}

#[test]
fn online_members_come_from_the_set_or_in_batches_and_are_remembered_for_a_moment() {
    let rig = rig(true, 1_000);
    let store = Arc::new(Groups::of(&[("small", 3), ("busy", 1_200)]));
    let ordinary = Ordinary { store, busy: 1_000, conversations: 10 };
    rig.places.ordinary.get_or_init(|| Arc::new(ordinary));
    rig.put("u1", "b", 1);
    rig.put("u1100", "b", 1);
    let everybody = || Ok((0..1_200).map(|n| format!("u{n}")).collect());
    let nobody = || -> Result<Vec<String>, StoreError> { panic!("there is a set, or an answer") };
    let small = || rig.places.online_members("small", &nobody).expect("in reach");
    let mark = |user: &str| {
        let marks = [("small".to_owned(), user.into(), true)];
        memory(&rig.clock, &rig.server, "b").mark_members(&marks).expect("in reach");
    };
    mark("u1");
    mark("u2");
    assert_eq!(small(), ["u1"], "u2 is not online, whatever the set says");
    let kept = memory(&rig.clock, &rig.server, "b").members("small").expect("in reach");
    assert_eq!(kept, Some(vec!["u1".to_owned()]));

    let busy = |members: &dyn Fn() -> Result<Vec<String>, StoreError>| {
        rig.places.online_members("busy", members).expect("in reach")
    };
    assert_eq!(busy(&everybody), ["u1", "u1100"]);
    rig.put("u2", "b", 1);
    assert_eq!(busy(&nobody), ["u1", "u1100"]);
    rig.pass(2_000);
    assert_eq!(busy(&everybody), ["u1", "u2", "u1100"]);
}
