//! Publishes a user's presence once it has been still for a while, to the sessions that follow the user.
//!
//! A user who comes and goes inside the window is noticed by nobody: only the state at the window's end
//! leaves, and only to followers who believe otherwise. A new follower is told the present state at once,
//! which inside a window may differ from the last published one; that is noted, so that nobody is left
//! with an old state. State is bounded by the users online, those that changed within one window, and
//! the subscriptions.
//!
//! What users do on other nodes is told by whoever knows of it, on a port of its own: a user is online who
//! is so here or elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Out, Port,
    StartError, State, Time,
};
use imflow_proto::record::{OnlineChange, PresenceChange, Reply, Subscription};
use imflow_proto::wire::{Error, ErrorCode, PresenceList, PresenceNotice, envelope::Body};
use imflow_proto::{Record, RecordType, id};
use rapidhash::{RapidHashMap, RapidHashSet};

/// `online: Online`, `subscriptions: Subscription`, `elsewhere: Online` → `changes: Presence`, `replies: Reply`
///
/// Errors: INVALID (as a reply). Source: SPEC P3.
pub const DESCRIPTION: Description = Description {
    name: "presence",
    family: Family::Operator,
    summary: "publishes presence, debounced, to those who follow it",
    doc: "A session follows a set of users; a new set replaces the old one and is answered with their present state. \
          Changes inside the window `debounce` are merged: what is published is the state at its end.\n\n\
          A subscription may name conversations when it comes by way of a `members` sink, which adds their members. With several nodes a \
          `redis_routes` sink tells on `elsewhere` who is online on the others.",
    key: Key::User,
    state: State::Volatile,
    inputs: &[
        Port::of("online", &[RecordType::Online], "users that came online or went offline"),
        Port::of("subscriptions", &[RecordType::Subscription], "who follows whom"),
        Port::of("elsewhere", &[RecordType::Online], "followed users, on other nodes").optional(),
    ],
    outputs: &[
        Port::of(
            "changes",
            &[RecordType::Presence],
            "settled changes and the sessions that are told",
        ),
        Port::of("replies", &[RecordType::Reply], "answers to subscriptions"),
    ],
    options: &[
        Opt::new(
            "debounce",
            OptType::Duration(0, 600_000),
            "3s",
            "how long a change must last to be noticed",
        ),
        Opt::new(
            "followed",
            OptType::Integer(1, 10_000),
            "1000",
            "users that one session follows, members of conversations among them",
        ),
        Opt::new(
            "follows",
            OptType::Integer(1, 1_000_000_000),
            "10000000",
            "pairs of a session and a user that it follows, over all sessions",
        ),
    ],
    provides: &[],
    limits: &[
        Limit { what: "users that a session follows", bound: "`followed`", policy: "INVALID" },
        Limit {
            what: "followed users over all sessions",
            bound: "`follows`",
            policy: "BUSY; the session keeps what it followed",
        },
        Limit {
            what: "users that are online elsewhere",
            bound: "those that are followed",
            policy: "others are not told of",
        },
    ],
    example: "[operators.online]\n\
              kind = \"presence\"\n\
              inputs = { online = [\"routes\"], subscriptions = [\"followed\"] }\n\
              debounce = \"5s\"\n",
    ..Description::EMPTY
};

const ONLINE: usize = 0;
const ELSEWHERE: usize = 2;
const CHANGES: usize = 0;
const REPLIES: usize = 1;

pub(crate) struct Presence {
    bounds: Bounds,
    /// Here.
    online: RapidHashSet<Arc<str>>,
    /// On other nodes: those of whom that was told, and when they were last heard of.
    elsewhere: RapidHashMap<Arc<str>, i64>,
    unsettled: RapidHashMap<Arc<str>, Unsettled>,
    deadlines: BTreeMap<Time, Vec<Arc<str>>>,
    followers: RapidHashMap<Arc<str>, RapidHashSet<u64>>,
    /// By session.
    followed: RapidHashMap<u64, Vec<Arc<str>>>,
    /// Pairs of a session and a user.
    follows: usize,
}

struct Bounds {
    debounce_ms: u64,
    followed: usize,
    follows: usize,
}

