//! What the gateway shares: the half that others reach ([`Hub`], the `Outboxes` that sinks deliver
//! to) exists from the building on; the other half ([`Gateway`]) from the start on.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use imflow_kind::{Clock, Injector, IoContext, Meters, Outboxes, Routes};
use imflow_proto::Record;
use imflow_proto::record::Band;
use parking_lot::{Condvar, Mutex};
use rapidhash::RapidHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::flow::Flow;
use super::limits::Limits;
use super::meters::GateMeters;
use super::peer::CoarseClock;
use super::queue::{Queue, Round, RoundSize, Strain};
use super::registry::Registry;
use super::throttle::Throttle;
use super::whereabouts::Departed;
use crate::auth::Secrets;

/// Sessions, and what is to be delivered to them.
pub(super) struct Hub {
    pub(super) limits: Arc<Limits>,
    pub(super) registry: Registry,
    pub(super) flow: Arc<Flow>,
    pub(super) clock: Arc<CoarseClock>,
    pub(super) meters: GateMeters,
    /// This node's name.
    pub(super) node: Arc<str>,
    pub(super) wall: Arc<dyn Clock>,
    pub(super) departed: Departed,
    queue: Mutex<Queue>,
    /// Of the queue, as [`Strain`].
    fill: AtomicUsize,
    holds: AtomicBool,
    pub(super) delivered: Notify,
}

impl Hub {
    pub(super) fn new(
        limits: Limits,
        meters: &Meters,
        node: &str,
        wall: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::new(limits.fanout_bytes)),
            fill: AtomicUsize::new(0),
            holds: AtomicBool::new(false),
            limits: Arc::new(limits),
            meters: GateMeters::new(meters.clone()),
            registry: Registry::new(),
            flow: Arc::default(),
            clock: Arc::new(CoarseClock::new()),
            node: node.into(),
            wall,
            departed: Departed::default(),
            delivered: Notify::new(),
        })
    }

    /// The hub of a node of the file, which offers it to others under its name.
    pub(super) fn of(context: &IoContext) -> Arc<Self> {
        let limits = Limits::from_options(&context.options);
        let hub = Self::new(limits, &context.meters, &context.node, Arc::clone(&context.clock));
        context.roles.offer(&context.name, Arc::clone(&hub) as Arc<dyn Outboxes>);
        context.roles.offer(&context.name, Arc::clone(&hub) as Arc<dyn Routes>);
        hub
    }

    /// Takes a round of what was delivered, as [`Queue::take`].
    pub(super) fn take(&self, size: RoundSize, lowest: Option<Band>) -> Option<Round> {
        let mut queue = self.queue.lock();
        let round = queue.take(size, lowest)?;
        self.note(queue.strain());
        Some(round)
    }

    /// How much waits in the fan-out queue.
    pub(super) fn strain(&self) -> Strain {
        let holds = self.holds.load(Ordering::Relaxed);
        Strain { fill: self.fill.load(Ordering::Relaxed), holds }
    }

    fn note(&self, strain: Strain) {
        self.fill.store(strain.fill, Ordering::Relaxed);
        self.holds.store(strain.holds, Ordering::Relaxed);
    }

    /// The entries of the fan-out queue, by band.
    pub(super) fn waiting(&self) -> [usize; Band::COUNT] {
        self.queue.lock().counts()
    }
}

impl Outboxes for Hub {
    fn deliver(&self, records: Vec<Record>) {
        let mut queue = self.queue.lock();
        let lost = queue.add(records);
        self.note(queue.strain());
        drop(queue);
        self.meters.left_out.inc_by(lost as u64);
        self.delivered.notify_one();
    }
}

