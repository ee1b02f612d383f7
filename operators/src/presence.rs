//! Publishes a user's presence once it has been still for a while, to the sessions that follow the user.
//!
//! A user who comes and goes inside the window is noticed by nobody: only the state at the window's end
//! leaves, and only to followers who believe otherwise. A new follower is told the present state at once,
//! which inside a window may differ from the last published one; that is noted, so that nobody is left
//! with an old state. State is bounded by the users online, those that changed within one window, and
//! the subscriptions.

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

/// `online: Online`, `subscriptions: Subscription` → `changes: Presence`, `replies: Reply`
///
/// Errors: INVALID (as a reply). Source: SPEC P3.
pub const DESCRIPTION: Description = Description {
    name: "presence",
    family: Family::Operator,
    summary: "publishes presence, debounced, to those who follow it",
    doc: "A session follows a set of users; a new set replaces the old one and is answered with their present state. \
          Changes inside the window `debounce` are merged: what is published is the state at its end.",
    key: Key::User,
    state: State::Volatile,
    inputs: &[
        Port::of("online", &[RecordType::Online], "users that came online or went offline"),
        Port::of("subscriptions", &[RecordType::Subscription], "who follows whom"),
    ],
    outputs: &[
        Port::of(
            "changes",
            &[RecordType::Presence],
            "settled changes and the sessions that are told",
        ),
        Port::of("replies", &[RecordType::Reply], "answers to subscriptions"),
    ],
    options: &[Opt::new(
        "debounce",
        OptType::Duration(0, 600_000),
        "3s",
        "how long a change must last to be noticed",
    )],
    provides: &[],
    limits: &[
        Limit { what: "users that a session follows", bound: "1,000", policy: "INVALID" },
        Limit {
            what: "subscriptions",
            bound: "the live sessions",
            policy: "bounded by the gateway's connections",
        },
    ],
    example: "[operators.online]\n\
              kind = \"presence\"\n\
              inputs = { online = [\"routes\"], subscriptions = [\"clients.subscriptions\"] }\n\
              debounce = \"5s\"\n",
    ..Description::EMPTY
};

const ONLINE: usize = 0;
const CHANGES: usize = 0;
const REPLIES: usize = 1;
const MAX_FOLLOWED: usize = 1_000;

pub(crate) struct Presence {
    debounce_ms: u64,
    online: RapidHashSet<Arc<str>>,
    unsettled: RapidHashMap<Arc<str>, Unsettled>,
    deadlines: BTreeMap<Time, Vec<Arc<str>>>,
    followers: RapidHashMap<Arc<str>, RapidHashSet<u64>>,
    /// By session.
    followed: RapidHashMap<u64, Vec<Arc<str>>>,
}

/// A user whose window is open.
struct Unsettled {
    /// What followers believe since the last publication.
    published: bool,
    /// Sessions that were told something else since, by their reply.
    told: RapidHashMap<u64, bool>,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    Ok(Box::new(Presence::new(context.options.duration("debounce").as_millis() as u64)))
}

