//! A follower in virtual time, with a copy in memory that a test can put out of reach.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use imflow_kind::{
    Act, Clock, Form, Injector, Intake, IoContext, Logged, Outside, Replica, ReplicaError, Seen,
    Sink, StartError, Time, World,
};
use imflow_proto::Record;
use imflow_proto::record::Lsn;
use serde_json::{Value, json};

use super::kept::Kept;
use super::{Follower, Next};
use crate::copies::SCRIPT;

/// An input whose records go straight to an output.
#[derive(Clone, Copy)]
pub(crate) struct Passes {
    pub(crate) input: usize,
    pub(crate) output: usize,
}

/// The form in virtual time of a copy that readers ask for the newest messages.
#[cfg(feature = "redis")]
pub(crate) fn latest(passes: Passes) -> Form {
    Form::Sink(Arc::new(move |context| {
        let mut simulated = Simulated::new(context, false, Some(passes));
        let kept = Arc::<Kept>::default();
        let many = context.options.integer("latest") as usize;
        let newest = super::kept::Newest { kept: Arc::clone(&kept), many };
        context.roles.offer(&context.name, Arc::new(newest) as Arc<dyn imflow_kind::Latest>);
        simulated.kept = Some(kept);
        Ok(Box::new(simulated))
    }))
}

/// The same for one that is asked something: what answers is written beside the copy that a test sees.
#[cfg(feature = "search")]
pub(crate) fn beside(make: fn(&IoContext) -> Box<dyn Replica>) -> Form {
    Form::Sink(Arc::new(move |context| {
        let mut simulated = Simulated::new(context, false, None);
        simulated.beside = Some(make(context));
        Ok(Box::new(simulated))
    }))
}

/// The same for one that senders hear of, and that can be read.
#[cfg(feature = "mongo")]
pub(crate) fn archive() -> Form {
    Form::Sink(Arc::new(|context| {
        let mut simulated = Simulated::new(context, true, None);
        let kept = Arc::<Kept>::default();
        context.roles.offer(&context.name, Arc::clone(&kept) as Arc<dyn imflow_kind::Archive>);
        simulated.kept = Some(kept);
        Ok(Box::new(simulated))
    }))
}

struct Simulated {
    context: IoContext,
    tells: bool,
    passes: Option<Passes>,
    injector: Arc<OnceLock<Arc<dyn Injector>>>,
    world: Arc<World>,
    is_away: Arc<AtomicBool>,
    /// What can be read of the copy.
    kept: Option<Arc<Kept>>,
    beside: Option<Box<dyn Replica>>,
    follower: Option<Follower>,
    next: Next,
}

impl Simulated {
    fn new(context: &IoContext, tells: bool, passes: Option<Passes>) -> Self {
        let world = World::new(&SCRIPT, |_| Ok(()), check_seen);
        context.roles.offer(&context.name, Arc::clone(&world) as Arc<dyn Outside>);
        let (context, is_away) = (context.clone(), Arc::default());
        let injector = Arc::default();
        let (follower, next) = (None, Next::Again);
        let (kept, beside) = (None, None);
        Self { context, tells, passes, injector, world, is_away, kept, beside, follower, next }
    }
}

impl Sink for Simulated {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        let injector = Arc::clone(&self.injector);
        Box::new(SimulatedIntake { worker, passes: self.passes, injector })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let replica = Memory {
            clock: Arc::clone(&self.context.clock),
            world: Arc::clone(&self.world),
            is_away: Arc::clone(&self.is_away),
            kept: self.kept.clone(),
            beside: self.beside.take(),
            position: 0,
        };
        self.injector.get_or_init(|| Arc::clone(&injector));
        let injector = self.tells.then_some(injector);
        self.follower = Some(Follower::new(&self.context, Box::new(replica), injector)?);
        Ok(())
    }

    fn step(&mut self) -> bool {
        for Act { action, .. } in self.world.take_acts() {
            self.is_away.store(action == "outage", Ordering::Relaxed);
            if let Some(kept) = &self.kept {
                kept.put_away(action == "outage");
            }
        }
        let now = self.context.clock.now_ms();
        let Some(follower) = &mut self.follower else { return false };
        if matches!(self.next, Next::At(at) if at > now) {
            return false;
        }
        self.next = follower.step(now);
        self.next == Next::Again
    }

    fn next_due(&self) -> Option<u64> {
        match self.next {
            Next::At(at) => Some(at),
            Next::Again | Next::IdleUntil(_) => None,
        }
    }
}

/// Passes on what is to be passed; for all else the step looks into the log anyway.
struct SimulatedIntake {
    worker: usize,
    passes: Option<Passes>,
    injector: Arc<OnceLock<Arc<dyn Injector>>>,
}

impl Intake for SimulatedIntake {
    fn on_batch(&mut self, _now: Time, port: usize, records: &mut Vec<Record>) {
        let records = std::mem::take(records);
        if let Some(Passes { output, .. }) = self.passes.filter(|passes| passes.input == port)
            && let Some(injector) = self.injector.get()
        {
            injector.send(self.worker, output, records);
        }
    }
}

/// A copy that shows the messages that it is given and keeps its place, and the messages if they can be read.
struct Memory {
    clock: Arc<dyn Clock>,
    world: Arc<World>,
    is_away: Arc<AtomicBool>,
    kept: Option<Arc<Kept>>,
    beside: Option<Box<dyn Replica>>,
    position: Lsn,
}

impl Memory {
    fn reach(&self) -> Result<(), ReplicaError> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(ReplicaError("the test put it out of reach".into())),
            false => Ok(()),
        }
    }
}

impl Replica for Memory {
    fn open(&mut self) -> Result<Lsn, ReplicaError> {
        self.reach().map(|()| self.position)
    }

    fn write(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError> {
        self.reach()?;
        if let Some(kept) = &self.kept {
            kept.take(records);
        }
        if let Some(beside) = &mut self.beside {
            beside.write(records, upto)?;
        }
        let at_ms = self.clock.now_ms();
        self.world.note(records.iter().filter_map(|record| {
            let Logged::Message(committed) = record else { return None };
            let message = &committed.message;
            let body = json!({
                "conversationId": message.conversation_id,
                "seq": message.seq,
                "clientMsgId": message.client_msg_id,
            });
            Some(Seen { at_ms, actor: String::new(), body: body.to_string(), refusal: false })
        }));
        self.position = upto;
        Ok(())
    }
}

fn check_seen(seen: &str) -> Result<(), String> {
    const KEYS: [&str; 3] = ["conversationId", "seq", "clientMsgId"];
    let Ok(Value::Object(fields)) = serde_json::from_str(seen) else {
        return Err("expected a table of what is copied of a message".into());
    };
    match fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown key `{key}`, expected one of {}", KEYS.join(", "))),
        None => Ok(()),
    }
}
