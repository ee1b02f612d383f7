//! Tasks over a dataflow that is scripted.

use std::sync::atomic::{AtomicUsize, Ordering};

use imflow_kind::testing::FakeInjector;
use imflow_proto::Record;

use super::super::testing::{NOW_MS, shared_with};
use super::*;

const LAST: u64 = 1_000;

/// A conversation of `LAST` messages, read as the reader does; every third call finds it busy.
fn dataflow(is_refusing: bool) -> Arc<FakeInjector> {
    let calls = AtomicUsize::new(0);
    FakeInjector::reacting(move |record| {
        let Record::Query(query) = record else { panic!("{record:?}") };
        let Ask::History(history) = &query.ask else { panic!("{query:?}") };
        if is_refusing {
            let error = Error::of(ErrorCode::NotAMember, "not a member");
            query.ticket.answer(Body::Error(error));
            return;
        }
        if calls.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            let busy = Error::of(ErrorCode::Busy, "away").retry_after(1);
            query.ticket.answer(Body::Error(busy));
            return;
        }
        let limit = u64::from(history.limit);
        let end = if history.before_seq > 0 { history.before_seq } else { LAST + 1 };
        let is_backwards = history.before_seq > 0 && history.after_seq == 0;
        let first = match is_backwards {
            true => end.saturating_sub(limit).max(1),
            false => history.after_seq + 1,
        };
        let seqs = first..end.min(first + limit);
        let more = if is_backwards { first > 1 } else { seqs.end < end };
        let items = seqs.map(|seq| Message { seq, ..Message::default() }).collect();
        query.ticket.answer(Body::Messages(Messages { items, more, removed_up_to_seq: 0 }));
    })
}

fn query(id: &str, user: &str, after_seq: u64, before_seq: u64, limit: usize) -> NewQuery {
    NewQuery {
        id: Some(id.into()),
        user_id: user.into(),
        conversation_id: "lobby".into(),
        after_seq,
        before_seq,
        after_time: 0,
        before_time: 0,
        limit,
    }
}

async fn start(shared: &Arc<Shared>, query: NewQuery) -> Result<(), Refusal> {
    start_query(State(Arc::clone(shared)), JsonBody(query)).await.map(drop)
}

fn told(shared: &Shared, id: &str, user: &str, page: usize, now_ms: u64) -> Result<Told, Refusal> {
    shared.queries.tell(id, &WhichPage { user_id: user.into(), page }, now_ms)
}

/// What a task has read when it has ended.
async fn ended(shared: &Arc<Shared>, id: &str, user: &str) -> (TaskState, bool, Vec<u64>) {
    loop {
        let task = told(shared, id, user, 0, NOW_MS).expect("there");
        if task.state != TaskState::Pending {
            let pages = (0..task.pages).map(|page| told(shared, id, user, page, NOW_MS));
            let items = pages.flat_map(|page| page.expect("there").items);
            return (task.state, task.more, items.map(|message| message.seq).collect());
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_reads_page_by_page_and_waits_when_the_service_is_busy() {
    let shared = shared_with(dataflow(false), |options| options.query_messages = 700);
    for (n, (after, before, limit, more, wanted)) in [
        (0, 0, 5, true, (1..=5).collect::<Vec<u64>>()),
        (400, 0, 0, false, (401..=1_000).collect()),
        (0, 0, 0, true, (1..=700).collect()),
        (100, 800, 650, true, (101..=750).collect()),
        (100, 500, 650, false, (101..=499).collect()),
        (0, 301, 250, true, (101..=300).chain(51..=100).collect()),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("q{n}");
        start(&shared, query(&id, "", after, before, limit)).await.expect("taken");
        let ended = ended(&shared, &id, "").await;
        assert!(ended == (TaskState::Done, more, wanted), "{n}: {:?}", ended.2.len());
        let which = Asked(WhichPage::default());
        let deleted = delete_query(State(Arc::clone(&shared)), Path(id), which).await;
        assert!(deleted.is_ok());
    }
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_query_with_the_reason() {
    let shared = shared_with(dataflow(true), |_| {});
    start(&shared, query("q", "bob", 0, 0, 0)).await.expect("taken");
    assert_eq!(ended(&shared, "q", "bob").await, (TaskState::Failed, true, vec![]));
    let error = told(&shared, "q", "bob", 0, NOW_MS).expect("there").error.expect("failed");
    assert_eq!(error.code(), ErrorCode::NotAMember);
}

#[tokio::test]
async fn queries_are_few_of_each_user_kept_for_a_while_and_told_to_their_user_only() {
    let shared = shared_with(dataflow(false), |options| {
        (options.queries, options.queries_of_user, options.query_keep_ms) = (3, 2, 1_000);
    });
    for id in ["a1", "a2"] {
        start(&shared, query(id, "alice", 0, 0, 1)).await.expect("taken");
        ended(&shared, id, "alice").await;
    }
    let code = |refused: Result<(), Refusal>| refused.expect_err("refused").error.code();
    assert_eq!(code(start(&shared, query("a3", "alice", 0, 0, 1)).await), ErrorCode::Busy);
    assert_eq!(code(start(&shared, query("a1", "bob", 0, 0, 1)).await), ErrorCode::Conflict);
    start(&shared, query("b1", "bob", 0, 0, 1)).await.expect("taken");
    assert_eq!(code(start(&shared, query("c1", "carol", 0, 0, 1)).await), ErrorCode::Busy);
    assert_eq!(code(start(&shared, query("a/b", "carol", 0, 0, 1)).await), ErrorCode::Invalid);
    ended(&shared, "b1", "bob").await;
    assert!(told(&shared, "a1", "bob", 0, NOW_MS).is_err(), "of another user");
    assert!(told(&shared, "a1", "alice", 1, NOW_MS).is_err(), "no such page");
    assert!(told(&shared, "a1", "alice", 0, NOW_MS + 999).is_ok());
    let gone = told(&shared, "a1", "alice", 0, NOW_MS + 1_000).err().expect("expired");
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    start(&shared, query("c1", "carol", 0, 0, 1)).await.expect("there is room again");
}
