//! Sink `reader`: history, sync and lists, read off the message path.
//!
//! A bounded queue feeds two threads that may wait for the disk; the worker never does. A query that wants what
//! has left the log goes on to a second queue and to threads that may wait for another system, so that nobody
//! who reads the log waits behind it. A query that finds its queue full is answered BUSY at once. Replies leave
//! in the order they are ready, each under its command's id.
//!
//! ```text
//! intake -> [queue] -> two threads: the log -> reply
//!                          `-> [queue] -> two threads: log and archive -> reply
//! ```

pub(crate) mod answer;
pub(crate) mod cached;
mod history;
pub(crate) mod layers;
mod missed;
mod search;
#[cfg(test)]
mod search_tests;
mod simulated;
#[cfg(test)]
mod testing;
mod timeline;
mod written;

use std::sync::Arc;
use std::thread::JoinHandle;

use imflow_kind::{
    Archive, Description, Family, Form, Injector, Intake, IoContext, Key, Kind, Latest, Limit, Opt,
    OptType, Port, RoleName, Search, Sink, StartError, State, Store, Time,
};
use imflow_proto::record::{Query, Reply};
use imflow_proto::wire::{Error, ErrorCode};
use imflow_proto::{Record, RecordType};

use answer::answer;
use cached::Cached;
use layers::Layers;

/// `queries: Query` → `pages: Reply`
///
/// Errors: INVALID, FORBIDDEN, UNKNOWN_CONVERSATION, NOT_A_MEMBER, BANNED, TOO_LARGE, BUSY, UNSUPPORTED, INTERNAL. Source: SPEC M7.
pub static DESCRIPTION: Description = Description {
    name: "reader",
    family: Family::Sink,
    summary: "answers history, timelines, sync, resume and lists from a store, off the message path",
    doc: "`history` gives at most 200 messages a page (50 unless asked), `sync` takes at most 200 cursors and gives 500 messages \
          over all of them, `conversations` lists at most 1,000 a page, by id. A page is closed at 512 KiB, so that it fits a frame; `more` says \
          that the same question, asked from the last item on, goes on. Only members read a conversation.\n\n\
          `resume` is a sync from the cursors that the store keeps; one answer looks at 1,000 conversations. `timeline` \
          merges all conversations of the caller by time, up to 10,000; `cursors` lists those of a conversation, at most \
          1,000 a page.\n\n\
          With `archive`, what `keep` of the log has removed is read from there and joined to what the log has: no gap and nothing twice; \
          `removedUpToSeq` tells of what neither has. With `cache`, the latest messages of a conversation come from there, if it has all of them, \
          and only what lies further back from `archive`. A timeline goes on there too, and asks only once it comes to the latest time that was removed. Only such queries wait for the other system, and are answered BUSY while it is away.\n\n\
          `search` finds the messages of the caller's conversations, up to 10,000, that have certain words: the sink that `search` names says where they \
          are, the log how they read now, so what was revoked, edited or is not the caller's to read is never shown. `docs/search.md` tells all of it.",
    // Takes queries in the stage that they come from: those of clients never enter the message path.
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("queries", &[RecordType::Query], "what clients ask").pays()],
    outputs: &[Port::of("pages", &[RecordType::Reply], "the answers")],
    options: &[
        Opt::required(
            "of",
            OptType::Reference(RoleName::Store),
            "the sink that holds the messages",
        ),
        Opt::new(
            "archive",
            OptType::Reference(RoleName::Archive),
            "",
            "the sink whose copy is read for what the log no longer keeps; empty: none",
        ),
        Opt::new(
            "cache",
            OptType::Reference(RoleName::Latest),
            "",
            "the sink that has the latest messages of conversations, asked before `archive`; empty: none",
        ),
        Opt::new(
            "search",
            OptType::Reference(RoleName::Search),
            "",
            "the sink that knows the words of the messages; without one `search` is answered UNSUPPORTED",
        ),
    ],
    provides: &[],
    limits: &[
        Limit { what: "queries waiting", bound: "4,096", policy: "the next is answered BUSY" },
        Limit { what: "queries running", bound: "2", policy: "the next waits" },
        Limit {
            what: "queries that wait for the archive",
            bound: "256, and 2 running",
            policy: "the next is answered BUSY",
        },
        Limit {
            what: "what became of the messages of a page, from the archive",
            bound: "20,000 entries",
            policy: "INTERNAL: read fewer messages at a time",
        },
        Limit {
            what: "conversations of a timeline",
            bound: "10,000",
            policy: "TOO_LARGE: read them with `history`",
        },
        Limit {
            what: "conversations of a search",
            bound: "10,000",
            policy: "TOO_LARGE: name the conversation",
        },
        Limit {
            what: "messages that a search looks at",
            bound: "500,000 in the index, 1,000 in the store",
            policy: "answered with what was found, and where to go on",
        },
        Limit { what: "a page", bound: "512 KiB", policy: "closed, with `more` set" },
    ],
    example: "[sinks.reader]\n\
              kind = \"reader\"\n\
              of = \"store\"\n\
              inputs = [\"clients.queries\", \"facts.queries\", \"allowed.existing\"]\n",
    ..Description::EMPTY
};

