//! A follower on a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use imflow_kind::{Clock, Injector, Intake, IoContext, Replica, Sink, StartError, Time};
use imflow_proto::Record;

use super::{Follower, Next};

/// How long a stopping service waits for the copy to take what the log has.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Of the thread of a copy.
const NICENESS: i32 = 10;

pub(crate) struct Threaded {
    context: IoContext,
    replica: Option<Box<dyn Replica>>,
    tells: bool,
    wake: Wake,
    bell: Option<flume::Receiver<Ring>>,
    thread: Option<JoinHandle<()>>,
}

enum Ring {
    Committed,
    Stop,
}

impl Threaded {
    /// A copy that is kept while the service runs. `tells`: senders hear of delays on the first port.
    pub(crate) fn new(context: &IoContext, replica: Box<dyn Replica>, tells: bool) -> Self {
        let (ring, bell) = flume::bounded(1);
        Self {
            context: context.clone(),
            replica: Some(replica),
            tells,
            wake: Wake(ring),
            bell: Some(bell),
            thread: None,
        }
    }
}

impl Sink for Threaded {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(self.wake.clone())
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let (Some(replica), Some(bell)) = (self.replica.take(), self.bell.take()) else {
            return Ok(());
        };
        let follower = Follower::new(&self.context, replica, self.tells.then_some(injector))?;
        let clock = Arc::clone(&self.context.clock);
        let window = self.context.options.duration("window");
        let thread = std::thread::Builder::new().name(self.context.name.clone());
        let thread = thread.spawn(move || {
            give_way();
            run(follower, &bell, &*clock, window);
        });
        self.thread =
            Some(thread.map_err(|error| {
                StartError::new(format!("a thread cannot be started: {error}"))
            })?);
        Ok(())
    }

    fn stop(&mut self) {
        if self.thread.is_some() {
            // Waits for the place that a ring before it may hold.
            let _ = self.wake.0.send(Ring::Stop);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(sink = self.context.name, "the thread of the copy ended with a panic");
        }
    }
}

/// Where the message path wants the processor, a copy waits. Threads that a copy starts are as nice.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!("the thread of a copy cannot give way to others: {error}");
    }
}

/// Turns until it is told to stop, and then until the copy has all, or takes no more, or time is up.
fn run(mut follower: Follower, bell: &flume::Receiver<Ring>, clock: &dyn Clock, window: Duration) {
    let mut stop_at: Option<Instant> = None;
    loop {
        let now = clock.now_ms();
        let next = follower.step(now);
        // What it does not take now it gets after the next start.
        if stop_at.is_some_and(|at| next != Next::Again || Instant::now() >= at) {
            return;
        }
        let is_stopped = match next {
            Next::Again => matches!(bell.try_recv(), Ok(Ring::Stop)),
            Next::IdleUntil(at) => match bell.recv_timeout(until(at, now)) {
                // Records that come close together are written together.
                Ok(Ring::Committed) => {
                    std::thread::sleep(window);
                    false
                }
                Err(flume::RecvTimeoutError::Timeout) => false,
                Ok(Ring::Stop) | Err(flume::RecvTimeoutError::Disconnected) => true,
            },
            Next::At(at) => stopped_within(bell, until(at, now)),
        };
        if is_stopped {
            stop_at.get_or_insert_with(|| Instant::now() + LAST_WORDS);
        }
    }
}

fn until(at: u64, now: u64) -> Duration {
    Duration::from_millis(at.saturating_sub(now))
}

/// Lets time pass, whatever is committed meanwhile; says whether the service stops.
fn stopped_within(bell: &flume::Receiver<Ring>, time: Duration) -> bool {
    let end = Instant::now() + time;
    loop {
        match bell.recv_deadline(end) {
            Ok(Ring::Committed) => {}
            Err(flume::RecvTimeoutError::Timeout) => return false,
            Ok(Ring::Stop) | Err(flume::RecvTimeoutError::Disconnected) => return true,
        }
    }
}

/// The hand in a worker: says that something was committed, and lets the records be. Where it has been
/// said already, once is enough.
#[derive(Clone)]
struct Wake(flume::Sender<Ring>);

impl Intake for Wake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        records.clear();
        let _ = self.0.try_send(Ring::Committed);
    }
}
