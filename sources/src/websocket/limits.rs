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
    /// Handshakes and commands a second; 0: no limit.
    pub(super) handshake_rate_per_ip: u64,
    pub(super) rate_per_device: u64,
    pub(super) rate_per_user: u64,
    pub(super) rate_per_ip: u64,
    pub(super) rate_per_conversation: u64,
    pub(super) rate_burst_ms: u64,
    /// How long before its token expires a session is told.
    pub(super) token_warning_ms: u64,
    pub(super) max_frame: usize,
    pub(super) message_timeout_ms: u64,
    /// Pings and pongs a second; 0: no limit.
    pub(super) control_rate: u64,
    /// Over how long a time the goodbyes of a node that stops are spread.
    pub(super) drain_over_ms: u64,
    pub(super) ping_interval_ms: u64,
    pub(super) reply_timeout_ms: u64,
    pub(super) write_stall_ms: u64,
    /// Unanswered commands of one connection.
    pub(super) in_flight: usize,
    /// Of one connection.
    pub(super) outbox: Capacity,
    pub(super) outbox_gaps: usize,
    /// How long a session waits for its next connection.
    pub(super) resume_window_ms: u64,
    pub(super) resume_sessions: usize,
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
        "Connections from one IP address (of IPv6: one /64); more are refused with 429.",
    ),
    Opt::new(
        "handshake_rate_per_ip",
        OptType::Integer(0, 1_000_000),
        "1000",
        "Handshakes a second from one IP address, before its token is looked at; more are refused with 429. 0: no limit.",
    ),
    Opt::new(
        "rate_per_device",
        OptType::Integer(0, 1_000_000),
        "2000",
        "Commands a second of one connection; more are answered RATE_LIMITED. 0: no limit.",
    )
    .also(&["rate_limit", "messages_per_second"]),
    Opt::new(
        "rate_per_user",
        OptType::Integer(0, 1_000_000),
        "4000",
        "Commands a second of all devices of a user; 0: no limit.",
    ),
    Opt::new(
        "rate_per_ip",
        OptType::Integer(0, 1_000_000),
        "0",
        "Commands a second from one IP address, behind which a whole company may be; 0: no limit.",
    ),
    Opt::new(
        "rate_per_conversation",
        OptType::Integer(0, 1_000_000),
        "0",
        "Commands a second that name one conversation; 0: no limit.",
    ),
    Opt::new(
        "rate_burst",
        OptType::Duration(100, 600_000),
        "10s",
        "How much of a rate may come at once: what it gives in so long a time.",
    ),
    Opt::new(
        "origins",
        OptType::Texts,
        "",
        "The web pages that may connect, as browsers name them: [\"https://chat.example.com\"], or [\"*\"] for all; others are refused with 403. \
         Empty: pages of the same host and of this machine. Who sends no `Origin` is no browser and passes.",
    )
    .also(&["allowed_origins", "cors"]),
    Opt::new(
        "token_warning",
        OptType::Duration(1_000, 86_400_000),
        "60s",
        "How long before its token expires a session is told with `tokenExpiring`.",
    ),
    Opt::new(
        "max_frame",
        OptType::Size(1_024, 16 << 20),
        "64KiB",
        "Largest frame and message that a client may send.",
    ),
    Opt::new(
        "message_timeout",
        OptType::Duration(100, 600_000),
        "30s",
        "How long a message may take to arrive, from its first byte to its last; then the connection is closed with 4414.",
    ),
    Opt::new(
        "control_rate",
        OptType::Integer(0, 100_000),
        "10",
        "Pings and pongs a second of one connection, ten seconds' worth at once; with more it is closed with 4529. 0: no limit.",
    ),
    Opt::new(
        "drain_over",
        OptType::Duration(0, 600_000),
        "5s",
        "Over how long a time a node that stops says goodbye to 1,000 connections and more; fewer take less. Each is told to come back within as long again.",
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
        "resume_window",
        OptType::Duration(0, 600_000),
        "10s",
        "How long a session that asked for it can be resumed after its connection is lost; so much later it counts as offline. 0s: never.",
    ),
    Opt::new(
        "resume_sessions",
        OptType::Integer(0, 10_000_000),
        "10000",
        "Sessions that wait to be resumed; with more a lost session ends at once.",
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
            handshake_rate_per_ip: integer("handshake_rate_per_ip") as u64,
            rate_per_device: integer("rate_per_device") as u64,
            rate_per_user: integer("rate_per_user") as u64,
            rate_per_ip: integer("rate_per_ip") as u64,
            rate_per_conversation: integer("rate_per_conversation") as u64,
            rate_burst_ms: ms("rate_burst"),
            token_warning_ms: ms("token_warning"),
            max_frame: size("max_frame"),
            message_timeout_ms: ms("message_timeout"),
            control_rate: integer("control_rate") as u64,
            drain_over_ms: ms("drain_over"),
            ping_interval_ms: ms("ping_interval"),
            reply_timeout_ms: ms("reply_timeout"),
            write_stall_ms: ms("write_stall"),
            in_flight: integer("in_flight"),
            outbox: Capacity::scaled(integer("outbox_pushes"), size("outbox_bytes")),
            outbox_gaps: integer("outbox_gaps"),
            resume_window_ms: ms("resume_window"),
            resume_sessions: integer("resume_sessions"),
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
