//! The parts of the sink that both of its forms have: what workers put in, and who answers.

use std::sync::Arc;

use imflow_kind::{
    Injector, Intake, IoContext, Routes, SharedRoutes, StartError, Store, Time, Told, UserPresence,
};
use imflow_proto::Record;
use imflow_proto::record::Subscription;
use parking_lot::Mutex;

use super::counts::Counts;
use super::followed::{Followed, Wanted};
use super::keeper::{Inbox, Keeper, Ordinary, Timers};
use super::places::{Ages, Places};

pub(super) const ELSEWHERE: usize = 0;
pub(super) const SUBSCRIPTIONS: usize = 1;
/// Input ports.
const SUBSCRIBE: usize = 1;
/// Conversations of a user that are looked at.
const CONVERSATIONS: usize = 10_000;

/// What is shared by the hands in the workers and the threads.
pub(super) struct Parts {
    pub(super) context: IoContext,
    pub(super) inbox: Arc<Mutex<Inbox>>,
    pub(super) followed: Arc<Mutex<Followed>>,
    pub(super) places: Arc<Places>,
    pub(super) subscriptions: flume::Sender<Record>,
    pub(super) waiting: flume::Receiver<Record>,
    /// Rings the keeper.
    pub(super) bell: flume::Sender<()>,
    pub(super) rung: flume::Receiver<()>,
}

impl Parts {
    /// Offers who knows where users are. `shared` is for those who ask.
    pub(super) fn new(context: &IoContext, shared: Box<dyn SharedRoutes>) -> Self {
        let options = &context.options;
        let ms = |name| options.duration(name).as_millis() as u64;
        let ages = Ages {
            sticky: options.text("strategy") == "sticky",
            users: options.integer("cache") as usize,
            routes_ms: ms("cache_ttl"),
            busy_ms: ms("busy_ttl"),
        };
        let places = Places::new(&context.node, Arc::clone(&context.clock), shared, &ages);
        context.roles.offer(&context.name, Arc::clone(&places) as Arc<dyn Routes>);
        let followed = Followed::new(&context.node, options.integer("followed") as usize);
        // Credit bounds it: what waits is owed a reply, or is the end of a session.
        let (subscriptions, waiting) = flume::unbounded();
        let (bell, rung) = flume::bounded(1);
        Self {
            context: context.clone(),
            inbox: Arc::new(Mutex::new(Inbox::new(ms("refresh")))),
            followed: Arc::new(Mutex::new(followed)),
            places,
            subscriptions,
            waiting,
            bell,
            rung,
        }
    }

    pub(super) fn intake(&self) -> Box<dyn Intake> {
        Box::new(Hand {
            node: self.context.node.clone(),
            inbox: Arc::clone(&self.inbox),
            subscriptions: self.subscriptions.clone(),
            bell: self.bell.clone(),
        })
    }

    /// The keeper, over a connection of its own. Roles are found from here on.
    pub(super) fn keeper(&self, shared: Box<dyn SharedRoutes>) -> Result<Keeper, StartError> {
        let IoContext { name, options, roles, clock, .. } = &self.context;
        let gateway = options.text("gateway");
        let gateway = roles.find::<Arc<dyn Routes>>(gateway).ok_or_else(|| {
            StartError::new(format!("sink `{name}` keeps the sessions of `{gateway}`, which has none; `gateway` must name a source of kind `websocket`"))
        })?;
        let of = options.text("of");
        let store = roles.find::<Arc<dyn Store>>(of);
        if store.is_none() && !of.is_empty() {
            return Err(StartError::new(format!(
                "sink `{name}` reads members from `{of}`, which has none; `of` must name a sink of kind `log`"
            )));
        }
        let busy = options.integer("busy") as u32;
        let ordinary =
            store.map(|store| Arc::new(Ordinary { store, busy, conversations: CONVERSATIONS }));
        if let Some(ordinary) = &ordinary {
            self.places.ordinary.get_or_init(|| Arc::clone(ordinary));
        }
        self.places.gateway.get_or_init(|| Arc::clone(&gateway));
        Ok(Keeper {
            name: name.clone(),
            clock: Arc::clone(clock),
            inbox: Arc::clone(&self.inbox),
            shared,
            gateway: Some(gateway),
            ordinary,
            timers: Timers { beat_ms: options.duration("heartbeat").as_millis() as u64 },
            counts: Counts::new(&self.context.meters),
            state: Default::default(),
        })
    }

