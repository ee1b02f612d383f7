//! What the gateway counts, for `GET /metrics`: at every limit of the kind one can see how near it is, or
//! how often it was met.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use imflow_kind::{Counter, Histogram, Measure, Meters, Metric};
use imflow_proto::record::Band;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::hub::Hub;
use super::outbox::Load;
use super::throttle::{Throttle, Whose};

/// Why a connection was refused before the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Total,
    PerUser,
    PerIp,
    Token,
    Request,
    Origin,
    Rate,
    Draining,
}

const REFUSED: [(Refused, &str); 8] = [
    (Refused::Total, "total"),
    (Refused::PerUser, "user"),
    (Refused::PerIp, "ip"),
    (Refused::Token, "token"),
    (Refused::Request, "request"),
    (Refused::Origin, "origin"),
    (Refused::Rate, "rate"),
    (Refused::Draining, "draining"),
];

const CONNECTIONS: Metric =
    Metric::new("websocket_connections", Measure::Gauge, "connections that are open")
        .tells(&["connections"]);
const OPENED: Metric =
    Metric::new("websocket_opened", Measure::Counter, "connections that were upgraded");
const REFUSALS: Metric = Metric::new(
    "websocket_refused",
    Measure::Counter,
    "connections refused before the upgrade: total, user, ip, rate (limits), token, origin, request (malformed), draining",
)
.labels(&["reason"])
.tells(&["connections", "handshakes"]);
const CLOSED: Metric = Metric::new(
    "websocket_closed",
    Measure::Counter,
    "connections that ended, by the code that the server closed with; `gone`: the client went",
)
.labels(&["code"])
.tells(&[
    "pushes that wait for a connection",
    "a frame",
    "a message on its way",
    "pings and pongs of a connection",
]);
const IN_FLIGHT: Metric =
    Metric::new("websocket_in_flight", Measure::Gauge, "commands that are not answered yet")
        .tells(&["unanswered commands of a connection"]);
const BUSY: Metric = Metric::new(
    "websocket_refused_commands",
    Measure::Counter,
    "commands that the gateway itself refused, by the error's code",
)
.labels(&["code"])
.tells(&["commands without credit"]);
const RATE_LIMITED: Metric = Metric::new(
    "websocket_rate_limited",
    Measure::Counter,
    "commands answered RATE_LIMITED, by whose rate was used up: device, user, ip, conversation",
)
.labels(&["whose"])
.tells(&["commands a second"]);
const RATE_BUCKETS: Metric = Metric::new(
    "websocket_rate_buckets",
    Measure::Gauge,
    "users, IP addresses and conversations whose rate is being measured",
)
.tells(&["buckets of rates"]);
const OUTBOX_PUSHES: Metric =
    Metric::new("websocket_outbox_pushes", Measure::Gauge, "pushes that wait for connections")
        .tells(&["pushes that wait for a connection"]);
const OUTBOX_BYTES: Metric = Metric::new(
    "websocket_outbox_bytes",
    Measure::Gauge,
    "bytes of pushes that wait for connections",
)
.tells(&["pushes that wait for a connection"]);
const REPLY_BYTES: Metric = Metric::new(
    "websocket_reply_bytes",
    Measure::Gauge,
    "bytes of replies that wait for connections",
)
.tells(&["replies that wait for a connection"]);
const DROPPED: Metric = Metric::new(
    "websocket_pushes_dropped",
    Measure::Counter,
    "pushes dropped because a connection did not take them",
)
.tells(&["pushes that wait for a connection", "notices of the moment (who types, who is online)"]);
const GAPS: Metric = Metric::new(
    "websocket_gaps",
    Measure::Gauge,
    "conversations of which connections lack pushes until they pull",
)
.tells(&["conversations of which a connection lacks pushes"]);
const PARKED: Metric = Metric::new(
    "websocket_parked",
    Measure::Gauge,
    "sessions whose connection is lost and that can be resumed",
)
.tells(&["sessions that wait to be resumed"]);
const RESUMED: Metric = Metric::new(
    "websocket_resumed",
    Measure::Counter,
    "connections that wanted to go on with a session, by whether they could",
)
.labels(&["recovered"]);
const QUEUE_LENGTH: Metric = Metric::new(
    "fanout_queue_length",
    Measure::Gauge,
    "deliveries that wait for this node's connections, by priority band",
)
.labels(&["band"])
.tells(&["pushes that wait for this node's connections"]);
const LEFT_OUT: Metric = Metric::new(
    "fanout_left_out",
    Measure::Counter,
    "deliveries that found no room in the node's queue: their receivers are told to pull",
)
.tells(&[
    "pushes that wait for this node's connections",
    "notices of the moment (who types, who is online)",
]);
const BATCH: Metric = Metric::new(
    "fanout_batch_size",
    Measure::Gauge,
    "deliveries that are brought to the outboxes together, recent mean",
);
const BATCHES: Metric = Metric::new(
    "fanout_batch_deliveries",
    Measure::Histogram(&[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]),
    "deliveries that are brought to the outboxes together",
);
const TIME_COST: Metric = Metric::new(
    "fanout_time_cost",
    Measure::Gauge,
    "milliseconds from a fan-out's decision until every outbox has it, recent mean",
);
const TIMES: Metric = Metric::new(
    "fanout_time_seconds",
    Measure::Histogram(&[0.000_2, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]),
    "time from a fan-out's decision until every outbox has it",
);
const FRAMES_IN: Metric =
    Metric::new("websocket_frames_in", Measure::Counter, "data messages read from clients");
