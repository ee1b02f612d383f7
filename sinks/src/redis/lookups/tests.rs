use imflow_kind::ReplicaError;
use imflow_kind::testing::{Answers, FakeInjector};
use imflow_proto::record::{Scopes, Session};
use imflow_proto::wire;

use super::*;

/// The log: every message is `alice-p-1-1` of alice.
fn log() -> Read {
    Box::new(|id, seq| {
        Some(Message {
            conversation_id: id.into(),
            seq,
            server_msg_id: 44,
            client_msg_id: "alice-p-1-1".into(),
            sender_id: "alice".into(),
            ..Message::default()
        })
    })
}

/// Says the same of every id, or nothing; counts how often it is asked.
struct Redis(Result<Option<IdPlace>, ReplicaError>, Arc<Dropped>);

impl IdIndex for Redis {
    fn find(&mut self, ids: &[&str]) -> Result<Vec<Option<IdPlace>>, ReplicaError> {
        self.1.add(1);
        self.0.clone().map(|place| vec![place; ids.len()])
    }
}

fn place() -> IdPlace {
    let (conversation_id, sender_id) = ("c1".into(), "alice".into());
    IdPlace { conversation_id, sender_id, seq: 4, server_msg_id: 44 }
}

fn lookup(conversation: &str, user: &str, id: &str) -> Record {
    let (user_id, device_id) = (user.into(), "p".into());
    let session = Arc::new(Session { number: 1, user_id, device_id, scopes: Scopes::default() });
    let send = wire::Send {
        conversation_id: conversation.into(),
        client_msg_id: id.into(),
        ..Default::default()
    };
    let ticket = Arc::new(Answers::default()).ticket(1);
    Record::Lookup(Arc::new(Submission::new(ticket, session, send)))
}

/// Ports on which look-ups leave, in order.
fn ports(says: Result<Option<IdPlace>, ReplicaError>, lookups: Vec<Record>) -> Vec<usize> {
    let injector = Arc::new(FakeInjector::default());
    let redis = Box::new(Redis(says, Arc::default()));
    let mut asking = Lookups::new("ids".into(), redis, log(), Arc::clone(&injector) as _);
    asking.answer(0, lookups, Instant::now());
    injector.take_records().into_iter().map(|(_, port, _)| port).collect()
}

#[test]
fn only_what_the_log_confirms_is_found() {
    let right = || vec![lookup("c1", "alice", "alice-p-1-1")];
    assert_eq!(ports(Ok(Some(place())), right()), [FOUND]);
    assert_eq!(ports(Ok(None), right()), [UNKNOWN]);
    // Redis points at another message, or knows the id of somebody else or of another conversation.
    for wrong in [
        IdPlace { server_msg_id: 45, ..place() },
        IdPlace { server_msg_id: 0, ..place() },
        IdPlace { conversation_id: "c2".into(), ..place() },
        IdPlace { sender_id: "bob".into(), ..place() },
    ] {
        assert_eq!(ports(Ok(Some(wrong.clone())), right()), [UNKNOWN], "{wrong:?}");
    }
    assert_eq!(ports(Ok(Some(place())), vec![lookup("c1", "alice", "alice-p-2-2")]), [UNKNOWN]);
}

#[test]
fn a_redis_that_does_not_answer_is_left_alone_for_a_while() {
    let (injector, asked) = (Arc::new(FakeInjector::default()), Arc::new(Dropped::default()));
    let redis = Redis(Err(ReplicaError("away".into())), Arc::clone(&asked));
    let mut asking = Lookups::new("ids".into(), Box::new(redis), log(), Arc::clone(&injector) as _);
    let begin = Instant::now();
    for ms in [0, 1, 500, 999, 1_000] {
        asking.answer(
            0,
            vec![lookup("c1", "alice", "alice-p-1-1")],
            begin + Duration::from_millis(ms),
        );
    }
    let left: Vec<usize> = injector.take_records().into_iter().map(|(_, port, _)| port).collect();
    assert_eq!(left, [UNKNOWN; 5], "nobody waits for an answer that never comes");
    assert_eq!(asked.add(0), None);
    asked.add(1);
    assert_eq!(asked.add(1), Some(4), "asked twice: at first, and after a second");
}

#[test]
fn a_full_queue_asks_the_log_at_once() {
    let (to, _inbox) = flume::bounded(1);
    let injector = Arc::new(FakeInjector::default());
    let queue = Queue { to, injector: Arc::default() };
    queue.injector.get_or_init(|| Arc::clone(&injector) as _);
    queue.ask(0, vec![lookup("c1", "alice", "a")]);
    assert!(injector.take().is_empty());
    queue.ask(0, vec![lookup("c1", "alice", "b")]);
    let passed = injector.take_records();
    assert!(
        matches!(&passed[..], [(0, UNKNOWN, Record::Lookup(it))] if it.send.client_msg_id == "b")
    );
}
