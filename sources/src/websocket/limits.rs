//! The limits of a gateway, as read from its options.

use std::time::Duration;

use imflow_kind::{Opt, OptType, Options};

use super::bands::Capacity;

/// Every bound of the kind `websocket`; what happens at each is in its description.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) max_connections: usize,
    pub(super) max_connections_per_user: usize,
    pub(super) max_connections_per_ip: usize,
    pub(super) max_frame: usize,
    pub(super) ping_interval_ms: u64,
    pub(super) reply_timeout_ms: u64,
    pub(super) write_stall_ms: u64,
    /// Unanswered commands of one connection.
    pub(super) in_flight: usize,
    /// Of one connection.
    pub(super) outbox: Capacity,
    pub(super) outbox_gaps: usize,
    /// Of the node's fan-out queue.
    pub(super) fanout_bytes: usize,
    pub(super) push_window_ms: u64,
    pub(super) push_batch: usize,
    /// How long a command waits for credit before it is answered BUSY.
    pub(super) patience: Duration,
}

/// The options behind [`Limits`], after `listener` and `path`.
pub(super) const OPTIONS: &[Opt] = &[
    Opt::new("listener", OptType::Listener, "main", "The listener that takes the connections."),
    Opt::new("path", OptType::Route, "/ws", "The path that is upgraded to a WebSocket."),
    Opt::new(
        "max_connections",
        OptType::Integer(1, 10_000_000),
        "100000",
        "Connections in total; more are refused with 503.",
    ),
    Opt::new(
        "max_connections_per_user",
        OptType::Integer(1, 10_000),
        "32",
        "Devices of a user at a time; more are refused with 429.",
    ),
    Opt::new(
        "max_connections_per_ip",
        OptType::Integer(1, 10_000_000),
        "100000",
        "Connections from one IP address; more are refused with 429.",
    ),
    Opt::new(
        "max_frame",
        OptType::Size(1_024, 16 << 20),
        "64KiB",
        "Largest frame and message that a client may send.",
    ),
    Opt::new(
        "ping_interval",
        OptType::Duration(100, 600_000),
        "25s",
        "How long a connection may be silent before it is pinged; after two it is closed.",
    ),
    Opt::new(
        "reply_timeout",
        OptType::Duration(100, 600_000),
        "10s",
        "A command without an answer for this long is answered TIMEOUT.",
    ),
    Opt::new(
        "write_stall",
        OptType::Duration(100, 600_000),
        "20s",
        "A connection that takes no byte for this long is dropped.",
    ),
    Opt::new(
        "in_flight",
        OptType::Integer(1, 100_000),
        "1024",
        "Unanswered commands of one connection; with more, its socket is not read.",
    ),
    Opt::new(
        "outbox_bytes",
        OptType::Size(4_096, 1 << 30),
        "1MiB",
        "Pushes that may wait for one connection, in bytes.",
    ),
    Opt::new(
        "outbox_pushes",
        OptType::Integer(1, 1_000_000),
        "10000",
        "Pushes that may wait for one connection, in number, spread over its four bands.",
    ),
    Opt::new(
        "outbox_gaps",
        OptType::Integer(1, 1_000_000),
        "1000",
        "Conversations of which a connection may lack pushes; with more it is closed with 4408.",
    ),
    Opt::new(
        "fanout_bytes",
        OptType::Size(1 << 20, 1 << 36),
        "64MiB",
        "Pushes that may wait for this node's connections, in bytes; their number is bounded by the bands.",
    ),
    Opt::new(
        "push_window",
        OptType::Duration(0, 1_000),
        "5ms",
        "Pushes of this span of time share one write.",
    ),
    Opt::new("push_batch", OptType::Integer(1, 10_000), "200", "Most pushes in one write."),
];

impl Limits {
    pub(super) fn from_options(options: &Options) -> Self {
        let integer = |name| usize::try_from(options.integer(name)).unwrap_or(usize::MAX);
        let size = |name| usize::try_from(options.size(name)).unwrap_or(usize::MAX);
        let ms = |name| options.duration(name).as_millis() as u64;
        Self {
            max_connections: integer("max_connections"),
            max_connections_per_user: integer("max_connections_per_user"),
            max_connections_per_ip: integer("max_connections_per_ip"),
            max_frame: size("max_frame"),
            ping_interval_ms: ms("ping_interval"),
            reply_timeout_ms: ms("reply_timeout"),
            write_stall_ms: ms("write_stall"),
            in_flight: integer("in_flight"),
            outbox: Capacity::scaled(integer("outbox_pushes"), size("outbox_bytes")),
            outbox_gaps: integer("outbox_gaps"),
            fanout_bytes: size("fanout_bytes"),
            push_window_ms: ms("push_window"),
            push_batch: integer("push_batch"),
            patience: Duration::from_secs(1),
        }
    }

    /// How often connections are looked over: fine enough for the shortest limit, once a second at most.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.ping_interval_ms.min(self.reply_timeout_ms).min(self.write_stall_ms);
        Duration::from_millis((shortest / 4).clamp(10, 1_000))
    }
}

#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self::from_options(&crate::testing::defaults(OPTIONS))
    }
}