impl Operator for Presence {
    fn on_batch(&mut self, now: Time, port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            match record {
                Record::Online(change) if port == ONLINE => self.flip(change, now),
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
    fn new(debounce_ms: u64) -> Self {
        Self {
            debounce_ms,
            online: RapidHashSet::default(),
            unsettled: RapidHashMap::default(),
            deadlines: BTreeMap::new(),
            followers: RapidHashMap::default(),
            followed: RapidHashMap::default(),
        }
    }

    fn flip(&mut self, change: OnlineChange, now: Time) {
        let user = change.user_id;
        let before = match change.online {
            true => !self.online.insert(Arc::clone(&user)),
            false => self.online.remove(&user),
        };
        // The first change opens the window; later ones only replace the outcome.
        if before != change.online && !self.unsettled.contains_key(&user) {
            let unsettled = Unsettled { published: before, told: RapidHashMap::default() };
            self.unsettled.insert(Arc::clone(&user), unsettled);
            self.deadlines.entry(now.after_ms(self.debounce_ms)).or_default().push(user);
        }
    }

    /// Closes a user's window: whoever believes otherwise is told.
    fn settle(&mut self, user: Arc<str>, out: &mut Out) {
        let Some(Unsettled { published, told }) = self.unsettled.remove(&user) else { return };
        let online = self.online.contains(&user);
        let followers = self.followers.get(&user).into_iter().flatten();
        let mut sessions: Vec<u64> = followers
            .filter(|session| *told.get(session).unwrap_or(&published) != online)
            .copied()
            .collect();
        if !sessions.is_empty() {
            sessions.sort_unstable();
            let change = PresenceChange { user_id: user, online, sessions: sessions.into() };
            out.send(CHANGES, Record::Presence(Arc::new(change)));
        }
    }

    fn subscribe(&mut self, subscription: &Subscription, out: &mut Out) {
        if let Some(error) = fault(&subscription.user_ids) {
            return reply(out, subscription, Body::Error(error));
        }
        let session = subscription.session.number;
        for user in self.followed.remove(&session).unwrap_or_default() {
            self.unfollow(&user, session);
        }
        let mut items = Vec::with_capacity(subscription.user_ids.len());
        let mut users: Vec<Arc<str>> = Vec::with_capacity(subscription.user_ids.len());
        for user_id in &subscription.user_ids {
            let known = self.followers.get_key_value(&**user_id).map(|(user, _)| Arc::clone(user));
            let user = known.unwrap_or_else(|| user_id.as_str().into());
            if self.followers.entry(Arc::clone(&user)).or_default().insert(session) {
                let online = self.online.contains(&user);
                items.push(PresenceNotice { user_id: user_id.clone(), online });
                if let Some(unsettled) = self.unsettled.get_mut(&user) {
                    unsettled.told.insert(session, online);
                }
                users.push(user);
            }
        }
        if !users.is_empty() {
            self.followed.insert(session, users);
        }
        reply(out, subscription, Body::PresenceList(PresenceList { items }));
    }

    fn unfollow(&mut self, user: &Arc<str>, session: u64) {
        if let Some(unsettled) = self.unsettled.get_mut(user) {
            unsettled.told.remove(&session);
        }
        if let Some(sessions) = self.followers.get_mut(user) {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.followers.remove(user);
            }
        }
    }
}

fn fault(user_ids: &[String]) -> Option<Error> {
    if user_ids.len() > MAX_FOLLOWED {
        let sentence = format!(
            "a session follows at most {MAX_FOLLOWED} users and {} are named; follow fewer",
            user_ids.len()
        );
        return Some(Error::of(ErrorCode::Invalid, sentence));
    }
    let bad = user_ids.iter().position(|user| !id::is_valid(user))?;
    Some(Error::of(ErrorCode::Invalid, format!("userIds[{bad}] is not a valid user id; remove it")))
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
        drive(Presence::new(3_000), &DESCRIPTION)
    }

    fn flip(driver: &mut Driver<Presence>, user: &str, online: bool) {
        driver.send("online", [Record::Online(OnlineChange { user_id: user.into(), online })]);
    }

    /// Follows users and gives the answer's states.
    fn follow(driver: &mut Driver<Presence>, number: u64, users: &[&str]) -> Vec<bool> {
        let bob = Sender::new("bob", "phone");
        let session = Arc::new(Session { number, ..(*bob.session).clone() });
        let user_ids = users.iter().map(|user| (*user).into()).collect();
        let subscription = Subscription { ticket: Some(bob.answers.ticket(1)), session, user_ids };
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
        let bob = Sender::new("bob", "phone");
        let user_ids = (0..1_001).map(|n| format!("u{n}")).collect();
        let subscription =
            Subscription { ticket: Some(bob.answers.ticket(1)), session: bob.session, user_ids };
        driver.send("subscriptions", [Record::Subscription(Arc::new(subscription))]);
        assert_eq!(error_of(&driver.take("replies")[0]).code(), ErrorCode::Invalid);
    }
}
