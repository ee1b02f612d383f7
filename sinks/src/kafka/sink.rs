//! The sink itself: a queue, a thread that writes JSON, and the producer of `imflow-engines`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use imflow_engines::kafka::{Deliveries, Producer, Refusal, Settings};
use imflow_kind::{Dropped, Injector, Intake, IoContext, Sink, StartError, Time, fields};
use imflow_proto::Record;

use crate::queue::Queue;

/// How long a stopping service waits for what is under way.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long a broker is waited for that has the topic, before it is asked for anew.
const ASK_FOR_TOPIC: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long the thread waits when the client library takes no more.
const FULL_PAUSE: Duration = Duration::from_millis(10);

pub(super) fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let options = &context.options;
    let settings = Settings {
        brokers: options.texts("brokers").to_vec(),
        topic: options.text("topic").to_owned(),
        compression: options.text("compression").to_owned(),
        give_up: options.duration("give_up"),
    };
    let (queue, inbox) = Queue::new(options.integer("queue") as usize);
    let counts = Arc::new(Counts {
        sink: context.name.clone(),
        waiting: queue.waiting(),
        lost: Dropped::default(),
    });
    let stopping = Arc::new(AtomicBool::new(false));
    let publisher = Publisher::open(inbox, settings, counts, Arc::clone(&stopping))
        .map_err(|error| StartError::new(format!("no producer can be made: {error}")))?;
    Ok(Box::new(Kafka {
        name: context.name.clone(),
        holds: options.text("when_full") == "hold",
        queue,
        stopping,
        publisher: Some(publisher),
        thread: None,
    }))
}

struct Kafka {
    name: String,
    holds: bool,
    queue: Queue,
    stopping: Arc<AtomicBool>,
    publisher: Option<Publisher>,
    thread: Option<JoinHandle<()>>,
}

impl Sink for Kafka {
    fn intake(&mut self, _worker: usize) -> Box<dyn Intake> {
        let (name, queue) = (self.name.clone(), self.queue.clone());
        Box::new(KafkaIntake { name, holds: self.holds, queue })
    }

    fn start(&mut self, _injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Some(publisher) = self.publisher.take() else { return Ok(()) };
        let thread = std::thread::Builder::new().name(self.name.clone());
        let thread = thread
            .spawn(move || publisher.run())
            .map_err(|error| StartError::new(format!("a thread cannot be started: {error}")))?;
        self.thread = Some(thread);
        Ok(())
    }

    fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(sink = self.name, "the thread of the sink ended with a panic");
        }
    }
}

struct KafkaIntake {
    name: String,
    holds: bool,
    queue: Queue,
}

impl Intake for KafkaIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        let records = std::mem::take(records);
        if self.holds {
            self.queue.put(records);
        } else {
            self.queue.offer(&self.name, records);
        }
    }

    fn is_full(&self) -> bool {
        self.holds && self.queue.is_full()
    }
}

/// The thread's side.
struct Publisher {
    inbox: flume::Receiver<Vec<Record>>,
    producer: Producer,
    settings: Settings,
    counts: Arc<Counts>,
    stopping: Arc<AtomicBool>,
}

impl Publisher {
    fn open(
        inbox: flume::Receiver<Vec<Record>>,
        settings: Settings,
        counts: Arc<Counts>,
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, String> {
        let producer = Producer::open(&settings, Arc::clone(&counts) as Arc<dyn Deliveries>)?;
        Ok(Self { inbox, producer, settings, counts, stopping })
    }

    /// Publishes until the queue is closed, then waits a while for what is under way.
    fn run(mut self) {
        self.wait_for_topic();
        while let Ok(batch) = self.inbox.recv()
            && !batch.is_empty()
        {
            batch.iter().for_each(|record| self.publish(record));
        }
        self.producer.finish(STOP_LIMIT);
    }

    /// What comes meanwhile waits in the queue, which has its bound and policy.
    fn wait_for_topic(&self) {
        let mut told = false;
        while !self.producer.has_topic(ASK_FOR_TOPIC) && !self.stopping.load(Ordering::Acquire) {
            if !told {
                let Settings { brokers, topic, .. } = &self.settings;
                tracing::warn!(
                    sink = self.counts.sink,
                    ?brokers,
                    topic,
                    "no broker has the topic yet; records wait in the queue until one does"
                );
                told = true;
            }
            // An error may come back at once.
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn publish(&mut self, record: &Record) {
        let value = fields::to_json(record);
        let key = value.get("conversationId").and_then(|id| id.as_str());
        let mut json = Vec::new();
        // Writing to memory cannot fail, and every field has a form in JSON.
        let _ = serde_json::to_writer(&mut json, &value);
        loop {
            match self.producer.send(key, &json) {
                Ok(()) => return,
                Err(Refusal::Full) if !self.stopping.load(Ordering::Acquire) => {
                    std::thread::sleep(FULL_PAUSE);
                }
                Err(Refusal::Broken(why)) => {
                    tracing::warn!(sink = self.counts.sink, why, "the producer is made anew");
                    match Producer::open(&self.settings, Arc::clone(&self.counts) as _) {
                        Ok(producer) => self.producer = producer,
                        Err(error) => return self.counts.lost(&error),
                    }
                }
                Err(refusal) => return self.counts.lost(&refusal.to_string()),
            }
        }
    }
}

/// What waits, and what was given up.
struct Counts {
    sink: String,
    waiting: Arc<AtomicUsize>,
    lost: Dropped,
}

impl Deliveries for Counts {
    fn delivered(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    fn lost(&self, why: &str) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if let Some(lost) = self.lost.add(1) {
            tracing::warn!(sink = self.sink, lost, why, "records did not get into Kafka");
        }
    }
}
