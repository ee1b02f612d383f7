//! The sink itself: a queue, threads that post, and the file of dead letters.
//!
//! A record between two attempts waits in a heap by its time, which any of the threads looks at first, so a
//! record that fails holds nobody up. It counts as waiting until it was taken or given up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use imflow_kind::{Counter, Injector, Intake, IoContext, Meters, Sink, StartError, Time};
use imflow_proto::Record;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::meters::{POSTS, WAITING};
use super::post::{self, Poster};
use super::retry::{Outcome, Schedule};
use crate::file::Rotation;
use crate::queue::Queue;

const DEAD_BYTES: u64 = 64 << 20;
const DEAD_FILES: usize = 4;
/// How long a thread sleeps when nothing is due; also how soon it sees that the service stops.
const IDLE: Duration = Duration::from_millis(100);
/// How long a stopping service goes on with what waits.
const STOP_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let options = &context.options;
    let path = context.data.join(options.text("dead_letters"));
    let dead = Rotation::open(path.clone(), DEAD_BYTES, DEAD_FILES).map_err(|error| {
        StartError::new(format!(
            "cannot open `{}`: {error}; name another file with `dead_letters`, or make its folder writable",
            path.display()
        ))
    })?;
    let (queue, inbox) = Queue::new(options.integer("queue") as usize);
    let waiting = queue.waiting();
    context.meters.read(&WAITING, &[], {
        let waiting = Arc::clone(&waiting);
        move || waiting.load(Ordering::Relaxed) as f64
    });
    let desk = Desk {
        name: context.name.clone(),
        run: format!(
            "{:x}",
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
        ),
        inbox,
        waiting,
        retries: Mutex::default(),
        poster: Poster::new(
            options.text("url"),
            options.text("secret"),
            options.duration("timeout"),
        ),
        schedule: Schedule {
            attempts: options.integer("attempts") as u32,
            from: options.duration("retry_from"),
            most: options.duration("retry_most"),
        },
        dead: Mutex::new(dead),
        counts: Counts::new(&context.meters),
        numbers: AtomicU64::new(1),
        closed: AtomicBool::new(false),
    };
    Ok(Box::new(Webhook {
        name: context.name.clone(),
        parallel: options.integer("parallel") as usize,
        queue,
        desk: Arc::new(desk),
        threads: Vec::new(),
    }))
}

struct Webhook {
    name: String,
    parallel: usize,
    queue: Queue,
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
}

impl Sink for Webhook {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        Box::new(WebhookIntake { name: self.name.clone(), queue: self.queue.clone() })
    }

    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        for number in 0..self.parallel {
            let desk = Arc::clone(&self.desk);
            let thread = std::thread::Builder::new().name(format!("{}-{number}", self.name));
            self.threads.push(thread.spawn(move || desk.run()).map_err(|error| {
                StartError::new(format!("a thread cannot be started: {error}"))
            })?);
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.desk.close(STOP_LIMIT);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(sink = self.name, "a thread of the sink ended with a panic");
            }
        }
        self.desk.give_up_rest();
    }
}

struct WebhookIntake {
    name: String,
    queue: Queue,
}

impl Intake for WebhookIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        // One at a time, so that the threads share them.
        for record in records.drain(..) {
            self.queue.offer(&self.name, vec![record]);
        }
    }
}

/// What the threads share.
struct Desk {
    name: String,
    /// Makes ids of two runs differ.
    run: String,
    inbox: flume::Receiver<Vec<Record>>,
    waiting: Arc<AtomicUsize>,
    retries: Mutex<BinaryHeap<Reverse<Retry>>>,
    poster: Poster,
    schedule: Schedule,
    dead: Mutex<Rotation>,
    counts: Counts,
    numbers: AtomicU64,
    closed: AtomicBool,
}

/// A post that waits for its next attempt.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Retry {
    due: Instant,
    number: u64,
    attempts: u32,
    body: Vec<u8>,
}

impl Desk {
    fn run(&self) {
        while !self.closed.load(Ordering::Acquire) {
            if let Some(retry) = self.due() {
                self.attempt(retry);
                continue;
            }
            if let Ok(records) = self.inbox.recv_timeout(IDLE) {
                for record in &records {
                    let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                    let body = post::body(&format!("{}-{number}", self.run), record);
                    self.attempt(Retry { due: Instant::now(), number, attempts: 0, body });
                }
            }
        }
    }

    fn due(&self) -> Option<Retry> {
        let mut retries = self.retries.lock();
        let is_due = retries.peek().is_some_and(|Reverse(first)| first.due <= Instant::now());
        is_due.then(|| retries.pop()).flatten().map(|Reverse(retry)| retry)
    }

    fn attempt(&self, mut retry: Retry) {
        retry.attempts += 1;
        match self.poster.post(&retry.body) {
            Outcome::Taken => {
                self.counts.taken.inc();
                self.waiting.fetch_sub(1, Ordering::AcqRel);
            }
            Outcome::Never { why } => self.bury(&retry, &why),
            Outcome::Later { why, after } => match self.schedule.wait(retry.attempts, after) {
                Some(wait) => {
                    self.counts.later.inc();
                    retry.due = Instant::now() + wait;
                    self.retries.lock().push(Reverse(retry));
                }
                None => self.bury(&retry, &why),
            },
        }
    }

    /// Writes a dead letter.
    fn bury(&self, retry: &Retry, why: &str) {
        self.counts.dead.inc();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let post: Value = serde_json::from_slice(&retry.body).unwrap_or_default();
        let line = json!({ "at": at as u64, "attempts": retry.attempts, "why": why, "post": post });
        let mut dead = self.dead.lock();
        let written = dead.write(format!("{line}\n").as_bytes()).and_then(|()| dead.sync());
        match written {
            Ok(()) => tracing::warn!(sink = self.name, why, "a record could not be posted"),
            Err(error) => {
                tracing::error!(sink = self.name, why, %error, "a record could not be posted, and its dead letter not be written");
            }
        }
    }

    /// Lets the threads go on until nothing waits or the time is over.
    fn close(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.waiting.load(Ordering::Acquire) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.closed.store(true, Ordering::Release);
    }

    /// What still waits when the service ends is a dead letter.
    fn give_up_rest(&self) {
        let rest = std::mem::take(&mut *self.retries.lock());
        for Reverse(retry) in rest {
            self.bury(&retry, "the service has stopped");
        }
        for record in self.inbox.try_iter().flatten() {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let body = post::body(&format!("{}-{number}", self.run), &record);
            let retry = Retry { due: Instant::now(), number, attempts: 0, body };
            self.bury(&retry, "the service has stopped");
        }
    }
}

struct Counts {
    taken: Counter,
    later: Counter,
    dead: Counter,
}

impl Counts {
    fn new(meters: &Meters) -> Self {
        let counter = |outcome| meters.counter(&POSTS, &[outcome]);
        Self { taken: counter("taken"), later: counter("later"), dead: counter("dead") }
    }
}
