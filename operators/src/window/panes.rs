//! Records into panes: the smallest pieces of time that windows are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::Time;
use imflow_proto::Record;
use imflow_proto::record::Scalar;
use rapidhash::RapidHashMap;

use super::accumulator::Accumulator;
use crate::errors::Errors;
use crate::expression::{AggregateCall, Fault};
use crate::groups::{By, GroupKey};

/// Errors that a pane tells one by one; of more it tells the number.
const TOLD: usize = 100;

/// What one group has come to.
#[derive(Clone)]
pub(super) struct Group {
    pub values: Arc<[Scalar]>,
    /// When its first and its last record came, in milliseconds.
    pub first: u64,
    pub last: u64,
    pub accumulators: Box<[Accumulator]>,
}

impl Group {
    pub(super) fn merge(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.accumulators.iter_mut().zip(&other.accumulators).for_each(|(mine, o)| mine.merge(o));
    }
}

pub(super) type Groups = RapidHashMap<GroupKey, Group>;

/// What happened in one piece of time.
#[derive(Default)]
pub(super) struct Pane {
    pub groups: Groups,
    /// Records of groups beyond the limit.
    pub uncounted: u64,
    pub errors: Vec<Record>,
    /// Errors beyond those that are told.
    pub untold: u64,
}

impl Pane {
    /// Takes in a group, if it is known or there is room.
    pub(super) fn take(&mut self, key: &GroupKey, group: &Group, limit: usize) {
        if let Some(mine) = self.groups.get_mut(key) {
            mine.merge(group);
        } else if self.groups.len() < limit {
            self.groups.insert(Arc::clone(key), group.clone());
        } else {
            self.uncounted += 1;
        }
    }

    fn tell(&mut self, error: impl FnOnce() -> Record) {
        if self.errors.len() < TOLD { self.errors.push(error()) } else { self.untold += 1 }
    }
}

/// The panes that are open.
pub(super) struct Panes {
    by: By,
    calls: Vec<AggregateCall>,
    step_ms: u64,
    limit: usize,
    errors: Errors,
    open: BTreeMap<u64, Pane>,
    key: Vec<u8>,
    arguments: Vec<Option<Scalar>>,
}

impl Panes {
    pub(super) fn new(
        by: By,
        calls: Vec<AggregateCall>,
        step_ms: u64,
        limit: usize,
        errors: Errors,
    ) -> Self {
        let (open, key, arguments) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { by, calls, step_ms, limit, errors, open, key, arguments }
    }

    /// Takes the records of one epoch. What a row takes back is no event, so it is not counted.
    pub(super) fn add(&mut self, now: Time, records: &mut Vec<Record>) {
        let end = (now.ms() / self.step_ms + 1) * self.step_ms;
        let mut pane = self.open.remove(&end).unwrap_or_default();
        for record in records.drain(..) {
            if matches!(&record, Record::Row(row) if row.retracted) {
                continue;
            }
            match self.evaluate(&record) {
                Ok(()) => self.count(now, &record, &mut pane),
                Err(fault) => {
                    pane.tell(|| self.errors.of_record(now, "select", fault, &record));
                }
            }
        }
        self.open.insert(end, pane);
    }

    /// All arguments before any counts, so that a record counts in all aggregates or in none.
    fn evaluate(&mut self, record: &Record) -> Result<(), Fault> {
        self.arguments.clear();
        for call in &self.calls {
            let argument = call.argument.as_ref().map(|of| of.value(record)).transpose()?;
            self.arguments.push(argument);
        }
        Ok(())
    }

    fn count(&mut self, now: Time, record: &Record, pane: &mut Pane) {
        self.by.write_key(record, &mut self.key);
        if !pane.groups.contains_key(&*self.key) {
            if pane.groups.len() >= self.limit {
                pane.uncounted += 1;
                return;
            }
            let group = Group {
                values: self.by.values(record).into(),
                first: now.ms(),
                last: now.ms(),
                accumulators: self.calls.iter().map(Accumulator::new).collect(),
            };
            pane.groups.insert(self.key.as_slice().into(), group);
        }
        let Some(group) = pane.groups.get_mut(&*self.key) else { return };
        group.last = now.ms();
        let arguments = self.arguments.drain(..);
        group
            .accumulators
            .iter_mut()
            .zip(arguments)
            .for_each(|(mine, argument)| mine.add(argument));
    }

    /// When the next pane ends.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.open.keys().next().copied()
    }

    /// Takes the panes that have ended, in order.
    pub(super) fn close(&mut self, now_ms: u64) -> Vec<(u64, Pane)> {
        let later = self.open.split_off(&(now_ms + 1));
        std::mem::replace(&mut self.open, later).into_iter().collect()
    }
}
