//! The sink with Redis: one thread keeps what is shared, one listens, one looks up who is followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use imflow_engines::redis::{Listener, RedisRoutes, RouteSettings};
use imflow_kind::{Injector, Intake, IoContext, Sink, StartError};
use imflow_proto::Record;

use super::keeper::Keeper;
use super::node::{Parts, SUBSCRIPTIONS, follow, hear, look_again};
use super::table::TELL_AGAIN_MS;

/// Threads look at so often whether they are to end.
const PATIENCE: Duration = Duration::from_millis(500);
/// Subscriptions whose users are looked up at once.
const TOGETHER: usize = 256;
/// How long the dataflow is waited for before a subscription is passed on.
const APPLIED: Duration = Duration::from_secs(1);
/// Between two attempts to listen.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let settings = |timeout| RouteSettings {
        uri: context.options.text("uri").to_owned(),
        prefix: context.options.text("prefix").to_owned(),
        node: context.node.clone(),
        timeout: context.options.duration(timeout),
        ttl: context.options.duration("ttl"),
        keep: context.options.duration("keep"),
        down: Duration::from_millis(Parts::down_ms(context)),
        members_ttl: Duration::from_millis(2 * TELL_AGAIN_MS),
        global_devices: context.options.text("device_ids") == "global",
    };
    let redis = |timeout| RedisRoutes::new(settings(timeout)).map_err(StartError::new);
    let listener = Listener::new(&settings("timeout")).map_err(StartError::new)?;
    Ok(Box::new(Live {
        parts: Parts::new(context, Box::new(redis("wait")?)),
        writing: Some((redis("timeout")?, listener)),
        stopping: Arc::default(),
        threads: Vec::new(),
    }))
}

struct Live {
    parts: Parts,
    writing: Option<(RedisRoutes, Listener)>,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Sink for Live {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        self.parts.intake()
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Some((redis, listener)) = self.writing.take() else { return Ok(()) };
        let mut keeper = self.parts.keeper(Box::new(redis))?;
        let (rung, stopping) = (self.parts.rung.clone(), Arc::clone(&self.stopping));
        self.spawn("keep", move || keep(&mut keeper, &rung, &stopping))?;
        let missed = Arc::<AtomicBool>::default();
        let hears = self.hearing(&injector, &missed);
        self.spawn("hear", move || hears.run(listener))?;
        let (hears, waiting) = (self.hearing(&injector, &missed), self.parts.waiting.clone());
        self.spawn("follow", move || hears.follow(&waiting))
    }

    fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(sink = self.parts.context.name, "a thread ended with a panic");
            }
        }
    }
}

impl Live {
    fn spawn(&mut self, does: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let name = format!("{}-{does}", self.parts.context.name);
        let thread = std::thread::Builder::new().name(name).spawn(run);
        self.threads
            .push(thread.map_err(|error| {
                StartError::new(format!("a thread cannot be started: {error}"))
            })?);
        Ok(())
    }

    fn hearing(&self, injector: &Arc<dyn Injector>, missed: &Arc<AtomicBool>) -> Hearing {
        Hearing {
            name: self.parts.context.name.clone(),
            followed: Arc::clone(&self.parts.followed),
            places: Arc::clone(&self.parts.places),
            injector: Arc::clone(injector),
            missed: Arc::clone(missed),
            stopping: Arc::clone(&self.stopping),
        }
    }
}

fn keep(keeper: &mut Keeper, rung: &flume::Receiver<()>, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Acquire) {
        let due = keeper.step();
        let wait = Duration::from_millis(due.saturating_sub(keeper.clock.now_ms()));
        let _ = rung.recv_timeout(wait.min(PATIENCE)); // rung, or it is time
    }
    keeper.leave();
}

/// What the threads have in common that hear of other nodes.
struct Hearing {
    name: String,
    followed: Arc<parking_lot::Mutex<super::followed::Followed>>,
    places: Arc<super::places::Places>,
    injector: Arc<dyn Injector>,
    /// Somebody could not be looked up.
    missed: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Hearing {
    fn run(self, mut listener: Listener) {
        let mut pause = Duration::ZERO;
        while !self.stopping.load(Ordering::Acquire) {
            // What was said while nobody listened is looked up.
            let mut was_ready = false;
            let ready = || {
                was_ready = true;
                self.look_again();
                true
            };
            let listened = listener.listen(PATIENCE, ready, |told| {
                match told {
                    Some(told) => hear(&self.followed, &self.places, &told, &*self.injector),
                    None if self.missed.load(Ordering::Acquire) => self.look_again(),
                    None => {}
                }
                !self.stopping.load(Ordering::Acquire)
            });
            let Err(error) = listened else { continue };
            if was_ready || pause.is_zero() {
                tracing::warn!(sink = self.name, "other nodes are not heard for now: {error}");
                pause = Duration::ZERO;
            }
            pause = (2 * pause).clamp(FIRST_PAUSE, LAST_PAUSE);
            std::thread::sleep(pause);
        }
    }

    fn look_again(&self) {
        let all = look_again(&self.followed, &self.places, &*self.injector);
        self.missed.store(!all, Ordering::Release);
    }

    fn follow(self, waiting: &flume::Receiver<Record>) {
        while !self.stopping.load(Ordering::Acquire) {
            let Ok(first) = waiting.recv_timeout(PATIENCE) else { continue };
            let mut subscriptions = vec![first];
            subscriptions.extend(waiting.try_iter().take(TOGETHER - 1));
            // The answer tells who is online elsewhere, so that must be known before.
            let (told, applied) = flume::bounded::<()>(1);
            let told = Some(Arc::new(told) as imflow_kind::Applied);
            let all = follow(&self.followed, &self.places, &subscriptions, &*self.injector, told);
            if !all {
                self.missed.store(true, Ordering::Release);
            }
            let _ = applied.recv_timeout(APPLIED); // ends when the sender is dropped
            self.injector.send(0, SUBSCRIPTIONS, subscriptions);
        }
    }
}
