//! The contract of operators: pure state machines, free of timely, tokio, clocks and I/O.

use std::sync::Arc;

use imflow_proto::Record;
use imflow_proto::id::ServerMsgIds;
use imflow_proto::record::{Committed, Moved};

use crate::{Options, Shape, Time};

/// A state machine between ports. One instance runs on each worker of its stage and sees only the
/// records of that worker's partitions.
pub trait Operator {
    /// Takes a batch from the input port with this index (as in the description) and drains it. The
    /// order of records inside a port is the order of the path.
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out);

    /// The earliest time at which [`Operator::on_time`] must run. Asked after each call.
    fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Called when no record earlier than or at `now` can arrive any more.
    fn on_time(&mut self, _now: Time, _out: &mut Out) {}

    /// Folds one durable message into recoverable state: called live, before the record leaves the
    /// log's ports, and in recovery for the tail of the log. Must be idempotent.
    fn apply(&mut self, _committed: &Committed) {}

    /// Folds durable moves of cursors, likewise.
    fn apply_moved(&mut self, _moved: &Moved) {}

    /// The recoverable state of one partition: a fold of exactly what was applied so far, without anything
    /// speculative. `None`: this operator keeps none.
    fn export(&self, _partition: u32) -> Option<Snapshot> {
        None
    }

    /// Takes back what [`Operator::export`] gave, before any other call.
    ///
    /// # Errors
    /// When the bytes are of a version that this build cannot read.
    fn import(&mut self, _partition: u32, _snapshot: &Snapshot) -> Result<(), String> {
        Ok(())
    }
}

impl<O: Operator + ?Sized> Operator for Box<O> {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        (**self).on_batch(now, port, records, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        (**self).next_deadline()
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        (**self).on_time(now, out);
    }

    fn apply(&mut self, committed: &Committed) {
        (**self).apply(committed);
    }

    fn apply_moved(&mut self, moved: &Moved) {
        (**self).apply_moved(moved);
    }

    fn export(&self, partition: u32) -> Option<Snapshot> {
        (**self).export(partition)
    }

    fn import(&mut self, partition: u32, snapshot: &Snapshot) -> Result<(), String> {
        (**self).import(partition, snapshot)
    }
}

/// One operator's state of one partition, in a format of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The format's version; a kind reads its earlier ones.
    pub version: u16,
    pub bytes: Vec<u8>,
}

/// What an operator is built with.
#[derive(Clone)]
pub struct OperatorContext<'a> {
    /// The node's name in the file.
    pub name: &'a str,
    pub options: &'a Options,
    /// By input port: what its wires carry, each shape once.
    pub inputs: &'a [Vec<Shape>],
    /// What each output port carries; `None`: of a kind that never sends there.
    pub outputs: &'a [Option<Shape>],
    /// By output port: whether anybody takes what leaves there.
    pub taken: &'a [bool],
    pub part: Part,
    /// Partitions of the service; see [`imflow_proto::id::partition_of`].
    pub partitions: u32,
    /// Workers of the conversation stage.
    pub workers: usize,
    pub ids: &'a Arc<ServerMsgIds>,
}

/// Which part of its node an operator is. Only kinds that split are built as anything but `Whole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Part {
    #[default]
    Whole,
    /// In each worker of the conversation stage: takes the node's inputs, and sends
    /// [`Partial`](imflow_proto::record::Partial)s on output port 0.
    Local,
    /// In the global stage: takes the partials of all workers on input port 0, and sends on the node's
    /// outputs.
    Merge,
}

/// Where an operator puts its records: one buffer for each output port.
#[derive(Debug, Default)]
pub struct Out {
    buffers: Vec<Vec<Record>>,
}

impl Out {
    /// Buffers for so many output ports.
    pub fn new(ports: usize) -> Self {
        Self { buffers: (0..ports).map(|_| Vec::new()).collect() }
    }

    /// Sends one record on the output port with this index (as in the description).
    #[inline]
    pub fn send(&mut self, port: usize, record: Record) {
        self.buffers[port].push(record);
    }

    /// The buffer of a port, for moving many records at once.
    #[inline]
    pub fn port(&mut self, port: usize) -> &mut Vec<Record> {
        &mut self.buffers[port]
    }

    /// How many ports there are.
    pub fn ports(&self) -> usize {
        self.buffers.len()
    }
}
