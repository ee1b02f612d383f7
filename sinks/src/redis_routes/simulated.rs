//! The sink in virtual time: what nodes share is in memory, and a test plays the other nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::{
    Act, DeviceHere, Injector, Intake, IoContext, Outside, Seen, SharedRoutes as _, Sink,
    StartError, UserHere, World,
};
use imflow_proto::Record;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::SCRIPT;
use super::keeper::Keeper;
use super::memory::{Memory, Server};
use super::node::{Parts, SUBSCRIPTIONS, follow, hear, look_again};

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let world = World::new(&SCRIPT, check, check_seen);
    context.roles.offer(&context.name, Arc::clone(&world) as Arc<dyn Outside>);
    let server = Arc::<Mutex<Server>>::default();
    let parts = Parts::new(context, Box::new(memory(context, &server, &context.node)));
    Ok(Box::new(Simulated {
        parts,
        server,
        world,
        keeper: None,
        injector: None,
        follows: Vec::new(),
        others: BTreeMap::new(),
        due: 0,
    }))
}

fn memory(context: &IoContext, server: &Arc<Mutex<Server>>, node: &str) -> Memory {
    let (server, clock) = (Arc::clone(server), Arc::clone(&context.clock));
    Memory { server, node: node.to_owned(), down_ms: Parts::down_ms(context), clock }
}

struct Simulated {
    parts: Parts,
    server: Arc<Mutex<Server>>,
    world: Arc<World>,
    keeper: Option<Keeper>,
    injector: Option<Arc<dyn Injector>>,
    /// Passed on once it is known who is elsewhere.
    follows: Vec<Record>,
    /// Devices of other nodes, with when their sessions began.
    others: BTreeMap<Device, i64>,
    due: u64,
}

/// User, device and node.
type Device = (String, String, String);

impl Sink for Simulated {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        self.parts.intake()
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let own = memory(&self.parts.context, &self.server, &self.parts.context.node);
        self.keeper = Some(self.parts.keeper(Box::new(own))?);
        self.injector = Some(injector);
        Ok(())
    }

    fn step(&mut self) -> bool {
        let now = self.parts.context.clock.now_ms();
        let (Some(keeper), Some(injector)) = (&mut self.keeper, self.injector.clone()) else {
            return false;
        };
        let rung = self.parts.rung.try_recv().is_ok();
        if rung || self.due <= now {
            self.due = keeper.step();
        }
        let mut moved = self.due <= now;
        for act in self.world.take_acts() {
            moved = true;
            self.take_part(&act, now, &*injector);
        }
        if !self.follows.is_empty() {
            moved = true;
            injector.send(0, SUBSCRIPTIONS, std::mem::take(&mut self.follows));
        }
        self.follows = self.parts.waiting.try_iter().collect();
        if !self.follows.is_empty() {
            moved = true;
            follow(&self.parts.followed, &self.parts.places, &self.follows, &*injector, None);
        }
        for told in std::mem::take(&mut self.server.lock().told) {
            moved = true;
            hear(&self.parts.followed, &self.parts.places, &told, &*injector);
            let mut nodes: Vec<_> = told.presence.devices.iter().map(|it| &*it.node_id).collect();
            nodes.dedup();
            let body = json!({ "userId": told.user_id, "nodes": nodes }).to_string();
            self.world.note([Seen { at_ms: now, actor: String::new(), body, refusal: false }]);
        }
        moved
    }

    fn next_due(&self) -> Option<u64> {
        self.keeper.as_ref().map(|_| self.due)
    }
}

impl Simulated {
    fn take_part(&mut self, act: &Act, now: u64, injector: &dyn Injector) {
        match act.action {
            "outage" => self.server.lock().is_away = true,
            "back" => {
                self.server.lock().is_away = false;
                look_again(&self.parts.followed, &self.parts.places, injector);
            }
            _ => {
                if let Ok((device, online)) = elsewhere(&act.value) {
                    self.other_node(device, online, now);
                }
            }
        }
    }

    /// Another node says that a device came or went, and that it lives.
    fn other_node(&mut self, device: Device, online: bool, now: u64) {
        let (user, device_id, node) = device.clone();
        let since = match online {
            true => *self.others.entry(device).or_insert(now as i64),
            false => self.others.remove(&device).unwrap_or(now as i64),
        };
        let device_id = device_id.into();
        let it = DeviceHere { device_id, since, number: 1, last_seen: now as i64 };
        let (devices, ended) = if online { (vec![it], vec![]) } else { (vec![], vec![it]) };
        let here = UserHere { user_id: user.into(), devices, ended, force: false };
        let mut other = memory(&self.parts.context, &self.server, &node);
        // While it is out of reach of this node, it is of that one.
        let _ = other.beat();
        let _ = other.put(&[here], now);
    }
}

fn elsewhere(value: &str) -> Result<(Device, bool), String> {
    const KEYS: [&str; 4] = ["userId", "deviceId", "nodeId", "online"];
    let Ok(Value::Object(fields)) = serde_json::from_str(value) else {
        return Err("expected a table".into());
    };
    if let Some(key) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key `{key}`, expected one of {}", KEYS.join(", ")));
    }
    let text = |name: &str| {
        let text = fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| format!("`{name}` is missing, expected a text"))
    };
    let online = match fields.get("online") {
        None => true,
        Some(online) => online.as_bool().ok_or("`online` is true or false")?,
    };
    Ok(((text("userId")?, text("deviceId")?, text("nodeId")?), online))
}

fn check(act: &Act) -> Result<(), String> {
    if act.action == "elsewhere" { elsewhere(&act.value).map(drop) } else { Ok(()) }
}

fn check_seen(seen: &str) -> Result<(), String> {
    const KEYS: [&str; 2] = ["userId", "nodes"];
    let Ok(Value::Object(fields)) = serde_json::from_str(seen) else {
        return Err("expected a table of what is shared of a user".into());
    };
    match fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown key `{key}`, expected one of {}", KEYS.join(", "))),
        None => Ok(()),
    }
}
