//! Look-ups: Redis says where a message might be, the log whether it is there.
//!
//! Whatever Redis does not know, or does not say in time, goes to the log's index, which always knows. After
//! a failure Redis is left alone for a while, so that its absence does not slow every look-up.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use imflow_kind::{Dropped, IdIndex, IdPlace, Injector, IoContext, StartError, Store};
use imflow_proto::Record;
use imflow_proto::record::{Found, Submission};
use imflow_proto::wire::Message;

use super::{FOUND, UNKNOWN};

/// Batches that wait for Redis.
const WAITING: usize = 1_024;
/// After a failure.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// Look-ups of one worker; `None` ends the thread.
type Waiting = Option<(usize, Vec<Record>)>;

/// The thread that asks.
pub(super) struct Asking {
    context: IoContext,
    index: Option<Box<dyn IdIndex>>,
    queue: Queue,
    inbox: flume::Receiver<Waiting>,
    thread: Option<JoinHandle<()>>,
}

impl Asking {
    pub(super) fn new(context: &IoContext, index: Box<dyn IdIndex>) -> Self {
        let (to, inbox) = flume::bounded(WAITING);
        let queue = Queue { to, injector: Arc::default() };
        Self { context: context.clone(), index: Some(index), queue, inbox, thread: None }
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }

    pub(super) fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let Some(index) = self.index.take() else { return Ok(()) };
        let (name, of) = (&self.context.name, self.context.options.text("of"));
        let store = self.context.roles.find::<Arc<dyn Store>>(of).ok_or_else(|| {
            StartError::new(format!("sink `{name}` looks into `{of}`, which holds no messages; `of` must name a sink of kind `log`"))
        })?;
        self.queue.injector.get_or_init(|| Arc::clone(&injector));
        let read = move |conversation_id: &str, seq: u64| {
            let page = store.messages(conversation_id, seq.checked_sub(1)?, 1).ok()?;
            page.items.into_iter().next()
        };
        let mut lookups = Lookups::new(name.clone(), index, Box::new(read), injector);
        let inbox = self.inbox.clone();
        let thread = std::thread::Builder::new().name(format!("{name}-lookup"));
        let thread = thread.spawn(move || {
            while let Ok(Some((worker, records))) = inbox.recv() {
                lookups.answer(worker, records, Instant::now());
            }
        });
        self.thread =
            Some(thread.map_err(|error| {
                StartError::new(format!("a thread cannot be started: {error}"))
            })?);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.queue.to.send(None);
            let _ = thread.join();
        }
    }
}

/// The hand in a worker.
#[derive(Clone)]
pub(super) struct Queue {
    to: flume::Sender<Waiting>,
    /// Known at start, before which nothing comes in.
    injector: Arc<OnceLock<Arc<dyn Injector>>>,
}

impl Queue {
    /// Queues look-ups; those that find it full go to the log's index at once.
    pub(super) fn ask(&self, worker: usize, records: Vec<Record>) {
        if let Err(full) = self.to.try_send(Some((worker, records)))
            && let (Some((worker, records)), Some(injector)) =
                (full.into_inner(), self.injector.get())
        {
            injector.send(worker, UNKNOWN, records);
        }
    }
}

/// The message of a conversation with a seq, from the log.
type Read = Box<dyn Fn(&str, u64) -> Option<Message> + Send>;

struct Lookups {
    name: String,
    index: Box<dyn IdIndex>,
    read: Read,
    injector: Arc<dyn Injector>,
    left_alone_until: Option<Instant>,
    /// Look-ups that Redis did not answer.
    unasked: Dropped,
}

impl Lookups {
    fn new(name: String, index: Box<dyn IdIndex>, read: Read, injector: Arc<dyn Injector>) -> Self {
        Self { name, index, read, injector, left_alone_until: None, unasked: Dropped::default() }
    }

    /// Answers look-ups, or passes them on, in their order.
    fn answer(&mut self, worker: usize, records: Vec<Record>, now: Instant) {
        let lookups: Vec<Arc<Submission>> = records
            .into_iter()
            .filter_map(|record| match record {
                Record::Lookup(submission) => Some(submission),
                _ => None,
            })
            .collect();
        let places = self.ask(&lookups, now);
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for (submission, place) in lookups.into_iter().zip(places) {
            match place.and_then(|place| self.confirmed(&submission, &place)) {
                Some(message) => {
                    let original = Ok(Some(Arc::new(message)));
                    found.push(Record::Found(Arc::new(Found { submission, original })));
                }
                None => unknown.push(Record::Lookup(submission)),
            }
        }
        for (port, records) in [(FOUND, found), (UNKNOWN, unknown)] {
            if !records.is_empty() {
                self.injector.send(worker, port, records);
            }
        }
    }

    /// What Redis says of each; nothing of any when it does not answer.
    fn ask(&mut self, lookups: &[Arc<Submission>], now: Instant) -> Vec<Option<IdPlace>> {
        let ids: Vec<&str> = lookups.iter().map(|it| &*it.send.client_msg_id).collect();
        if self.left_alone_until.is_none_or(|until| now >= until) {
            match self.index.find(&ids) {
                Ok(places) => {
                    self.left_alone_until = None;
                    return places;
                }
                Err(error) => {
                    self.left_alone_until = Some(now + LEFT_ALONE);
                    let unasked = self.unasked.add(ids.len());
                    if let Some(unasked) = unasked {
                        let sink = &self.name;
                        tracing::warn!(
                            sink,
                            unasked,
                            "look-ups go to the log's index alone: {error}"
                        );
                    }
                    return vec![None; ids.len()];
                }
            }
        }
        if let Some(unasked) = self.unasked.add(ids.len()) {
            let sink = &self.name;
            tracing::warn!(sink, unasked, "look-ups go to the log's index alone");
        }
        vec![None; ids.len()]
    }

    /// The message at a place, if it is the one that is looked for.
    fn confirmed(&self, submission: &Submission, place: &IdPlace) -> Option<Message> {
        let (send, sender) = (&submission.send, &*submission.session.user_id);
        if place.conversation_id != send.conversation_id || place.sender_id != sender {
            return None;
        }
        (self.read)(&place.conversation_id, place.seq).filter(|message| {
            message.seq == place.seq
                && message.server_msg_id == place.server_msg_id
                && message.client_msg_id == send.client_msg_id
                && message.sender_id == sender
        })
    }
}

#[cfg(test)]
mod tests;