const WAITING: usize = 4_096;
const WAITING_FOR_ARCHIVE: usize = 256;
/// Of each queue.
const THREADS: usize = 2;

/// The kind `reader`.
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, build).simulated_by(Form::Sink(Arc::new(simulated::build)))
}

fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let (queue, inbox) = flume::bounded(WAITING);
    let reading = Queue { name: context.name.clone(), queue, inbox, threads: Vec::new() };
    let (queue, inbox) = flume::bounded(WAITING_FOR_ARCHIVE);
    let name = format!("{}-old", context.name);
    let waiting = Queue { name, queue, inbox, threads: Vec::new() };
    Ok(Box::new(Reader { context: context.clone(), reading, waiting }))
}

/// A query and the worker that gave it; `None` ends one thread.
type Waiting = Option<(usize, Arc<Query>)>;

struct Reader {
    context: IoContext,
    reading: Queue,
    /// For the archive.
    waiting: Queue,
}

/// Queries and the threads that answer them.
struct Queue {
    name: String,
    queue: flume::Sender<Waiting>,
    inbox: flume::Receiver<Waiting>,
    threads: Vec<JoinHandle<()>>,
}

impl Queue {
    fn start(&mut self, desk: &Desk, injector: &Arc<dyn Injector>) -> Result<(), StartError> {
        for number in 0..THREADS {
            let (inbox, desk) = (self.inbox.clone(), desk.clone());
            let injector = Arc::clone(injector);
            let thread = std::thread::Builder::new().name(format!("{}-{number}", self.name));
            let thread = thread.spawn(move || {
                while let Ok(Some((worker, query))) = inbox.recv() {
                    desk.serve(worker, query, &*injector);
                }
            });
            self.threads.push(thread.map_err(|error| {
                StartError::new(format!("cannot start a thread of the reader: {error}"))
            })?);
        }
        Ok(())
    }