const BYTES_IN: Metric =
    Metric::new("websocket_bytes_in", Measure::Counter, "bytes of data messages read from clients");
const FRAMES_OUT: Metric =
    Metric::new("websocket_frames_out", Measure::Counter, "replies and pushes given to sockets");
const BYTES_OUT: Metric =
    Metric::new("websocket_bytes_out", Measure::Counter, "bytes of replies and pushes");

const DEPARTED: Metric = Metric::new(
    "websocket_departed_users",
    Measure::Gauge,
    "users without a connection of whom is known when they were last heard of",
)
.tells(&["users who left, and of whom it is known when they were last heard of"]);

/// All of them, for the description.
pub(super) const METRICS: &[Metric] = &[
    CONNECTIONS,
    OPENED,
    REFUSALS,
    CLOSED,
    IN_FLIGHT,
    BUSY,
    RATE_LIMITED,
    RATE_BUCKETS,
    OUTBOX_PUSHES,
    OUTBOX_BYTES,
    REPLY_BYTES,
    DROPPED,
    GAPS,
    PARKED,
    RESUMED,
    QUEUE_LENGTH,
    LEFT_OUT,
    BATCH,
    BATCHES,
    TIME_COST,
    TIMES,
    FRAMES_IN,
    BYTES_IN,
    FRAMES_OUT,
    BYTES_OUT,
    DEPARTED,
];

/// The handles of one gateway.
pub(super) struct GateMeters {
    meters: Meters,
    pub(super) opened: Counter,
    pub(super) dropped: Counter,
    pub(super) left_out: Counter,
    recovered: [Counter; 2],
    pub(super) fanout: Fanout,
    pub(super) frames_in: Counter,
    pub(super) bytes_in: Counter,
    pub(super) frames_out: Counter,
    pub(super) bytes_out: Counter,
    refused: [Counter; REFUSED.len()],
    limited: [Counter; Whose::ALL.len()],
    /// Series appear with their first event; there are few codes.
    closed: Mutex<Vec<(u16, Counter)>>,
    commands: Mutex<Vec<(&'static str, Counter)>>,
}

impl GateMeters {
    pub(super) fn new(meters: Meters) -> Self {
        Self {
            opened: meters.counter(&OPENED, &[]),
            dropped: meters.counter(&DROPPED, &[]),
            left_out: meters.counter(&LEFT_OUT, &[]),
            recovered: ["false", "true"].map(|told| meters.counter(&RESUMED, &[told])),
            fanout: Fanout::new(&meters),
            frames_in: meters.counter(&FRAMES_IN, &[]),
            bytes_in: meters.counter(&BYTES_IN, &[]),
            frames_out: meters.counter(&FRAMES_OUT, &[]),
            bytes_out: meters.counter(&BYTES_OUT, &[]),
            refused: REFUSED.map(|(_, reason)| meters.counter(&REFUSALS, &[reason])),
            limited: Whose::ALL.map(|whose| meters.counter(&RATE_LIMITED, &[whose.word()])),
            closed: Mutex::default(),
            commands: Mutex::default(),
            meters,
        }
    }

    /// A connection was refused.
    pub(super) fn refuse(&self, why: Refused) {
        let at = REFUSED.iter().position(|(reason, _)| *reason == why).expect("all are listed");
        self.refused[at].inc();
    }

    /// A connection ended: with this code of ours, or 0 where the client went.
    pub(super) fn close(&self, code: u16) {
        count(&mut self.closed.lock(), code, || {
            let code = if code == 0 { "gone".to_owned() } else { code.to_string() };
            self.meters.counter(&CLOSED, &[&code])
        });
    }

    /// A connection wanted to go on with a session.
    pub(super) fn resumed(&self, recovered: bool) {
        self.recovered[usize::from(recovered)].inc();
    }

    /// Shows how many sessions wait to be resumed.
    pub(super) fn watch_parked(&self, parked: &Arc<AtomicUsize>) {
        let parked = Arc::clone(parked);
        self.meters.read(&PARKED, &[], move || parked.load(Ordering::Relaxed) as f64);
    }

    /// The gateway refused a command with this code.
    pub(super) fn refuse_command(&self, code: &'static str) {
        count(&mut self.commands.lock(), code, || self.meters.counter(&BUSY, &[code]));
    }

