//! Feeds the graph: everybody online, conversations created, messages made beforehand.
//!
//! One thread feeds and answers, as a gateway would. What is under way is bounded by the credit of the
//! graph's own ingest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use imflow_kind::{Applied, Injector};
use imflow_proto::record::{Command, Scopes, Session, SessionEvent, Submission, Wish};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, ConversationType, MessageType, Role};
use imflow_proto::{Record, Requester, Ticket};

use super::gateway::{Gateway, Timing};
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::machine::Threads;
use crate::names::{self, MessageId};
use crate::report::grouped;
use crate::text::{self, Text};

/// Output ports of the kind `websocket`.
const MESSAGES: usize = 0;
const COMMANDS: usize = 1;
const SESSIONS: usize = 2;
/// There is one.
const WORKER: usize = 0;
/// Records that enter together, as from connections that were read in one go.
const BATCH: usize = 128;
const TEXT_BYTES: usize = 256;
/// Each user is in so many conversations.
const CONVERSATIONS_PER_USER: u32 = 5;
/// A graph that gives no answer for so long has lost one.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) conversations: u32,
    pub(super) members: u32,
}

/// What the replies add up to.
#[derive(Default)]
struct Replies {
    acked: AtomicU64,
    seqs: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
    first_error: std::sync::OnceLock<String>,
}

