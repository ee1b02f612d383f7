//! Who is online: a user with at least one live session.
//!
//! A differential collection over users whose rows are their live sessions. Of each device the session that
//! began last counts (see [`SessionKey`]), so events may come from several nodes, late and repeated: the state
//! is the same in any order. Only flips leave, one record each; a session that is replaced inside one epoch
//! is not seen. State is bounded by the live sessions and [`ENDED`] that have ended. Telling others, and
//! when, is for `presence`.

use std::collections::VecDeque;
use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, OperatorContext, Port, StartError, State, Stream,
};
use imflow_proto::record::{OnlineChange, SessionEvent, SessionKey};
use imflow_proto::{Record, RecordType};
use rapidhash::RapidHashMap;
use timely::dataflow::Scope;

use crate::collection::{Differences, collection};

/// `sessions: SessionEvent` → `routes: Online`
///
/// Errors: none. Source: SPEC P2.
pub const DESCRIPTION: Description = Description {
    name: "routes",
    family: Family::Operator,
    summary: "tells which users are online, from their sessions",
    doc: "A differential collection: sessions that begin and end in, users that come online or go offline out. Of a device \
          the session that began last counts, ties go to the greater node; an event of an earlier session, or one that comes again, changes nothing.",
    key: Key::User,
    state: State::Volatile,
    inputs: &[Port::of("sessions", &[RecordType::SessionEvent], "sessions that begin and end")],
    outputs: &[Port::of("routes", &[RecordType::Online], "users that came online or went offline")],
    options: &[],
    provides: &[],
    limits: &[
        Limit {
            what: "rows",
            bound: "the live sessions",
            policy: "bounded by the gateway's connections",
        },
        Limit {
            what: "sessions that have ended, by which late events are known",
            bound: "65,536",
            policy: "the one that ended first is forgotten",
        },
    ],
    example: "[operators.routes]\n\
              kind = \"routes\"\n\
              inputs = [\"clients.sessions\"]\n",
    ..Description::EMPTY
};

/// Ended sessions that are remembered.
const ENDED: usize = 65_536;

pub(crate) fn build<'scope>(
    context: &OperatorContext<'_>,
    _scope: Scope<'scope, u64>,
    inputs: Vec<Stream<'scope>>,
) -> Result<Vec<Stream<'scope>>, StartError> {
    let sessions = inputs.into_iter().next().expect("the description has one input");
    let mut devices = Devices::default();
    let enter = move |record, out: &mut Differences<Arc<str>, SessionKey>| match record {
        Record::SessionEvent(event) => devices.take(&event, out),
        record => crate::misrouted("routes", &record),
    };
    Ok(vec![collection(context.name, sessions, enter, |_| Some(()), emit)])
}

/// User and device.
type Device = (Arc<str>, Arc<str>);

/// The session of each device that counts.
#[derive(Default)]
struct Devices {
    sessions: RapidHashMap<Device, Session>,
    ended: VecDeque<(Device, SessionKey)>,
}

struct Session {
    key: SessionKey,
    is_live: bool,
}

impl Devices {
    /// Folds an event: the greatest session counts, and one that has ended stays so.
    fn take(&mut self, event: &SessionEvent, out: &mut Differences<Arc<str>, SessionKey>) {
        let user = &event.session.user_id;
        let device = (Arc::clone(user), Arc::clone(&event.session.device_id));
        let (key, is_live) = (event.key(), event.online);
        if let Some(known) = self.sessions.get(&device) {
            let ends = known.key == key && known.is_live && !is_live;
            if key < known.key || (known.key == key && !ends) {
                return;
            }
            if known.is_live {
                out.push(((Arc::clone(user), known.key.clone()), -1));
            }
        }
        match is_live {
            true => out.push(((Arc::clone(user), key.clone()), 1)),
            false => self.ended.push_back((device.clone(), key.clone())),
        }
        self.sessions.insert(device, Session { key, is_live });
        self.forget();
    }

    fn forget(&mut self) {
        while self.ended.len() > ENDED {
            let Some((device, key)) = self.ended.pop_front() else { return };
            // A later session may stand in its place.
            if self.sessions.get(&device).is_some_and(|known| !known.is_live && known.key == key) {
                self.sessions.remove(&device);
            }
        }
    }
}

fn emit(user: &Arc<str>, online: Option<()>) -> Record {
    let (user_id, online) = (Arc::clone(user), online.is_some());
    Record::Online(OnlineChange { user_id, online, last_active_at: 0 })
}

#[cfg(test)]
mod tests {
    use imflow_proto::record::Session as Connected;

    use super::*;
    use crate::collection::testing::run;

