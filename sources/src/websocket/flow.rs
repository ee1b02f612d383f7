//! Lets the dispatcher run only as fast as the connections that can write do.
//!
//! A connection is *scheduled* from the moment it is woken until it has looked into its outbox. With
//! many of them scheduled, the dispatcher waits: the outboxes of healthy connections then never hold
//! more than one round, however large the backlog, and only a connection whose socket takes nothing
//! can overflow. A stuck connection looks into its outbox as well, so it holds nobody up.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Scheduled connections at which the dispatcher waits.
const MAX_SCHEDULED: usize = 512;

/// How many connections are scheduled.
#[derive(Default)]
pub(super) struct Flow {
    scheduled: AtomicUsize,
    room: Notify,
}

impl Flow {
    pub(super) fn enter(&self) {
        self.scheduled.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn leave(&self) {
        if self.scheduled.fetch_sub(1, Ordering::AcqRel) == MAX_SCHEDULED {
            self.room.notify_one();
        }
    }

    /// Resolves when few enough are scheduled. For one caller at a time.
    pub(super) async fn room(&self) {
        while self.scheduled.load(Ordering::Acquire) >= MAX_SCHEDULED {
            self.room.notified().await;
        }
    }
}
