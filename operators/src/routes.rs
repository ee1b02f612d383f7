//! Who is online: a user with at least one live session.
//!
//! A differential collection over users whose rows are their live sessions. Only flips leave, one record
//! each; a session that is replaced inside one epoch is not seen. State is bounded by the live sessions.
//! Telling others, and when, is for `presence`.

use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, OperatorContext, Port, StartError, State, Stream,
};
use imflow_proto::record::{OnlineChange, SessionEvent};
use imflow_proto::{Record, RecordType};
use rapidhash::RapidHashSet;
use timely::dataflow::Scope;

use crate::collection::{Differences, collection};

/// `sessions: SessionEvent` → `routes: Online`
///
/// Errors: none. Source: SPEC P2.
pub const DESCRIPTION: Description = Description {
    name: "routes",
    family: Family::Operator,
    summary: "tells which users are online, from their sessions",
    doc: "A differential collection: sessions that begin and end in, users that come online or go offline out. A \
          repeated event changes nothing.",
    key: Key::User,
    state: State::Volatile,
    inputs: &[Port::of("sessions", &[RecordType::SessionEvent], "sessions that begin and end")],
    outputs: &[Port::of("routes", &[RecordType::Online], "users that came online or went offline")],
    options: &[],
    provides: &[],
    limits: &[Limit {
        what: "rows",
        bound: "the live sessions",
        policy: "bounded by the gateway's connections",
    }],
    example: "[operators.routes]\n\
              kind = \"routes\"\n\
              inputs = [\"clients.sessions\"]\n",
    ..Description::EMPTY
};

pub(crate) fn build<'scope>(
    context: &OperatorContext<'_>,
    _scope: Scope<'scope, u64>,
    inputs: Vec<Stream<'scope>>,
) -> Result<Vec<Stream<'scope>>, StartError> {
    let sessions = inputs.into_iter().next().expect("the description has one input");
    let mut live = RapidHashSet::default();
    let enter = move |record, out: &mut Differences<Arc<str>, u64>| match record {
        Record::SessionEvent(event) => admit(&mut live, &event, out),
        record => crate::misrouted("routes", &record),
    };
    Ok(vec![collection(context.name, sessions, enter, |_| Some(()), emit)])
}

/// Repeated events find the session as they want it.
fn admit(live: &mut RapidHashSet<u64>, event: &SessionEvent, out: &mut Differences<Arc<str>, u64>) {
    let number = event.session.number;
    let changes = if event.online { live.insert(number) } else { live.remove(&number) };
    if changes {
        out.push(((Arc::clone(&event.session.user_id), number), if event.online { 1 } else { -1 }));
    }
}

fn emit(user: &Arc<str>, online: Option<()>) -> Record {
    Record::Online(OnlineChange { user_id: Arc::clone(user), online: online.is_some() })
}

#[cfg(test)]
mod tests {
    use imflow_proto::record::Session;

    use super::*;
    use crate::collection::testing::run;

    fn event(user: &str, number: u64, online: bool) -> Record {
        let session = Session {
            number,
            user_id: user.into(),
            device_id: "d".into(),
            scopes: Default::default(),
        };
        Record::SessionEvent(Arc::new(SessionEvent { session: Arc::new(session), online, at: 0 }))
    }

    #[test]
    fn a_user_is_online_while_any_session_lives_and_each_flip_leaves_once() {
        let out = run(
            build,
            vec![
                vec![event("alice", 1, true), event("bob", 2, true)],
                vec![event("alice", 3, true), event("alice", 3, true)],
                vec![event("alice", 1, false)],
                vec![event("bob", 2, false), event("bob", 4, true)],
                vec![event("alice", 3, false), event("alice", 3, false), event("alice", 9, false)],
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
}
