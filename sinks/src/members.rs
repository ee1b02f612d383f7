//! Sink `members`: puts the members of conversations into subscriptions to presence.
//!
//! One thread reads the store and passes subscriptions on in their order, those without a conversation too:
//! the end of a session must not overtake what the session has asked for. In virtual time the worker does so
//! itself.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use imflow_kind::{
    Description, Family, Form, Injector, Intake, IoContext, Key, Kind, Limit, Opt, OptType, Port,
    RoleName, Sink, StartError, State, Store, StoreError, Time,
};
use imflow_proto::record::{Reply, Subscription};
use imflow_proto::wire::{Error, ErrorCode, Role, envelope::Body};
use imflow_proto::{Record, RecordType};

/// `subscriptions: Subscription` → `subscriptions: Subscription`, `refused: Reply`
///
/// Errors: INVALID, UNKNOWN_CONVERSATION, NOT_A_MEMBER, INTERNAL. Source: SPEC P3.
pub static DESCRIPTION: Description = Description {
    name: "members",
    family: Family::Sink,
    summary: "lets sessions follow the presence of a conversation's members",
    doc: "A subscription to presence may name conversations that the caller is a member of: this sink reads who their members are, adds them to the \
          users that the session follows, and passes the subscription on to `presence`. They are the members of this moment: a client that learns of \
          a change by `conversationChanged` subscribes again.",
    key: Key::User,
    state: State::None,
    inputs: &[Port::of("subscriptions", &[RecordType::Subscription], "who follows whom").pays()],
    outputs: &[
        Port::of("subscriptions", &[RecordType::Subscription], "the same, by users alone"),
        Port::of("refused", &[RecordType::Reply], "answers to those that cannot be"),
    ],
    options: &[
        Opt::required("of", OptType::Reference(RoleName::Store), "the sink that knows the members"),
        Opt::new(
            "largest",
            OptType::Integer(1, 10_000),
            "1000",
            "members of a conversation that can be followed",
        ),
    ],
    limits: &[
        Limit {
            what: "subscriptions waiting",
            bound: "the credit of the gateway, and the sessions that end",
            policy: "the socket is not read, then BUSY",
        },
        Limit {
            what: "members of a conversation that is followed",
            bound: "`largest`",
            policy: "INVALID: name the users that are of interest",
        },
    ],
    example: "[sinks.followed]\n\
              kind = \"members\"\n\
              of = \"store\"\n\
              inputs = [\"clients.subscriptions\"]\n\
              \n\
              [operators.online]\n\
              kind = \"presence\"\n\
              inputs = { online = [\"routes\"], subscriptions = [\"followed\"] }\n",
    ..Description::EMPTY
};

const SUBSCRIPTIONS: usize = 0;
const REFUSED: usize = 1;

/// The kind `members`.
pub fn kind() -> Kind {
    let simulated =
        |context: &IoContext| Ok(Box::new(Members::new(context, false)) as Box<dyn Sink>);
    Kind::sink(&DESCRIPTION, |context| Ok(Box::new(Members::new(context, true))))
        .simulated_by(Form::Sink(Arc::new(simulated)))
}

/// `None` ends the thread.
type Waiting = Option<(usize, Vec<Record>)>;

struct Members {
    context: IoContext,
    threaded: bool,
    desk: Arc<OnceLock<Desk>>,
    queue: flume::Sender<Waiting>,
    inbox: flume::Receiver<Waiting>,
    thread: Option<JoinHandle<()>>,
}

impl Members {
    fn new(context: &IoContext, threaded: bool) -> Self {
        // Credit bounds it: what waits is owed a reply, or is the end of a session.
        let (queue, inbox) = flume::unbounded();
        let context = context.clone();
        Self { context, threaded, desk: Arc::default(), queue, inbox, thread: None }
    }
}

impl Sink for Members {
    fn intake(&mut self, worker: usize) -> Box<dyn Intake> {
        let queue = self.threaded.then(|| self.queue.clone());
        Box::new(MembersIntake { worker, queue, desk: Arc::clone(&self.desk) })
    }