    /// A command came too soon.
    pub(super) fn limit(&self, whose: Whose) {
        self.limited[whose as usize].inc();
    }

    /// Shows how many buckets there are.
    pub(super) fn watch_buckets(&self, throttle: &Arc<Throttle>) {
        let throttle = Arc::downgrade(throttle);
        let buckets = move || throttle.upgrade().map_or(0, |throttle| throttle.buckets());
        self.meters.read(&RATE_BUCKETS, &[], move || buckets() as f64);
    }

    /// Shows what is kept elsewhere.
    pub(super) fn watch(
        &self,
        hub: &Arc<Hub>,
        connections: impl Fn() -> usize + Send + Sync + 'static,
    ) {
        self.meters.read(&CONNECTIONS, &[], move || connections() as f64);
        let left = Arc::downgrade(hub);
        let departed = move || left.upgrade().map_or(0, |hub| hub.departed.len());
        self.meters.read(&DEPARTED, &[], move || departed() as f64);
        let looks = Arc::new(Looks { hub: Arc::downgrade(hub), last: Mutex::new(None) });
        type Part = fn(&Load) -> usize;
        let gauges: [(&Metric, Part); 5] = [
            (&IN_FLIGHT, |load| load.unanswered),
            (&OUTBOX_PUSHES, |load| load.pushes),
            (&OUTBOX_BYTES, |load| load.push_bytes),
            (&REPLY_BYTES, |load| load.reply_bytes),
            (&GAPS, |load| load.gaps),
        ];
        for (metric, part) in gauges {
            let looks = Arc::clone(&looks);
            self.meters.read(metric, &[], move || part(&looks.look()) as f64);
        }
        for band in Band::ALL {
            let hub = Arc::downgrade(hub);
            let waiting = move || hub.upgrade().map_or(0, |hub| hub.waiting()[band as usize]);
            self.meters.read(&QUEUE_LENGTH, &[&format!("{band:?}")], move || waiting() as f64);
        }
    }
}

/// How the dispatcher gets on. Written by it alone.
pub(super) struct Fanout {
    batches: Histogram,
    times: Histogram,
    batch: Arc<Recent>,
    cost_ms: Arc<Recent>,
}

impl Fanout {
    fn new(meters: &Meters) -> Self {
        let recent = |metric| {
            let recent = Arc::new(Recent::default());
            let shown = Arc::clone(&recent);
            meters.read(metric, &[], move || shown.mean());
            recent
        };
        Self {
            batches: meters.histogram(&BATCHES, &[]),
            times: meters.histogram(&TIMES, &[]),
            batch: recent(&BATCH),
            cost_ms: recent(&TIME_COST),
        }
    }

    /// So many deliveries were brought to the outboxes together; the oldest had waited so long.
    pub(super) fn delivered(&self, deliveries: usize, oldest: Duration) {
        self.batches.observe(deliveries as f64);
        self.times.observe(oldest.as_secs_f64());
        self.batch.note(deliveries as f64);
        self.cost_ms.note(oldest.as_secs_f64() * 1e3);
    }
}

/// A mean in which each value counts for a sixteenth.
#[derive(Default)]
struct Recent(AtomicU64);

impl Recent {
    fn note(&self, value: f64) {
        let mean = self.mean();
        self.0.store((mean + (value - mean) / 16.0).to_bits(), Ordering::Relaxed);
    }

    fn mean(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

fn count<K: PartialEq>(counters: &mut Vec<(K, Counter)>, key: K, make: impl FnOnce() -> Counter) {
    match counters.iter().find(|(known, _)| *known == key) {
        Some((_, counter)) => counter.inc(),
        None => {
            let counter = make();
            counters.push((key, counter.clone()));
            counter.inc()
        }
    };
}

/// One pass over all outboxes serves all gauges of a scrape.
struct Looks {
    hub: Weak<Hub>,
    last: Mutex<Option<(Instant, Load)>>,
}

impl Looks {
    fn look(&self) -> Load {
        let mut last = self.last.lock();
        if let Some((at, load)) = &*last
            && at.elapsed() < Duration::from_millis(100)
        {
            return *load;
        }
        let mut sum = Load::default();
        if let Some(hub) = self.hub.upgrade() {
            hub.registry.each(|peer| sum += peer.outbox.load());
        }
        *last = Some((Instant::now(), sum));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::DESCRIPTION;

    #[test]
    fn every_limit_of_the_gateway_is_told_by_a_metric() {
        for limit in DESCRIPTION.limits {
            assert!(
                METRICS.iter().any(|metric| metric.tells.contains(&limit.what)),
                "no metric tells of `{}`",
                limit.what
            );
        }
        let limits: Vec<_> = DESCRIPTION.limits.iter().map(|limit| limit.what).collect();
        for told in METRICS.iter().flat_map(|metric| metric.tells) {
            assert!(limits.contains(told), "`{told}` is no limit");
        }
    }
}