/// A user whose window is open.
struct Unsettled {
    /// What followers believe since the last publication.
    published: bool,
    /// Sessions that were told something else since, by their reply.
    told: RapidHashMap<u64, bool>,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let options = context.options;
    Ok(Box::new(Presence::new(Bounds {
        debounce_ms: options.duration("debounce").as_millis() as u64,
        followed: options.integer("followed") as usize,
        follows: options.integer("follows") as usize,
    })))
}

impl Operator for Presence {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            match record {
                Record::Online(change) if port == ONLINE => self.flip(change, now),
                Record::Online(change) if port == ELSEWHERE => self.flip_elsewhere(change, now),
                Record::Subscription(subscription) => self.subscribe(&subscription, out),
                record => crate::misrouted("presence", &record),
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.deadlines.keys().next().copied()
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        while let Some(due) = self.deadlines.first_entry().filter(|due| *due.key() <= now) {
            for user in due.remove() {
                self.settle(user, out);
            }
        }
    }
}

impl Presence {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            online: RapidHashSet::default(),
            elsewhere: RapidHashMap::default(),
            unsettled: RapidHashMap::default(),
            deadlines: BTreeMap::new(),
            followers: RapidHashMap::default(),
            followed: RapidHashMap::default(),
            follows: 0,
        }
    }

    fn is_online(&self, user: &str) -> bool {
        self.online.contains(user) || self.elsewhere.contains_key(user)
    }

    fn flip(&mut self, change: OnlineChange, now: Time) {
        let before = self.is_online(&change.user_id);
        match change.online {
            true => self.online.insert(Arc::clone(&change.user_id)),
            false => self.online.remove(&change.user_id),
        };
        self.open_window(change.user_id, before, now);
    }

    fn flip_elsewhere(&mut self, change: OnlineChange, now: Time) {
        let before = self.is_online(&change.user_id);
        match change.online {
            true => self.elsewhere.insert(Arc::clone(&change.user_id), change.last_active_at),
            false => self.elsewhere.remove(&change.user_id),
        };
        self.open_window(change.user_id, before, now);
    }

    /// The first change opens the window; later ones only replace the outcome.
    fn open_window(&mut self, user: Arc<str>, before: bool, now: Time) {
        if before != self.is_online(&user) && !self.unsettled.contains_key(&user) {
            let unsettled = Unsettled { published: before, told: RapidHashMap::default() };
            self.unsettled.insert(Arc::clone(&user), unsettled);
            let end = now.after_ms(self.bounds.debounce_ms);
            self.deadlines.entry(end).or_default().push(user);
        }
    }

    /// When a user was last heard of elsewhere; 0: not known here.
    fn last_active_at(&self, user: &str) -> i64 {
        if self.online.contains(user) { 0 } else { self.elsewhere.get(user).copied().unwrap_or(0) }
    }

    /// Closes a user's window: whoever believes otherwise is told.
    fn settle(&mut self, user: Arc<str>, out: &mut Out) {
        let Some(Unsettled { published, told }) = self.unsettled.remove(&user) else { return };
        let online = self.is_online(&user);
        let followers = self.followers.get(&user).into_iter().flatten();
        let mut sessions: Vec<u64> = followers
            .filter(|session| *told.get(session).unwrap_or(&published) != online)
            .copied()
            .collect();
        if !sessions.is_empty() {
            sessions.sort_unstable();
            let (last_active_at, sessions) = (self.last_active_at(&user), sessions.into());
            let change = PresenceChange { user_id: user, online, last_active_at, sessions };
            out.send(CHANGES, Record::Presence(Arc::new(change)));
        }
    }

    fn subscribe(&mut self, subscription: &Subscription, out: &mut Out) {
        let session = subscription.session.number;
        if let Some(error) = self.fault(subscription) {
            return reply(out, subscription, Body::Error(error));
        }
        for user in self.followed.remove(&session).unwrap_or_default() {
            self.unfollow(&user, session);
        }
        let mut items = Vec::with_capacity(subscription.user_ids.len());
        let mut users: Vec<Arc<str>> = Vec::with_capacity(subscription.user_ids.len());
        for user_id in &subscription.user_ids {
            let known = self.followers.get_key_value(&**user_id).map(|(user, _)| Arc::clone(user));
            let user = known.unwrap_or_else(|| user_id.as_str().into());
            if self.followers.entry(Arc::clone(&user)).or_default().insert(session) {
                let (online, last_active_at) = (self.is_online(&user), self.last_active_at(&user));
                let user_id = user_id.clone();
                items.push(PresenceNotice { user_id, online, last_active_at });
                if let Some(unsettled) = self.unsettled.get_mut(&user) {
                    unsettled.told.insert(session, online);
                }
                users.push(user);
            }
        }
        if !users.is_empty() {
            self.follows += users.len();
            self.followed.insert(session, users);
        }
        reply(out, subscription, Body::PresenceList(PresenceList { items }));
    }

    fn fault(&self, subscription: &Subscription) -> Option<Error> {
        let Bounds { followed, follows, .. } = self.bounds;
        let user_ids = &subscription.user_ids;
        if !subscription.conversation_ids.is_empty() {
            let sentence = "nobody here knows the members of `conversationIds`: the topology needs a sink of kind `members` before `presence`";
            return Some(Error::of(ErrorCode::Unsupported, sentence));
        }
        if user_ids.len() > followed {
            let sentence = format!(
                "a session follows at most {followed} users and these are {}; follow fewer",
                user_ids.len()
            );
            return Some(Error::of(ErrorCode::Invalid, sentence));
        }
        let before = self.followed.get(&subscription.session.number).map_or(0, Vec::len);
        if self.follows - before + user_ids.len() > follows {
            let sentence = "this node follows as many users as it may; follow fewer, or try again";
            return Some(Error::of(ErrorCode::Busy, sentence).retry_after(10_000));
        }
        let bad = user_ids.iter().position(|user| !id::is_valid(user))?;
        let sentence = format!("userIds[{bad}] is not a valid user id; remove it");
        Some(Error::of(ErrorCode::Invalid, sentence))
    }

    fn unfollow(&mut self, user: &Arc<str>, session: u64) {
        if let Some(unsettled) = self.unsettled.get_mut(user) {
            unsettled.told.remove(&session);
        }
        if let Some(sessions) = self.followers.get_mut(user) {
            self.follows -= usize::from(sessions.remove(&session));
            if sessions.is_empty() {
                self.followers.remove(user);
            }
        }
    }
}