/// All that a session needs.
pub(super) struct Gateway {
    pub(super) hub: Arc<Hub>,
    pub(super) injector: Arc<dyn Injector>,
    pub(super) draining: AtomicBool,
    pub(super) doors: Arc<Doors>,
    pub(super) throttle: Arc<Throttle>,
    /// What tokens are verified with; a simulation has none.
    pub(super) secrets: Option<Arc<Secrets>>,
    /// Sessions that wait for their next connection.
    pub(super) parked: Arc<AtomicUsize>,
    start: Instant,
    sessions: AtomicU64,
    /// When the last session began, in milliseconds since the Unix epoch.
    last_begun: AtomicU64,
}

impl Gateway {
    pub(super) fn new(
        hub: Arc<Hub>,
        injector: Arc<dyn Injector>,
        secrets: Option<Arc<Secrets>>,
    ) -> Arc<Self> {
        let throttle = Arc::new(Throttle::new(&hub.limits));
        hub.meters.watch_buckets(&throttle);
        let parked = Arc::default();
        hub.meters.watch_parked(&parked);
        let doors = Arc::new(Doors::default());
        let counted = Arc::clone(&doors);
        hub.meters.watch(&hub, move || counted.total());
        Arc::new(Self {
            hub,
            injector,
            draining: AtomicBool::new(false),
            doors,
            throttle,
            secrets,
            parked,
            start: Instant::now(),
            sessions: AtomicU64::new(1),
            last_begun: AtomicU64::new(0),
        })
    }

    /// When a session begins, in milliseconds since the Unix epoch: never before one that began earlier, even
    /// if the clock is set back, since of a device the session that began last counts.
    pub(super) fn begin(&self) -> i64 {
        let now = self.hub.wall.now_ms();
        self.last_begun.fetch_max(now, Ordering::Relaxed).max(now) as i64
    }

    /// Microseconds of the token buckets.
    pub(super) fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// A number that no session of this process had before; 0 is the control API's.
    pub(super) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

/// Counts connections, in total and by IP address.
#[derive(Default)]
pub(super) struct Doors {
    counts: Mutex<Counts>,
    empty: Condvar,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_ip: RapidHashMap<IpAddr, usize>,
}

/// Why there is no room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    Total,
    Address,
}

/// One connection, counted until dropped.
pub(super) struct Place {
    doors: Arc<Doors>,
    ip: IpAddr,
}

impl Doors {
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr, limits: &Limits) -> Result<Place, NoRoom> {
        let mut counts = self.counts.lock();
        if counts.total >= limits.max_connections {
            return Err(NoRoom::Total);
        }
        let of_ip = counts.by_ip.entry(ip).or_default();
        if *of_ip >= limits.max_connections_per_ip {
            return Err(NoRoom::Address);
        }
        *of_ip += 1;
        counts.total += 1;
        Ok(Place { doors: Arc::clone(self), ip })
    }

    /// Connections that are open.
    pub(super) fn total(&self) -> usize {
        self.counts.lock().total
    }

    /// Blocks until nobody is connected, for `patience` at most.
    pub(super) fn wait_until_empty(&self, patience: std::time::Duration) {
        let mut counts = self.counts.lock();
        self.empty.wait_while_for(&mut counts, |counts| counts.total > 0, patience);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.doors.counts.lock();
        counts.total -= 1;
        if let Some(of_ip) = counts.by_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
        if counts.total == 0 {
            self.doors.empty.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn places_are_given_back() {
        let limits = Limits { max_connections: 2, max_connections_per_ip: 1, ..Limits::default() };
        let doors = Arc::new(Doors::default());
        let (a, b, c) = (
            Ipv4Addr::new(1, 0, 0, 1).into(),
            Ipv4Addr::new(1, 0, 0, 2).into(),
            Ipv4Addr::new(1, 0, 0, 3).into(),
        );
        let first = doors.enter(a, &limits).expect("room");
        assert_eq!(doors.enter(a, &limits).err(), Some(NoRoom::Address));
        let _second = doors.enter(b, &limits).expect("room");
        assert_eq!(doors.enter(c, &limits).err(), Some(NoRoom::Total));
        drop(first);
        assert!(doors.enter(a, &limits).is_ok());
    }
}