    /// After so long without a heartbeat a node is down.
    pub(super) fn down_ms(context: &IoContext) -> u64 {
        let misses = context.options.integer("misses") as u64;
        context.options.duration("heartbeat").as_millis() as u64 * misses
    }
}

/// Follows the users of subscriptions, and gives what is new of those on other nodes; whether all could be
/// looked up.
pub(super) fn follow(
    followed: &Mutex<Followed>,
    places: &Places,
    subscriptions: &[Record],
    injector: &dyn Injector,
    applied: Option<imflow_kind::Applied>,
) -> bool {
    let (mut wanted, mut out) = (Vec::new(), Vec::new());
    let mut held = followed.lock();
    for subscription in subscriptions.iter().filter_map(subscription) {
        held.subscribe(subscription, &mut wanted, &mut out);
    }
    drop(held);
    let found = look_up(places, &wanted);
    let mut held = followed.lock();
    let is_found = found.is_some();
    let found = found.into_iter().flatten();
    out.extend(wanted.iter().zip(found).filter_map(|(it, found)| held.found(it, &found)));
    match applied {
        _ if out.is_empty() => {}
        Some(applied) => injector.send_and_track(0, ELSEWHERE, out, applied),
        None => injector.send(0, ELSEWHERE, out),
    }
    is_found
}

/// Looks up all that are followed; whether that could be done.
pub(super) fn look_again(
    followed: &Mutex<Followed>,
    places: &Places,
    injector: &dyn Injector,
) -> bool {
    let wanted = followed.lock().all();
    let Some(found) = look_up(places, &wanted) else { return false };
    let mut held = followed.lock();
    let out = wanted.iter().zip(found).filter_map(|(it, found)| held.found(it, &found));
    let out: Vec<_> = out.collect();
    if !out.is_empty() {
        injector.send(0, ELSEWHERE, out);
    }
    true
}

/// A node told of a user.
pub(super) fn hear(
    followed: &Mutex<Followed>,
    places: &Places,
    told: &Told,
    injector: &dyn Injector,
) {
    places.hear(told);
    let mut held = followed.lock();
    if let Some(record) = held.told(told) {
        injector.send(0, ELSEWHERE, vec![record]);
    }
}

fn look_up(places: &Places, wanted: &[Wanted]) -> Option<Vec<UserPresence>> {
    let users: Vec<&str> = wanted.iter().map(|(user, _)| &**user).collect();
    places.shared(&users).ok()
}

fn subscription(record: &Record) -> Option<&Subscription> {
    match record {
        Record::Subscription(subscription) => Some(subscription),
        _ => None,
    }
}

/// The hand in a worker.
struct Hand {
    node: String,
    inbox: Arc<Mutex<Inbox>>,
    subscriptions: flume::Sender<Record>,
    bell: flume::Sender<()>,
}

impl Intake for Hand {
    fn on_batch(&mut self, _now: Time, port: usize, records: &mut Vec<Record>) {
        if port == SUBSCRIBE {
            records.drain(..).for_each(|it| drop(self.subscriptions.send(it)));
            return;
        }
        let mut inbox = self.inbox.lock();
        for record in records.drain(..) {
            match record {
                Record::SessionEvent(event) => inbox.session(&event, &self.node),
                Record::Grant(change) => inbox.grant(&change),
                _ => {}
            }
        }
        drop(inbox);
        let _ = self.bell.try_send(()); // it has been rung already
    }
}