    fn start(&mut self, injector: Arc<dyn Injector>) -> Result<(), StartError> {
        let (name, of) = (&self.context.name, self.context.options.text("of"));
        let store = self.context.roles.find::<Arc<dyn Store>>(of).ok_or_else(|| {
            StartError::new(format!("sink `{name}` reads the members from `{of}`, which has none; `of` must name a sink of kind `log`"))
        })?;
        let largest = self.context.options.integer("largest") as u32;
        self.desk.get_or_init(|| Desk { store, largest, injector });
        if self.threaded {
            let (inbox, desk) = (self.inbox.clone(), Arc::clone(&self.desk));
            let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
                while let (Ok(Some((worker, records))), Some(desk)) = (inbox.recv(), desk.get()) {
                    desk.pass_on(worker, records);
                }
            });
            self.thread = Some(thread.map_err(|error| {
                StartError::new(format!("a thread cannot be started: {error}"))
            })?);
        }
        Ok(())
    }

    fn stop(&mut self) {
        let _ = self.queue.send(None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct MembersIntake {
    worker: usize,
    queue: Option<flume::Sender<Waiting>>,
    /// Known at start, before which nothing comes in.
    desk: Arc<OnceLock<Desk>>,
}

impl Intake for MembersIntake {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>) {
        let records = std::mem::take(records);
        match (&self.queue, self.desk.get()) {
            (Some(queue), _) => drop(queue.send(Some((self.worker, records)))),
            (None, Some(desk)) => desk.pass_on(self.worker, records),
            (None, None) => {}
        }
    }
}

struct Desk {
    store: Arc<dyn Store>,
    largest: u32,
    injector: Arc<dyn Injector>,
}

impl Desk {
    /// Passes subscriptions on, or answers them, in their order.
    fn pass_on(&self, worker: usize, records: Vec<Record>) {
        for record in records {
            let Record::Subscription(subscription) = record else { continue };
            match self.by_users(subscription) {
                Ok(by_users) => {
                    let record = Record::Subscription(by_users);
                    self.injector.send(worker, SUBSCRIPTIONS, vec![record]);
                }
                Err((subscription, error)) => {
                    let Some(ticket) = subscription.ticket.clone() else { continue };
                    let reply = Reply { ticket, body: Body::Error(error) };
                    self.injector.send(worker, REFUSED, vec![Record::Reply(Arc::new(reply))]);
                }
            }
        }
    }

    fn by_users(
        &self,
        mut subscription: Arc<Subscription>,
    ) -> Result<Arc<Subscription>, (Arc<Subscription>, Error)> {
        if subscription.conversation_ids.is_empty() {
            return Ok(subscription);
        }
        let me = &subscription.session.user_id;
        let mut users: BTreeSet<String> = subscription.user_ids.iter().cloned().collect();
        for conversation in &subscription.conversation_ids {
            match self.others(conversation, me) {
                Ok(others) => users.extend(others),
                Err(error) => return Err((subscription, error)),
            }
        }
        let by_users = Arc::make_mut(&mut subscription);
        by_users.user_ids = users.into_iter().collect();
        by_users.conversation_ids.clear();
        Ok(subscription)
    }

    /// The members of a conversation that `me` is one of.
    fn others(&self, conversation: &str, me: &str) -> Result<Vec<String>, Error> {
        let view = self.store.conversation(conversation, me).map_err(|error| internal(&error))?;
        let Some(view) = view else {
            let sentence = format!("no such conversation: `{conversation}`");
            return Err(Error::of(ErrorCode::UnknownConversation, sentence));
        };
        if view.info.role() == Role::Unspecified {
            let sentence = format!("only members follow the presence of `{conversation}`");
            return Err(Error::of(ErrorCode::NotAMember, sentence));
        }
        let (count, largest) = (view.info.member_count, self.largest);
        if count > largest {
            let sentence = format!(
                "`{conversation}` has {count} members and one that is followed has at most {largest}; name users in `userIds`"
            );
            return Err(Error::of(ErrorCode::Invalid, sentence));
        }
        let members = self.store.members(conversation).map_err(|error| internal(&error))?;
        Ok(members.into_iter().map(|it| it.user_id).filter(|user| user != me).collect())
    }
}

fn internal(error: &StoreError) -> Error {
    tracing::error!(%error, "the members of a conversation could not be read");
    Error::of(ErrorCode::Internal, "the store could not be read; the server's log says why")
}
