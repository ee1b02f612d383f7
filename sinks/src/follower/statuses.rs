//! Tells senders that the copy of their message is late, and when it is there after all.
//!
//! Two marks in the log are all that is kept: from where and up to where senders were told DELAYED. A restart
//! forgets them; of what was committed before it nobody is told.

use std::sync::Arc;

use imflow_kind::{Bookmark, Injector, Journal, Logged};
use imflow_proto::Record;
use imflow_proto::record::{Band, Delivery, Event, Lsn};
use imflow_proto::wire::{AckStatus, Message, Status};

/// Told at one failed attempt; the next one goes on from there.
const TOLD_AT_ONCE: usize = 10_000;
const READ_AT_ONCE: usize = 1_000;

pub(super) struct Statuses {
    injector: Arc<dyn Injector>,
    journal: Arc<dyn Journal>,
    /// Senders of what is behind the first and not behind the second were told DELAYED.
    from: Lsn,
    told: Bookmark,
}

impl Statuses {
    pub(super) fn new(injector: Arc<dyn Injector>, journal: Arc<dyn Journal>) -> Self {
        let from = journal.durable_lsn();
        Self { injector, journal, from, told: Bookmark::behind(from) }
    }

    /// The copy ends at `place` and takes no more for now.
    pub(super) fn delayed(&mut self, place: Bookmark) {
        if self.told.lsn < place.lsn {
            (self.from, self.told) = (place.lsn, place);
        }
        let mut told = 0;
        while told < TOLD_AT_ONCE {
            let before = self.told.lsn;
            // Whoever cannot read the log has said so already; nobody waits for this.
            let Ok(records) = self.journal.read_on(&mut self.told, READ_AT_ONCE) else { return };
            told += records.len();
            self.tell(&records, AckStatus::Delayed);
            if self.told.lsn == before {
                return;
            }
        }
    }

    /// The copy holds these now.
    pub(super) fn written(&mut self, records: &[Logged]) {
        let until = |lsn| records.partition_point(|record| record.lsn() <= lsn);
        let (early, late) = (until(self.from), until(self.told.lsn));
        self.tell(&records[early..late], AckStatus::Ok);
        if let Some(last) = records.last() {
            // Not again, should the copy lose it.
            self.from = self.from.max(last.lsn().min(self.told.lsn));
        }
    }

    fn tell(&self, records: &[Logged], status: AckStatus) {
        let told = records.iter().filter_map(|record| match record {
            Logged::Message(committed) => Some(told(&committed.message, status)),
            Logged::Fact(_) => None,
        });
        let told: Vec<_> = told.collect();
        if !told.is_empty() {
            // Any worker will do: it only passes through to the connections.
            self.injector.send(0, 0, told);
        }
    }
}

fn told(message: &Message, status: AckStatus) -> Record {
    let event = Event::Status(Arc::new(Status {
        conversation_id: message.conversation_id.clone(),
        seq: message.seq,
        client_msg_id: message.client_msg_id.clone(),
        status: status.into(),
    }));
    let to = [Arc::from(&*message.sender_id)].into();
    Record::Delivery(Arc::new(Delivery { event, to, except: 0, band: Band::P0 }))
}
