//! How a call waits: on the machine's clock and a pool of threads, or in virtual time on one thread.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use imflow_kind::{Clock, Store, StoreError};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

/// Store reads at a time.
const READERS: usize = 8;

/// Where time and threads come from.
pub(super) enum Pace {
    Real { readers: Semaphore },
    Virtual(Arc<Alarms>),
}

impl Pace {
    pub(super) fn real() -> Self {
        Self::Real { readers: Semaphore::new(READERS) }
    }

    /// Resolves when so much time has passed.
    pub(super) async fn sleep(&self, duration: Duration) {
        match self {
            Self::Real { .. } => tokio::time::sleep(duration).await,
            Self::Virtual(alarms) => alarms.sleep(duration).await,
        }
    }

    /// Runs a task beside the call.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Real { .. } => drop(tokio::spawn(task)),
            Self::Virtual(alarms) => alarms.tasks.lock().push(Box::pin(task)),
        }
    }

    /// Reads from a store, off the I/O threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        store: &Arc<dyn Store>,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Self::Real { readers } = self else { return read(&**store) };
        let failed = |e: &dyn std::fmt::Display| StoreError::Failed(e.to_string());
        let _turn = readers.acquire().await.map_err(|e| failed(&e))?;
        let store = Arc::clone(store);
        tokio::task::spawn_blocking(move || read(&*store)).await.map_err(|e| failed(&e))?
    }
}

/// A task beside the calls.
pub(super) type Spawned = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sleepers in virtual time, and tasks that nobody polls yet.
pub(super) struct Alarms {
    clock: Arc<dyn Clock>,
    set: Mutex<Vec<(u64, oneshot::Sender<()>)>>,
    tasks: Mutex<Vec<Spawned>>,
}

impl Alarms {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, set: Mutex::default(), tasks: Mutex::default() })
    }

    async fn sleep(&self, duration: Duration) {
        let due = self.clock.now_ms() + duration.as_millis() as u64;
        let (alarm, rings) = oneshot::channel();
        self.set.lock().push((due, alarm));
        // An alarm is dropped only by ringing.
        let _ = rings.await;
    }

    /// Takes the tasks that were begun since the last call.
    pub(super) fn take_tasks(&self) -> Vec<Spawned> {
        std::mem::take(&mut *self.tasks.lock())
    }

    /// When the next sleeper wakes; those who sleep no more do not count.
    pub(super) fn next_due(&self) -> Option<u64> {
        let set = self.set.lock();
        set.iter().filter(|(_, alarm)| !alarm.is_closed()).map(|(due, _)| *due).min()
    }

    /// Wakes everybody whose time has come; says whether there was anybody.
    pub(super) fn ring(&self) -> bool {
        let now = self.clock.now_ms();
        let mut set = self.set.lock();
        set.retain(|(_, alarm)| !alarm.is_closed());
        let mut rang = false;
        for (_, alarm) in set.extract_if(.., |(due, _)| *due <= now) {
            rang |= alarm.send(()).is_ok();
        }
        rang
    }
}
