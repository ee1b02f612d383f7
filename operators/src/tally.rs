//! How many records each group has had since the last time it was told.
//!
//! The part of counting that a worker can do for itself: what it hands on is bounded by its groups, not
//! by its records.

use std::sync::Arc;

use imflow_kind::{Operator, Out, Time};
use imflow_proto::Record;
use imflow_proto::record::{GrantSubject, Partial, Scalar};
use rapidhash::RapidHashMap;

use crate::groups::{By, GroupKey};

/// What has been counted since the last time.
#[derive(Default)]
pub(crate) struct Counted {
    pub groups: RapidHashMap<GroupKey, (Arc<[Scalar]>, i64)>,
    /// Records of groups beyond the limit.
    pub uncounted: u64,
}

/// Counts by group, and tells at whole multiples of a time.
pub(crate) struct Tally {
    by: By,
    every_ms: u64,
    limit: usize,
    /// What a record that takes something back adds.
    taken_back: i64,
    counted: Counted,
    key: Vec<u8>,
    due: Option<u64>,
}

impl Tally {
    pub(crate) fn new(by: By, every_ms: u64, limit: usize, taken_back: i64) -> Self {
        let (counted, key) = (Counted::default(), Vec::new());
        Self { by, every_ms, limit, taken_back, counted, key, due: None }
    }

    pub(crate) fn add(&mut self, now: Time, records: &mut Vec<Record>) {
        for record in records.drain(..) {
            let change = if takes_back(&record) { self.taken_back } else { 1 };
            self.by.write_key(&record, &mut self.key);
            let groups = &mut self.counted.groups;
            if let Some((_, count)) = groups.get_mut(&*self.key) {
                *count += change;
            } else if groups.len() < self.limit {
                groups.insert(self.key.as_slice().into(), (self.by.values(&record).into(), change));
            } else {
                self.counted.uncounted += 1;
            }
        }
        self.due.get_or_insert((now.ms() / self.every_ms + 1) * self.every_ms);
    }

    /// When it tells next, if there is anything to tell.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due
    }

    /// Takes what was counted, if it is time.
    pub(crate) fn tell(&mut self, now: Time) -> Option<Counted> {
        self.due.take_if(|due| *due <= now.ms())?;
        Some(self.take())
    }

    /// Takes what was counted.
    pub(crate) fn take(&mut self) -> Counted {
        self.due = None;
        std::mem::take(&mut self.counted)
    }
}

/// Whether a record says that something holds no more.
pub(crate) fn takes_back(record: &Record) -> bool {
    match record {
        Record::Row(row) => row.retracted,
        Record::Grant(change) => matches!(&change.subject, GrantSubject::User { grant: None, .. }),
        Record::Online(change) => !change.online,
        Record::Presence(change) => !change.online,
        Record::SessionEvent(event) => !event.online,
        _ => false,
    }
}

/// A worker's part of a kind that counts.
pub(crate) struct LocalTally(pub Tally);

impl Operator for LocalTally {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, _out: &mut Out) {
        self.0.add(now, records);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.next_due().map(Time::from_ms)
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        if let Some(counted) = self.0.tell(now) {
            out.send(0, Record::Partial(Partial(Arc::new(counted))));
        }
    }
}

/// What a worker's part has told.
pub(crate) fn told<'a>(kind: &str, record: &'a Record) -> &'a Counted {
    match record {
        Record::Partial(partial) => {
            partial.0.downcast_ref().unwrap_or_else(|| crate::misrouted(kind, record))
        }
        other => crate::misrouted(kind, other),
    }
}
