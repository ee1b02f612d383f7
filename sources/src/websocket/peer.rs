//! One live session as the rest of the gateway sees it: who it is, its outbox, and when it was last
//! heard of. The connection itself belongs to its task alone.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use imflow_proto::Requester;
use imflow_proto::frame::Format;
use imflow_proto::record::{Scopes, Session, Subscription};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, Message};
use parking_lot::Mutex;

use super::bands::hash_of;
use super::frames;
use super::hub::Hub;
use super::outbox::Outbox;

/// Milliseconds since the gateway was built, advanced once a tick: reading it costs nothing.
pub(super) struct CoarseClock(AtomicU64);

impl CoarseClock {
    /// Zero means "never" to those who store times.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(1))
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, now: u64) {
        self.0.store(now.max(1), Ordering::Relaxed);
    }
}

/// A session and its outbox.
pub(super) struct Peer {
    pub(super) session: Arc<Session>,
    pub(super) format: Format,
    pub(super) outbox: Outbox,
    /// When the session began, in milliseconds since the Unix epoch.
    pub(super) since: i64,
    /// Where it connects from, as it counts: see [`crate::address`].
    pub(super) ip: IpAddr,
    /// The session with the scopes of its newest token, which commands travel with.
    acting: Mutex<Arc<Session>>,
    /// Milliseconds since the Unix epoch.
    pub(super) expires_at_ms: AtomicU64,
    /// Whether the client was told that its token expires.
    pub(super) warned: AtomicBool,
    pub(super) clock: Arc<CoarseClock>,
    pub(super) times: Times,
    /// Whose presence the session follows.
    pub(super) follows: Mutex<Option<Arc<Subscription>>>,
    /// Whether it goes on with what an earlier connection has left.
    pub(super) recovered: AtomicBool,
    /// The session of the same device that it replaces, until that is told.
    pub(super) older: Mutex<Option<Arc<Peer>>>,
}

/// Written by the connection, read by the watch; 0 is "never" or "not so".
#[derive(Default)]
pub(super) struct Times {
    pub(super) alive: AtomicU64,
    pub(super) pinged: AtomicU64,
    /// Since when the socket has taken nothing of what waits.
    pub(super) stalled_since: AtomicU64,
    /// Since when a message has been on its way.
    pub(super) partial_since: AtomicU64,
    /// When the oldest unanswered command was taken.
    pub(super) waiting_since: AtomicU64,
    /// Since when its connection has been lost.
    pub(super) parked_since: AtomicU64,
}

impl Peer {
    /// A session that is heard now.
    pub(super) fn new(
        session: Session,
        format: Format,
        ip: IpAddr,
        since: i64,
        expires_at_ms: u64,
        hub: &Hub,
    ) -> Arc<Self> {
        let session = Arc::new(session);
        let peer = Self {
            acting: Mutex::new(Arc::clone(&session)),
            session,
            format,
            outbox: Outbox::new(format, Arc::clone(&hub.limits), Arc::clone(&hub.flow)),
            ip,
            since,
            expires_at_ms: AtomicU64::new(expires_at_ms),
            warned: AtomicBool::new(false),
            clock: Arc::clone(&hub.clock),
            times: Times::default(),
            follows: Mutex::default(),
            recovered: AtomicBool::new(false),
            older: Mutex::default(),
        };
        peer.heard();
        Arc::new(peer)
    }

    /// The session that new commands travel with.
    pub(super) fn acting(&self) -> Arc<Session> {
        Arc::clone(&self.acting.lock())
    }

    /// Gives the session other scopes.
    pub(super) fn act_with(&self, scopes: Scopes) {
        *self.acting.lock() = Arc::new(Session { scopes, ..(*self.session).clone() });
    }

    /// As the client knows it.
    pub(super) fn session_id(&self, node: &str) -> String {
        format!("{node}-{}", self.session.number)
    }

    /// Something was read.
    pub(super) fn heard(&self) {
        self.times.alive.store(self.clock.now(), Ordering::Relaxed);
    }

    /// When something was last read, by the coarse clock.
    pub(super) fn last_heard(&self) -> u64 {
        self.times.alive.load(Ordering::Relaxed)
    }

    /// A part of a message has come and the rest has not, or nothing is on its way.
    pub(super) fn awaits_rest(&self, awaits: bool) {
        let since = &self.times.partial_since;
        if !awaits {
            since.store(0, Ordering::Relaxed);
        } else if since.load(Ordering::Relaxed) == 0 {
            since.store(self.clock.now(), Ordering::Relaxed);
        }
    }

    /// A write took some bytes or none, and something still waits or nothing. It says nothing of the
    /// other end: the kernel takes bytes for a peer that is long gone.
    pub(super) fn wrote(&self, some: bool, waits: bool) {
        let stalled = &self.times.stalled_since;
        if !waits {
            stalled.store(0, Ordering::Relaxed);
        } else if some || stalled.load(Ordering::Relaxed) == 0 {
            stalled.store(self.clock.now(), Ordering::Relaxed);
        }
    }
}

impl Peer {
    /// The client has the messages of this answer: what was left out of their conversations is not missing
    /// any more.
    fn pulled(&self, body: &Body) {
        let pulled = |items: &[Message]| {
            if let Some(last) = items.last() {
                self.outbox.pulled(hash_of(&last.conversation_id), last.seq);
            }
        };
        match body {
            Body::Messages(page) if !page.more => pulled(&page.items),
            Body::Synced(synced) => {
                let whole = synced.conversations.iter().filter(|part| !part.more);
                whole.for_each(|part| pulled(&part.items));
            }
            _ => {}
        }
    }
}

impl Requester for Peer {
    fn answer(&self, id: u64, body: Body) {
        let mut frame = Vec::with_capacity(128);
        let envelope = Envelope { id, body: Some(body) };
        frames::append(self.format, &envelope, &mut frame);
        self.outbox.reply(&frame);
        // Behind the answer, so that no push of what follows comes before it.
        envelope.body.iter().for_each(|body| self.pulled(body));
    }
}