    fn stop(&mut self) {
        for _ in &self.threads {
            let _ = self.queue.send(None);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Sink for Reader {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        Box::new(ReaderIntake { worker, queue: self.reading.queue.clone() })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let desk = Desk::of(&self.context)?;
        if desk.archive.is_none() {
            return self.reading.start(&desk, &injector);
        }
        let beyond = Some(self.waiting.queue.clone());
        self.reading.start(&Desk { archive: None, beyond, ..desk.clone() }, &injector)?;
        self.waiting.start(&desk, &injector)
    }

    fn stop(&mut self) {
        self.reading.stop();
        self.waiting.stop();
    }
}

/// Where a query is answered.
#[derive(Clone)]
struct Desk {
    store: Arc<dyn Store>,
    words: Option<Arc<dyn Search>>,
    archive: Option<Arc<dyn Archive>>,
    /// Where queries go that want the archive, if it is not at hand.
    beyond: Option<flume::Sender<Waiting>>,
}

impl Desk {
    /// With all that the options of a node name.
    fn of(context: &IoContext) -> Result<Self, StartError> {
        let (name, of) = (&context.name, context.options.text("of"));
        let store = context.roles.find(of).ok_or_else(|| {
            StartError::new(format!("sink `{name}` reads from `{of}`, which holds no messages; `of` must name a sink of kind `log`"))
        })?;
        let copy = context.options.text("archive");
        let archive = context.roles.find::<Arc<dyn Archive>>(copy);
        if archive.is_none() && !copy.is_empty() {
            return Err(StartError::new(format!(
                "sink `{name}` reads old messages from `{copy}`, which cannot be read; `archive` must name a sink of kind `mongo`"
            )));
        }
        let search = context.options.text("search");
        let words = context.roles.find::<Arc<dyn Search>>(search);
        if words.is_none() && !search.is_empty() {
            return Err(StartError::new(format!(
                "sink `{name}` searches in `{search}`, which knows no words; `search` must name a sink of kind `search`"
            )));
        }
        let cache = context.options.text("cache");
        let archive = match context.roles.find::<Arc<dyn Latest>>(cache) {
            Some(latest) => Some(Arc::new(Cached { latest, archive }) as Arc<dyn Archive>),
            None if cache.is_empty() => archive,
            None => {
                return Err(StartError::new(format!(
                    "sink `{name}` reads the latest messages from `{cache}`, which does not have them; `cache` must name a sink of kind `redis`"
                )));
            }
        };
        Ok(Self { store, words, archive, beyond: None })
    }

    fn serve(&self, worker: usize, query: Arc<Query>, injector: &dyn Injector) {
        let layers = match (&self.archive, &self.beyond) {
            (None, None) => Layers::log_alone(&*self.store),
            (archive, _) => Layers::new(&*self.store, archive.as_deref()),
        };
        let reply = reply_to(&query, &layers, self.words.as_deref());
        match &self.beyond {
            Some(beyond) if layers.is_wanted() => pass_on(beyond, worker, query),
            _ => injector.send(worker, 0, reply.into_iter().collect()),
        }
    }
}

fn pass_on(beyond: &flume::Sender<Waiting>, worker: usize, query: Arc<Query>) {
    if let Err(refused) = beyond.try_send(Some((worker, query)))
        && let Some((_, query)) = refused.into_inner()
    {
        let text = format!(
            "{WAITING_FOR_ARCHIVE} reads of old messages wait already; ask again in a moment"
        );
        query.ticket.refuse(Error::of(ErrorCode::Busy, text).retry_after(1_000));
    }
}

/// The answer to a query, if anybody still waits: the gateway may have answered TIMEOUT, or the session
/// may be gone.
fn reply_to(query: &Query, layers: &Layers<'_>, words: Option<&dyn Search>) -> Option<Record> {
    let ticket = query.ticket.clone();
    (!ticket.is_answered())
        .then(|| Record::Reply(Arc::new(Reply { ticket, body: answer(layers, words, query) })))
}

struct ReaderIntake {
    worker: usize,
    queue: flume::Sender<Waiting>,
}

impl Intake for ReaderIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        for record in records.drain(..) {
            let Record::Query(query) = record else { continue };
            if let Err(refused) = self.queue.try_send(Some((self.worker, query)))
                && let Some((_, query)) = refused.into_inner()
            {
                let text = format!("{WAITING} reads wait already; ask again in a moment");
                query.ticket.refuse(Error::of(ErrorCode::Busy, text).retry_after(200));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imflow_kind::testing::Answers;
    use imflow_proto::record::{Ask, Scopes, Session};
    use imflow_proto::wire::envelope::Body;

    #[test]
    fn a_full_queue_answers_busy_at_once() {
        let (queue, _inbox) = flume::bounded(1);
        let mut intake = ReaderIntake { worker: 0, queue };
        let answers = Arc::new(Answers::default());
        let session = Arc::new(Session {
            number: 1,
            user_id: "a".into(),
            device_id: "d".into(),
            scopes: Scopes::default(),
        });
        let query = |id| {
            Record::Query(Arc::new(Query {
                ticket: answers.ticket(id),
                session: Arc::clone(&session),
                ask: Ask::Conversations(Default::default()),
            }))
        };
        intake.on_batch(Time::default(), 0, &mut vec![query(1), query(2)]);
        let told = answers.take();
        assert!(
            matches!(&told[..], [(2, Body::Error(error))] if error.code() == ErrorCode::Busy && error.retryable),
            "{told:?}"
        );
    }
}