    fn event(device: &str, node: &str, number: u64, since: i64, end: Option<i64>) -> SessionEvent {
        let (user_id, device_id) = ("alice".into(), device.into());
        let session = Connected { number, user_id, device_id, scopes: Default::default() };
        match end {
            None => SessionEvent::began(Arc::new(session), node.into(), since),
            Some(at) => SessionEvent::ended(Arc::new(session), node.into(), since, at),
        }
    }

    fn of(user: &str, number: u64, online: bool) -> Record {
        let end = (!online).then_some(number as i64 + 1);
        let mut event = event(&format!("d{number}"), "n", number, number as i64, end);
        Arc::make_mut(&mut event.session).user_id = user.into();
        Record::SessionEvent(Arc::new(event))
    }

    #[test]
    fn a_user_is_online_while_any_session_lives_and_each_flip_leaves_once() {
        let out = run(
            build,
            vec![
                vec![of("alice", 1, true), of("bob", 2, true)],
                vec![of("alice", 3, true), of("alice", 3, true)],
                vec![of("alice", 1, false)],
                vec![of("bob", 2, false), of("bob", 4, true)],
                vec![of("alice", 3, false), of("alice", 3, false), of("alice", 9, false)],
                vec![of("alice", 9, true), of("alice", 1, true)],
            ],
        );
        let flips: Vec<_> = out
            .iter()
            .flat_map(|(time, records)| records.iter().map(move |record| (*time, record)))
            .map(|(time, record)| match record {
                Record::Online(change) => (time, &*change.user_id, change.online),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(flips, [(1, "alice", true), (1, "bob", true), (5, "alice", false)]);
    }

    /// The sessions that are live after some events.
    fn live(events: &[SessionEvent]) -> Vec<SessionKey> {
        let (mut devices, mut rows) = (Devices::default(), Vec::<SessionKey>::new());
        for event in events {
            let mut out = Vec::new();
            devices.take(event, &mut out);
            for ((_, key), diff) in out {
                match diff {
                    1 => rows.push(key),
                    _ => rows.retain(|row| *row != key),
                }
            }
        }
        rows.sort();
        rows
    }

    #[test]
    fn a_device_is_where_it_connected_last_and_ties_go_to_the_greater_node() {
        let on = |node, since| event("phone", node, 1, since, None);
        let moved = [on("a", 1), on("b", 3), event("phone", "a", 1, 1, Some(5))];
        assert_eq!(live(&moved), [moved[1].key()], "the end of the first is no end of the second");
        let tie = [on("b", 7), on("a", 7)];
        assert_eq!(live(&tie), [tie[0].key()]);
    }

    /// Calls `visit` with `events` in every order.
    fn permute(
        events: &mut Vec<SessionEvent>,
        from: usize,
        visit: &mut impl FnMut(&[SessionEvent]),
    ) {
        if from == events.len() {
            return visit(events);
        }
        for at in from..events.len() {
            events.swap(from, at);
            permute(events, from + 1, visit);
            events.swap(from, at);
        }
    }

    #[test]
    fn any_order_and_repetition_of_events_gives_one_state() {
        // Sessions of one device on three nodes, some in one millisecond, and which of them have ended.
        let begun = [("a", 1, 1), ("a", 2, 1), ("c", 1, 4), ("b", 1, 4)];
        for ended in 0..1 << begun.len() {
            let mut events = Vec::new();
            for (place, (node, number, since)) in begun.into_iter().enumerate() {
                events.push(event("phone", node, number, since, None));
                if ended >> place & 1 == 1 && events.len() < 7 {
                    events.push(event("phone", node, number, since, Some(9)));
                }
            }
            let last = events.iter().max_by_key(|event| (event.key(), !event.online));
            let last = last.expect("there are some");
            let expected: Vec<_> = last.online.then(|| last.key()).into_iter().collect();
            permute(&mut events, 0, &mut |events| {
                let again = [events, &events[..3], events].concat();
                assert_eq!(
                    (live(events), live(&again)),
                    (expected.clone(), expected.clone()),
                    "{events:?}"
                );
            });
        }
    }

    #[test]
    fn what_is_remembered_of_ended_sessions_is_bounded() {
        let mut devices = Devices::default();
        for number in 0..ENDED as u64 + 10 {
            let device = format!("d{number}");
            devices.take(&event(&device, "n", number, 1, None), &mut Vec::new());
            devices.take(&event(&device, "n", number, 1, Some(2)), &mut Vec::new());
        }
        assert_eq!((devices.sessions.len(), devices.ended.len()), (ENDED, ENDED));
    }
}
