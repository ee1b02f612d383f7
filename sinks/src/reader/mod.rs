//! Sink `reader`: history, sync and lists, read off the message path.
//!
//! A bounded queue feeds two threads that may wait for the disk; the worker never does. A query that
//! finds the queue full is answered BUSY at once. Replies leave in the order they are ready, each under
//! its command's id.

mod answer;
mod history;
mod missed;
mod simulated;
#[cfg(test)]
mod testing;
mod timeline;

use std::sync::Arc;
use std::thread::JoinHandle;

use imflow_kind::{
    Description, Family, Form, Injector, Intake, IoContext, Key, Kind, Limit, Opt, OptType, Port,
    RoleName, Roles, Sink, StartError, State, Store, Time,
};
use imflow_proto::record::{Query, Reply};
use imflow_proto::wire::{Error, ErrorCode};
use imflow_proto::{Record, RecordType};

use answer::answer;

/// `queries: Query` → `pages: Reply`
///
/// Errors: INVALID, FORBIDDEN, UNKNOWN_CONVERSATION, NOT_A_MEMBER, BANNED, BUSY, INTERNAL. Source: SPEC M7.
pub static DESCRIPTION: Description = Description {
    name: "reader",
    family: Family::Sink,
    summary: "answers history, timelines, sync, resume and lists from a store, off the message path",
    doc: "`history` gives at most 200 messages a page (50 unless asked), `sync` takes at most 200 cursors and gives 500 messages \
          over all of them, `conversations` lists at most 1,000 a page, by id. A page is closed at 512 KiB, so that it fits a frame; `more` says \
          that the same question, asked from the last item on, goes on. Only members read a conversation.\n\n\
          `resume` is a sync from the cursors that the store keeps; one answer looks at 1,000 conversations. `timeline` \
          merges all conversations of the caller by time, up to 10,000; `cursors` lists those of a conversation, at most \
          1,000 a page.",
    // Takes queries in the stage that they come from: those of clients never enter the message path.
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of("queries", &[RecordType::Query], "what clients ask").pays()],
    outputs: &[Port::of("pages", &[RecordType::Reply], "the answers")],
    options: &[Opt::required(
        "of",
        OptType::Reference(RoleName::Store),
        "the sink that holds the messages",
    )],
    provides: &[],
    limits: &[
        Limit { what: "queries waiting", bound: "4,096", policy: "the next is answered BUSY" },
        Limit { what: "queries running", bound: "2", policy: "the next waits" },
        Limit {
            what: "conversations of a timeline",
            bound: "10,000",
            policy: "TOO_LARGE: read them with `history`",
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
const THREADS: usize = 2;

/// The kind `reader`.
pub fn kind() -> Kind {
    Kind::sink(&DESCRIPTION, build).simulated_by(Form::Sink(Arc::new(simulated::build)))
}

fn build(context: &IoContext) -> Result<Box<dyn Sink>, StartError> {
    let (queue, inbox) = flume::bounded(WAITING);
    let (name, of) = (context.name.clone(), context.options.text("of").to_owned());
    Ok(Box::new(Reader {
        name,
        of,
        roles: context.roles.clone(),
        queue,
        inbox,
        threads: Vec::new(),
    }))
}

/// A query and the worker that gave it; `None` ends one thread.
type Waiting = Option<(usize, Arc<Query>)>;

struct Reader {
    name: String,
    of: String,
    roles: Roles,
    queue: flume::Sender<Waiting>,
    inbox: flume::Receiver<Waiting>,
    threads: Vec<JoinHandle<()>>,
}

impl Sink for Reader {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        Box::new(ReaderIntake { worker, queue: self.queue.clone() })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let store = store_of(&self.roles, &self.name, &self.of)?;
        for number in 0..THREADS {
            let (inbox, store, injector) =
                (self.inbox.clone(), Arc::clone(&store), Arc::clone(&injector));
            let thread = std::thread::Builder::new().name(format!("{}-{number}", self.name));
            let thread = thread.spawn(move || run(&inbox, &*store, &*injector));
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

fn run(inbox: &flume::Receiver<Waiting>, store: &dyn Store, injector: &dyn Injector) {
    while let Ok(Some((worker, query))) = inbox.recv() {
        if let Some(reply) = reply_to(&query, store) {
            injector.send(worker, 0, vec![reply]);
        }
    }
}

/// The store that the option `of` names.
fn store_of(roles: &Roles, name: &str, of: &str) -> Result<Arc<dyn Store>, StartError> {
    roles.find(of).ok_or_else(|| {
        StartError::new(format!("sink `{name}` reads from `{of}`, which holds no messages; `of` must name a sink of kind `log`"))
    })
}

/// The answer to a query, if anybody still waits: the gateway may have answered TIMEOUT, or the session
/// may be gone.
fn reply_to(query: &Query, store: &dyn Store) -> Option<Record> {
    let ticket = query.ticket.clone();
    (!ticket.is_answered())
        .then(|| Record::Reply(Arc::new(Reply { ticket, body: answer(store, query) })))
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
