//! An index proposes, the store decides: pages from an index that knows less than the store.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use imflow_kind::testing::Answers;
use imflow_kind::{Hit, Search, SearchError, Searched, Wanted};
use imflow_proto::record::{Ask, Query, Scopes, Session};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, ErrorCode, Matches};

use super::answer::answer;
use super::layers::Layers;
use super::testing::Shelf;

/// Names these places, whatever is asked; a text fits if it has the query in it.
struct Proposes(Vec<Hit>);

impl Search for Proposes {
    fn find(
        &self,
        wanted: &Wanted<'_>,
        visit: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<Searched, SearchError> {
        if wanted.query.is_empty() {
            return Err(SearchError::Query("no word".into()));
        }
        let older = |hit: &&Hit| wanted.before == 0 || hit.server_msg_id < wanted.before;
        let _ = self.0.iter().filter(older).try_for_each(|hit| visit(hit.clone()));
        Ok(Searched { stopped_at: None, complete: true, indexed_up_to: 5 })
    }

    fn spans(&self, query: &str, text: &str) -> Option<Vec<Range<usize>>> {
        let found = text.find(query)?;
        Some(std::iter::once(found..found + query.len()).collect())
    }
}

fn hit(conversation: &str, seq: u64) -> Hit {
    let server_msg_id = id_of(conversation, seq);
    Hit { conversation_id: conversation.into(), seq, server_msg_id }
}

fn id_of(conversation: &str, seq: u64) -> i64 {
    (conversation.len() as i64) * 100_000 + seq as i64
}

/// Messages of so many bytes in conversation `a`.
fn shelf(messages: u64, bytes: usize) -> Shelf {
    let mut shelf = Shelf::default();
    for seq in 1..=messages {
        shelf.add("a", seq as i64, bytes);
        let last = shelf.messages.get_mut("a").and_then(|messages| messages.last_mut());
        last.expect("added").server_msg_id = id_of("a", seq);
    }
    shelf
}

fn ask(shelf: &Shelf, index: &Proposes, search: wire::Search) -> Result<Matches, ErrorCode> {
    let ticket = Arc::new(Answers::default()).ticket(1);
    let scopes = Scopes { read: true, ..Scopes::default() };
    let session = Session { number: 1, user_id: "alice".into(), device_id: "d".into(), scopes };
    let query = Query { ticket, session: Arc::new(session), ask: Ask::Search(search) };
    match answer(&Layers::log_alone(shelf), Some(index), &query) {
        Body::Matches(matches) => Ok(matches),
        Body::Error(error) => Err(error.code()),
        other => panic!("{other:?}"),
    }
}

fn for_x(limit: u32, before: i64) -> wire::Search {
    wire::Search { query: "x".into(), limit, before, ..Default::default() }
}

fn seqs(matches: &Matches) -> Vec<u64> {
    let messages = matches.items.iter().filter_map(|item| item.message.as_ref());
    messages.map(|message| message.seq).collect()
}

#[test]
fn only_what_is_there_and_fits_as_it_reads_now_is_shown() {
    let mut shelf = shelf(4, 3);
    shelf.messages.get_mut("a").expect("there")[1].text = "edited".into();
    shelf.messages.get_mut("a").expect("there")[2].text.clear();
    let other = Hit { server_msg_id: 7, ..hit("a", 1) };
    let proposes = Proposes(vec![
        hit("gone", 1),
        hit("a", 9),
        hit("a", 4),
        hit("a", 3),
        hit("a", 2),
        other,
        hit("a", 1),
    ]);
    let found = ask(&shelf, &proposes, for_x(0, 0)).expect("an answer");
    assert_eq!((seqs(&found), found.next, found.complete), (vec![4, 1], 0, true));
    assert_eq!(ask(&shelf, &proposes, wire::Search::default()), Err(ErrorCode::Invalid));
}

#[test]
fn a_page_ends_at_its_limit_and_the_next_begins_there() {
    let shelf = shelf(5, 3);
    let proposes = Proposes((1..=5).rev().map(|seq| hit("a", seq)).collect());
    let first = ask(&shelf, &proposes, for_x(2, 0)).expect("an answer");
    assert_eq!((seqs(&first), first.next), (vec![5, 4], id_of("a", 4)));
    let second = ask(&shelf, &proposes, for_x(3, first.next)).expect("an answer");
    assert_eq!((seqs(&second), second.next), (vec![3, 2, 1], 0), "nothing is left");
}

#[test]
fn a_page_is_closed_at_its_size_and_at_what_was_read_for_it() {
    let long = shelf(90, 8 << 10);
    let proposes = Proposes((1..=90).rev().map(|seq| hit("a", seq)).collect());
    let found = ask(&long, &proposes, for_x(100, 0)).expect("an answer");
    assert!((60..64).contains(&found.items.len()), "{}", found.items.len());
    assert_eq!(found.next, id_of("a", 91 - found.items.len() as u64));
    let missing = Proposes((1..=5_000).rev().map(|seq| hit("gone", seq)).collect());
    let found = ask(&long, &missing, for_x(100, 0)).expect("an answer");
    assert_eq!((found.items.len(), found.next), (0, id_of("gone", 4_001)));
}

#[test]
fn a_snippet_begins_before_the_first_word_and_its_spans_count_characters() {
    let mut shelf = shelf(1, 1);
    let text = format!("{}\n好x好{}x", "天".repeat(100), "气".repeat(200));
    shelf.messages.get_mut("a").expect("there")[0].text = text;
    let found = ask(&shelf, &Proposes(vec![hit("a", 1)]), for_x(0, 0)).expect("an answer");
    let item = &found.items[0];
    let (start, end) = (item.spans[0].start as usize, item.spans[0].end as usize);
    let marked: String = item.snippet.chars().skip(start).take(end - start).collect();
    assert_eq!((marked.as_str(), start, item.spans.len()), ("x", 30, 1));
    assert_eq!(item.snippet.chars().count(), 120);
    assert!(!item.snippet.contains('\n'));
}