impl Requester for Replies {
    fn answer(&self, _id: u64, body: Body) {
        match body {
            Body::Ack(ack) => {
                self.acked.fetch_add(1, Ordering::Relaxed);
                self.seqs.fetch_add(ack.seq, Ordering::Relaxed);
            }
            Body::Error(error) => {
                self.first_error.get_or_init(|| format!("{}: {}", error.code().as_str_name(), error.message));
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.done.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// One round at full speed.
pub(super) struct Round {
    pub(super) elapsed: Duration,
    pub(super) threads: Threads,
}

pub(super) struct Load {
    gateway: Arc<Gateway>,
    injector: Arc<dyn Injector>,
    replies: Arc<Replies>,
    size: Size,
    sessions: Vec<Arc<Session>>,
    /// The last local seq of each user.
    locals: Vec<u32>,
    texts: Vec<Text>,
    base_ms: u64,
    sent: u64,
}

/// A message that waits for its turn: who sends it, and what.
type Made = (Arc<Session>, wire::Send);

impl Load {
    pub(super) fn new(gateway: Arc<Gateway>, size: Size) -> Result<Self, Failure> {
        let users = (size.conversations * size.members).div_ceil(CONVERSATIONS_PER_USER).max(size.members);
        let scopes = Scopes { send: true, read: true, create: true, admin: false };
        let session = |user: u32| Session {
            number: u64::from(user) + 1,
            user_id: names::user(user).into(),
            device_id: names::device(user).into(),
            scopes,
        };
        Ok(Self {
            injector: gateway.injector()?,
            gateway,
            replies: Arc::default(),
            size,
            sessions: (0..users).map(|user| Arc::new(session(user))).collect(),
            locals: vec![0; users as usize],
            texts: text::plain(TEXT_BYTES),
            base_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64),
            sent: 0,
        })
    }

    /// Brings everybody online and creates the conversations.
    pub(super) fn populate(&mut self) -> Result<(), Failure> {
        self.gateway.answer_here();
        let online = |session: &Arc<Session>| {
            let session = Arc::clone(session);
            Record::SessionEvent(Arc::new(SessionEvent { session, online: true, at: self.base_ms as i64 }))
        };
        let applied: Applied = Arc::new(());
        let processed = Arc::downgrade(&applied);
        self.injector.send_and_track(WORKER, SESSIONS, self.sessions.iter().map(online).collect(), applied);
        for conversation in 0..self.size.conversations {
            let record = self.creation(conversation)?;
            self.injector.send(WORKER, COMMANDS, vec![record]);
        }
        let wanted = u64::from(self.size.conversations);
        self.answer_until("conversations to be created", |load| load.replies.done.load(Ordering::Relaxed) == wanted)?;
        self.answer_until("everybody to be online", |_| processed.strong_count() == 0)
    }

    fn creation(&self, conversation: u32) -> Result<Record, Failure> {
        let member = |place| wire::MemberInfo {
            user_id: self.sessions[self.user(conversation, place)].user_id.to_string(),
            role: Role::Member.into(),
        };
        let members = (0..self.size.members).map(member).collect();
        let admin = Scopes { admin: true, ..Scopes::default() };
        let session = Session { number: 0, user_id: "admin".into(), device_id: "bench".into(), scopes: admin };
        Ok(Record::Command(Arc::new(Command {
            ticket: self.ticket(0, COMMANDS, 256)?,
            session: Arc::new(session),
            conversation_id: names::conversation(conversation),
            wish: Wish::Create { kind: ConversationType::Group, name: String::new(), members },
        })))
    }

    /// Sends so many messages as fast as credit allows, until all are answered.
    pub(super) fn saturate(&mut self, messages: u32) -> Result<Round, Failure> {
        let made: Vec<Made> = (0..messages).map(|_| self.make()).collect();
        let goal = self.answered() + u64::from(messages);
        let before = Threads::now();
        let begin = Instant::now();
        let mut batch = Vec::with_capacity(BATCH);
        for (session, send) in made {
            let ticket = self.ticket(0, MESSAGES, send.text.len())?;
            batch.push(Record::Submission(Arc::new(Submission { ticket, session, send })));
            if batch.len() == BATCH {
                self.injector.send(WORKER, MESSAGES, std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                self.answer();
            }
        }
        self.injector.send(WORKER, MESSAGES, batch);
        self.answer_until("acks", |load| load.answered() == goal)?;
        let elapsed = begin.elapsed();
        let threads = Threads::now().since(&before);
        self.delivered()?;
        Ok(Round { elapsed, threads })
    }

    /// Sends messages at a fixed rate and times each from when it was due until its ack was pushed.
    pub(super) fn open_loop(&mut self, rate: u64, length: Duration) -> Result<Histogram, Failure> {
        // Else a sleep may last 50 us longer than asked.
        let shortest = std::num::NonZeroU64::MIN;
        let slack = rustix::thread::set_current_timer_slack(Some(shortest));
        slack.map_err(|error| Failure::new(format!("setting the timer slack: {error}")))?;
        let total = rate * length.as_secs();
        let made: Vec<Made> = (0..total).map(|_| self.make()).collect();
        let goal = self.answered() + total;
        let every_ns = 1_000_000_000 / rate;
        let begin = Instant::now() + Duration::from_millis(10);
        self.gateway.time(Some(Timing { begin, every_ns, latencies: Histogram::default() }));
        for (number, (session, send)) in (0u64..).zip(made) {
            let due = begin + Duration::from_nanos(number * every_ns);
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            let ticket = self.ticket(number, MESSAGES, send.text.len())?;
            let record = Record::Submission(Arc::new(Submission { ticket, session, send }));
            self.injector.send(WORKER, MESSAGES, vec![record]);
            self.answer();
        }
        self.answer_until("acks", |load| load.answered() == goal)?;
        self.delivered()?;
        let timing = self.gateway.time(None);
        Ok(timing.map(|timing| timing.latencies).unwrap_or_default())
    }

    /// Broken promises: refusals, gaps or repeats in the seqs, lost or doubled deliveries.
    pub(super) fn verify(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if let Some(error) = self.replies.first_error.get() {
            let count = grouped(self.replies.refused.load(Ordering::Relaxed));
            broken.push(format!("refused: {count} messages, the first with {error}"));
        }
        let (found, expected) = (self.replies.seqs.load(Ordering::Relaxed), self.expected_seqs());
        if found != expected {
            broken.push(format!("gaps: the seqs of all acks add up to {found} instead of {expected}"));
        }
        let (found, expected) = (self.recipients(), self.expected_recipients());
        if found != expected {
            broken.push(format!("lost or duplicated: {found} receivers instead of {expected}"));
        }
        broken
    }

    pub(super) fn summary(&self) -> String {
        let (messages, receivers) = (grouped(self.answered()), grouped(self.recipients()));
        format!("{messages} messages answered, {receivers} receivers, {} refused", self.replies.refused.load(Ordering::Relaxed))
    }

    /// Messages go round the conversations, so their numbers differ by at most one.
    fn expected_seqs(&self) -> u64 {
        let (each, more) = (self.sent / u64::from(self.size.conversations), self.sent % u64::from(self.size.conversations));
        let sum = |messages: u64| messages * (messages + 1) / 2;
        more * sum(each + 1) + (u64::from(self.size.conversations) - more) * sum(each)
    }

    fn expected_recipients(&self) -> u64 {
        self.sent * u64::from(self.size.members - 1)
    }

    fn recipients(&self) -> u64 {
        self.gateway.recipients.load(Ordering::Relaxed)
    }

    fn answered(&self) -> u64 {
        self.replies.acked.load(Ordering::Relaxed) + self.replies.refused.load(Ordering::Relaxed)
    }

    fn user(&self, conversation: u32, place: u32) -> usize {
        (conversation as usize * self.size.members as usize + place as usize) % self.sessions.len()
    }

    fn make(&mut self) -> Made {
        let conversations = u64::from(self.size.conversations);
        let conversation = (self.sent % conversations) as u32;
        let place = (self.sent / conversations % u64::from(self.size.members)) as u32;
        let user = self.user(conversation, place);
        self.sent += 1;
        self.locals[user] += 1;
        let mut client_msg_id = String::with_capacity(48);
        let id = MessageId { session: user as u32, local: self.locals[user] };
        names::write_client_msg_id(&mut client_msg_id, user as u32, id, self.base_ms);
        let send = wire::Send {
            conversation_id: names::conversation(conversation),
            client_msg_id,
            r#type: MessageType::Text.into(),
            text: self.texts[self.sent as usize % self.texts.len()].text.clone(),
            payload: Default::default(),
        };
        (Arc::clone(&self.sessions[user]), send)
    }

    /// Takes credit, answering what comes back while there is none.
    fn ticket(&self, id: u64, port: usize, bytes: usize) -> Result<Ticket, Failure> {
        let since = Instant::now();
        loop {
            if let Ok(credit) = self.injector.credit(WORKER, port, bytes) {
                return Ok(Ticket::new(id, Arc::clone(&self.replies) as Arc<dyn Requester>, Some(credit)));
            }
            if since.elapsed() > PATIENCE {
                return Err(Failure::new(format!("the graph has given no credit for {PATIENCE:?}")));
            }
            self.wait_and_answer();
        }
    }

    fn delivered(&self) -> Result<(), Failure> {
        self.answer_until("deliveries", |load| load.recipients() >= load.expected_recipients())
    }

    fn answer_until(&self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let since = Instant::now();
        while !done(self) {
            if since.elapsed() > PATIENCE {
                let broken = self.verify().join("; ");
                return Err(Failure::new(format!("waited for {what} for {PATIENCE:?} in vain: {broken}")));
            }
            self.wait_and_answer();
        }
        Ok(())
    }

    fn wait_and_answer(&self) {
        std::thread::park_timeout(Duration::from_millis(1));
        self.answer();
    }

    /// Answers what came back, as the gateway's dispatcher does.
    fn answer(&self) {
        for record in self.gateway.take() {
            match record {
                Record::Committed(committed) => {
                    if let Some(ticket) = &committed.ticket {
                        ticket.answer(Body::Ack(committed.ack()));
                    }
                }
                Record::Reply(reply) => {
                    reply.ticket.answer(reply.body.clone());
                }
                Record::Rejection(rejection) => {
                    rejection.ticket().refuse(rejection.error.clone());
                }
                Record::Delivery(delivery) => self.gateway.count(&delivery),
                _ => {}
            }
        }
    }
}
