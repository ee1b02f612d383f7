//! The sessions of devices: what began or ended where, and which of two counts.
//!
//! Events of one device may come from several nodes, late and more than once. Each names the session that it
//! is about, and sessions of a device are ordered: the one that began last counts, ties go to the greater
//! node. So the present state is a maximum over events, whatever their order.

use std::sync::Arc;

use crate::record::Session;

/// Which session of a device: the greater one replaces the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// When it began, in milliseconds since the Unix epoch.
    pub since: i64,
    pub node_id: Arc<str>,
    /// Tells sessions of one node apart that began within a millisecond.
    pub number: u64,
}

/// A session began (`online`) or ended.
#[derive(Clone, Debug)]
pub struct SessionEvent {
    /// `{userId}-{deviceId}-{timestamp}-{nodeId}`.
    pub id: Box<str>,
    pub session: Arc<Session>,
    pub node_id: Arc<str>,
    pub online: bool,
    /// When the session began, in milliseconds since the Unix epoch.
    pub since: i64,
    /// When this happened, likewise.
    pub at: i64,
}

impl SessionEvent {
    /// A session that begins.
    pub fn began(session: Arc<Session>, node_id: Arc<str>, since: i64) -> Self {
        Self::new(session, node_id, true, since, since)
    }

    /// A session that ends: later than it began, so that its events differ in their ids.
    pub fn ended(session: Arc<Session>, node_id: Arc<str>, since: i64, at: i64) -> Self {
        Self::new(session, node_id, false, since, at.max(since + 1))
    }

    fn new(session: Arc<Session>, node_id: Arc<str>, online: bool, since: i64, at: i64) -> Self {
        let id = format!("{}-{}-{at}-{node_id}", session.user_id, session.device_id);
        Self { id: id.into(), session, node_id, online, since, at }
    }

    /// The session that the event is about.
    pub fn key(&self) -> SessionKey {
        let (since, number) = (self.since, self.session.number);
        SessionKey { since, node_id: Arc::clone(&self.node_id), number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_events_of_a_session_apart_and_later_sessions_are_greater() {
        let (user_id, device_id) = ("alice".into(), "phone".into());
        let session =
            Arc::new(Session { number: 7, user_id, device_id, scopes: Default::default() });
        let began = SessionEvent::began(Arc::clone(&session), "n1".into(), 1_000);
        let ended = SessionEvent::ended(session, "n1".into(), 1_000, 1_000);
        assert_eq!((&*began.id, &*ended.id), ("alice-phone-1000-n1", "alice-phone-1001-n1"));
        assert_eq!(began.key(), ended.key());
        let later = SessionKey { since: 1_001, node_id: "a".into(), number: 1 };
        let greater_node = SessionKey { node_id: "n2".into(), number: 1, ..began.key() };
        assert!(began.key() < later && began.key() < greater_node && greater_node < later);
    }
}