/// A session that has ended waits for no answer.
fn reply(out: &mut Out, subscription: &Subscription, body: Body) {
    if let Some(ticket) = subscription.ticket.clone() {
        out.send(REPLIES, Record::Reply(Arc::new(Reply { ticket, body })));
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::{Driver, drive};
    use imflow_proto::record::Session;

    use super::*;
    use crate::testing::{Sender, error_of};

    fn presence() -> Driver<Presence> {
        let bounds = Bounds { debounce_ms: 3_000, followed: 1_000, follows: 1_001 };
        drive(Presence::new(bounds), &DESCRIPTION)
    }

    fn flip(driver: &mut Driver<Presence>, user: &str, online: bool) {
        flip_on(driver, "online", user, online);
    }

    fn flip_on(driver: &mut Driver<Presence>, port: &str, user: &str, online: bool) {
        let change = OnlineChange { user_id: user.into(), online, last_active_at: 7 };
        driver.send(port, [Record::Online(change)]);
    }

    fn subscription(number: u64, user_ids: Vec<String>) -> Subscription {
        let bob = Sender::new("bob", "phone");
        let session = Arc::new(Session { number, ..(*bob.session).clone() });
        let (ticket, conversation_ids) = (Some(bob.answers.ticket(1)), Vec::new());
        Subscription { ticket, session, user_ids, conversation_ids }
    }

    fn refused(driver: &mut Driver<Presence>, subscription: Subscription) -> ErrorCode {
        driver.send("subscriptions", [Record::Subscription(Arc::new(subscription))]);
        error_of(&driver.take("replies")[0]).code()
    }

    /// Follows users and gives the answer's states.
    fn follow(driver: &mut Driver<Presence>, number: u64, users: &[&str]) -> Vec<bool> {
        let subscription = subscription(number, users.iter().map(|user| (*user).into()).collect());
        driver.send("subscriptions", [Record::Subscription(Arc::new(subscription))]);
        let Record::Reply(reply) = driver.take("replies").remove(0) else { panic!("not a reply") };
        let Body::PresenceList(list) = &reply.body else { panic!("{reply:?}") };
        list.items.iter().map(|item| item.online).collect()
    }

    fn changes(driver: &mut Driver<Presence>) -> Vec<(bool, Vec<u64>)> {
        let change = |record| match record {
            Record::Presence(change) => (change.online, change.sessions.to_vec()),
            other => panic!("{other:?}"),
        };
        driver.take("changes").into_iter().map(change).collect()
    }

    #[test]
    fn a_flapping_user_is_noticed_by_nobody() {
        let mut driver = presence();
        follow(&mut driver, 1, &["alice"]);
        flip(&mut driver, "alice", true);
        driver.pass(1_000);
        flip(&mut driver, "alice", false);
        driver.pass(10_000);
        assert_eq!(changes(&mut driver), []);
        assert!(driver.operator.unsettled.is_empty() && driver.operator.deadlines.is_empty());
    }

    #[test]
    fn the_state_at_the_windows_end_goes_to_the_followers() {
        let mut driver = presence();
        follow(&mut driver, 1, &["alice"]);
        follow(&mut driver, 2, &["alice", "alice"]);
        flip(&mut driver, "alice", true);
        driver.pass(2_999);
        assert_eq!(changes(&mut driver), []);
        driver.pass(1);
        assert_eq!(changes(&mut driver), [(true, vec![1, 2])]);
        follow(&mut driver, 2, &[]);
        flip(&mut driver, "alice", false);
        driver.pass(3_000);
        assert_eq!(changes(&mut driver), [(false, vec![1])]);
    }

    #[test]
    fn who_follows_inside_a_window_is_not_left_with_an_old_state() {
        let mut driver = presence();
        flip(&mut driver, "alice", true);
        driver.pass(3_000);
        follow(&mut driver, 1, &["alice"]);
        flip(&mut driver, "alice", false);
        assert_eq!(follow(&mut driver, 2, &["alice"]), [false]);
        flip(&mut driver, "alice", true);
        driver.pass(3_000);
        assert_eq!(changes(&mut driver), [(true, vec![2])], "session 1 has always believed so");
    }

    #[test]
    fn a_session_that_ended_leaves_nothing_and_a_set_is_bounded() {
        let mut driver = presence();
        follow(&mut driver, 1, &["alice", "bob"]);
        follow(&mut driver, 1, &[]);
        assert!(driver.operator.followers.is_empty() && driver.operator.followed.is_empty());
        let users = |count| (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>();
        assert_eq!(refused(&mut driver, subscription(1, users(1_001))), ErrorCode::Invalid);
        let conversation_ids = vec!["lobby".into()];
        let unknown = Subscription { conversation_ids, ..subscription(1, users(1)) };
        assert_eq!(refused(&mut driver, unknown), ErrorCode::Unsupported);
        // Over all sessions it is bounded too; a set that takes the place of another counts once.
        for number in [1, 1] {
            driver.send(
                "subscriptions",
                [Record::Subscription(Arc::new(subscription(number, users(1_000))))],
            );
            driver.take("replies");
        }
        assert_eq!(refused(&mut driver, subscription(2, users(2))), ErrorCode::Busy);
        assert_eq!(follow(&mut driver, 2, &["u1"]), [false]);
        assert_eq!(driver.operator.follows, 1_001);
    }

    #[test]
    fn a_user_is_online_here_or_elsewhere_and_moving_is_noticed_by_nobody() {
        let mut driver = presence();
        follow(&mut driver, 1, &["alice"]);
        flip_on(&mut driver, "elsewhere", "alice", true);
        driver.pass(3_000);
        let Record::Presence(change) = driver.take("changes").remove(0) else { panic!("a change") };
        assert_eq!((change.online, change.last_active_at), (true, 7));
        // Her node fails, and she comes here in time.
        flip_on(&mut driver, "elsewhere", "alice", false);
        driver.pass(2_000);
        flip(&mut driver, "alice", true);
        driver.pass(10_000);
        assert_eq!(changes(&mut driver), []);
        flip(&mut driver, "alice", false);
        driver.pass(3_000);
        assert_eq!(changes(&mut driver), [(false, vec![1])]);
    }
}
