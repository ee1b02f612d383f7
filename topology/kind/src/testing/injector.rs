//! A dataflow that is a list: what a source or sink under test sends into it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use imflow_proto::Record;
use imflow_proto::ticket::Credit;
use imflow_proto::wire::{Error, ErrorCode};

use crate::{Applied, Injector};

/// Keeps what is sent, or reacts to it. All conversations are worker 0's.
#[derive(Default)]
pub struct FakeInjector {
    sent: Mutex<Vec<Sent>>,
    /// `None`: what is tracked counts as processed at once.
    held: Mutex<Option<Vec<Applied>>>,
    /// `None`: as much as anybody wants.
    credit: Mutex<Option<usize>>,
    reaction: Mutex<Option<Reaction>>,
}

/// Worker, port and records.
pub type Sent = (usize, usize, Vec<Record>);

type Reaction = Box<dyn FnMut(&Record) + Send>;

struct Unit;
impl Credit for Unit {}

impl FakeInjector {
    /// Calls `reaction` for each record as it comes, in place of keeping it.
    pub fn reacting(reaction: impl FnMut(&Record) + Send + 'static) -> Arc<Self> {
        Arc::new(Self { reaction: Mutex::new(Some(Box::new(reaction))), ..Self::default() })
    }

    /// Holds what is tracked until [`FakeInjector::apply`].
    pub fn holding() -> Arc<Self> {
        Arc::new(Self { held: Mutex::new(Some(Vec::new())), ..Self::default() })
    }

    /// Leaves credit for so many commands.
    pub fn set_credit(&self, commands: usize) {
        *lock(&self.credit) = Some(commands);
    }

    /// Takes the batches that were sent since the last call, in their order.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut lock(&self.sent))
    }

    /// As [`FakeInjector::take`], record by record.
    pub fn take_records(&self) -> Vec<(usize, usize, Record)> {
        let records = |(worker, port, records): Sent| {
            records.into_iter().map(move |record| (worker, port, record))
        };
        self.take().into_iter().flat_map(records).collect()
    }

    /// Lets every stage have processed what is held.
    pub fn apply(&self) {
        if let Some(held) = &mut *lock(&self.held) {
            held.clear();
        }
    }
}

impl Injector for FakeInjector {
    fn worker_of(&self, _conversation_id: &str) -> usize {
        0
    }

    fn credit(&self, _: usize, _: usize, _bytes: usize) -> Result<Box<dyn Credit>, Error> {
        match &mut *lock(&self.credit) {
            Some(0) => return Err(Error::of(ErrorCode::Busy, "no credit")),
            Some(credit) => *credit -= 1,
            None => {}
        }
        Ok(Box::new(Unit))
    }

    /// Lets others run once.
    fn credit_returned(&self, _worker: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut yielded = false;
        Box::pin(std::future::poll_fn(move |context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
        }))
    }

    fn send(&self, worker: usize, port: usize, records: Vec<Record>) {
        match &mut *lock(&self.reaction) {
            Some(reaction) => records.iter().for_each(reaction),
            None => lock(&self.sent).push((worker, port, records)),
        }
    }

    fn send_and_track(&self, worker: usize, port: usize, records: Vec<Record>, applied: Applied) {
        self.send(worker, port, records);
        if let Some(held) = &mut *lock(&self.held) {
            held.push(applied);
        }
    }
}

/// A test that failed while it held a lock must not fail the others in another way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
