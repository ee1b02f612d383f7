//! What the chat client promises across lost connections.

use imflow_proto::wire::{Ack, AckStatus, ConversationInfo, ConversationList, ErrorCode, Messages};

use super::*;

fn alice() -> State {
    State::new("alice", "cli", "lobby", 100, Screen::default())
}

fn message(seq: u64) -> Message {
    Message {
        conversation_id: "lobby".into(),
        seq,
        sender_id: "bob".into(),
        text: format!("m{seq}"),
        ..Default::default()
    }
}

fn push(seq: u64) -> Envelope {
    Envelope {
        id: 0,
        body: Some(Body::Push(Push { event: Some(push::Event::Message(message(seq))) })),
    }
}

fn messages(id: u64, seqs: std::ops::RangeInclusive<u64>, more: bool) -> Envelope {
    Envelope {
        id,
        body: Some(Body::Messages(Messages {
            items: seqs.map(message).collect(),
            more,
            ..Default::default()
        })),
    }
}

fn ack(id: u64, seq: u64) -> Envelope {
    Envelope {
        id,
        body: Some(Body::Ack(Ack { seq, status: AckStatus::Ok.into(), ..Default::default() })),
    }
}

/// Connects a client that has seen the lobby up to `last_seq`.
fn in_lobby(last_seq: u64) -> State {
    let mut state = alice();
    state.connected();
    let id = state.effects().send[0].id;
    let info = ConversationInfo { conversation_id: "lobby".into(), last_seq, ..Default::default() };
    state.envelope(Envelope {
        id,
        body: Some(Body::ConversationList(ConversationList { items: vec![info], more: false })),
    });
    if let Some((id, after_seq)) = asked_history(&state.effects()) {
        state.envelope(messages(id, after_seq + 1..=last_seq, false));
    }
    state.effects();
    state
}

fn asked_history(effects: &Effects) -> Option<(u64, u64)> {
    effects.send.iter().find_map(|envelope| match &envelope.body {
        Some(Body::History(history)) => Some((envelope.id, history.after_seq)),
        _ => None,
    })
}

fn sent(effects: &Effects) -> Vec<(u64, String, String)> {
    let send = |envelope: &Envelope| match &envelope.body {
        Some(Body::Send(send)) => {
            Some((envelope.id, send.client_msg_id.clone(), send.text.clone()))
        }
        _ => None,
    };
    effects.send.iter().filter_map(send).collect()
}

fn shown(effects: &Effects) -> Vec<&str> {
    let mut shown = Vec::new();
    for line in &effects.print {
        if let Line::Message(text) = line {
            shown.push(text.as_str());
        }
    }
    shown
}

#[test]
fn the_last_twenty_are_shown_at_the_start() {
    let mut state = alice();
    state.connected();
    let id = state.effects().send[0].id;
    let info =
        ConversationInfo { conversation_id: "lobby".into(), last_seq: 50, ..Default::default() };
    state.envelope(Envelope {
        id,
        body: Some(Body::ConversationList(ConversationList { items: vec![info], more: false })),
    });
    // A push that comes before the history costs nothing.
    state.envelope(push(51));
    let effects = state.effects();
    let (id, after_seq) = asked_history(&effects).expect("history is asked for");
    assert_eq!((after_seq, shown(&effects).len()), (30, 0));
    state.envelope(messages(id, 31..=51, false));
    let effects = state.effects();
    assert_eq!(shown(&effects).len(), 21);
    assert_eq!(asked_history(&effects), None);
    assert!(state.is_idle());
}

#[test]
fn what_was_missed_is_shown_once_and_in_order() {
    let mut state = in_lobby(5);
    state.disconnected("restart");
    state.connected();
    // The new connection pushes 9 before the history answer comes.
    state.envelope(push(9));
    let effects = state.effects();
    let (id, after_seq) = asked_history(&effects).expect("history is asked for");
    assert_eq!((after_seq, shown(&effects).len()), (5, 0));
    state.envelope(messages(id, 6..=8, false));
    let effects = state.effects();
    assert_eq!(shown(&effects), ["6 bob  m6", "7 bob  m7", "8 bob  m8"]);
    let (id, _) = asked_history(&effects).expect("9 is known to exist");
    state.envelope(messages(id, 9..=9, false));
    state.envelope(push(9));
    assert_eq!(shown(&state.effects()), ["9 bob  m9"]);
}

#[test]
fn an_unanswered_line_is_sent_again_under_its_id() {
    let mut state = in_lobby(0);
    state.line("hi", 1000);
    state.line("there", 1001);
    let first = sent(&state.effects());
    assert_eq!(first.len(), 1, "one line is on its way at a time");
    state.disconnected("kill -9");
    state.line("later", 1002);
    assert!(state.effects().send.is_empty());
    state.connected();
    let again = sent(&state.effects());
    assert_eq!((&again[0].1, &again[0].2), (&first[0].1, &first[0].2));
    state.envelope(ack(again[0].0, 1));
    let effects = state.effects();
    assert_eq!(shown(&effects), ["1 alice  hi"]);
    assert_eq!(sent(&effects)[0].2, "there");
}

#[test]
fn an_own_message_waits_for_the_one_before_it() {
    let mut state = in_lobby(3);
    state.line("hi", 1000);
    let id = sent(&state.effects())[0].0;
    state.envelope(ack(id, 5));
    let effects = state.effects();
    assert!(shown(&effects).is_empty());
    assert_eq!(asked_history(&effects).map(|(_, after)| after), Some(3));
}

#[test]
fn a_refused_line_is_tried_again_only_if_that_can_help() {
    let mut state = in_lobby(0);
    state.line("hi", 1000);
    let id = sent(&state.effects())[0].0;
    let error = Error::of(ErrorCode::StorageFull, "full").retry_after(5000);
    state.envelope(Envelope { id, body: Some(Body::Error(error)) });
    assert_eq!(state.effects().retry_after, Some(Duration::from_secs(5)));
    state.retry();
    let id = sent(&state.effects())[0].0;
    state.envelope(Envelope {
        id,
        body: Some(Body::Error(Error::of(ErrorCode::Muted, "you are muted"))),
    });
    assert!(state.is_idle());
    assert_eq!(state.unsent(), 1);
}

#[test]
fn what_is_found_shows_where_it_was_said() {
    let mut state = in_lobby(1);
    state.line("/search lunch \"outside today\"", 0);
    let [asked] = &state.effects().send[..] else { panic!("one command") };
    let Some(Body::Search(search)) = &asked.body else { panic!("{asked:?}") };
    assert_eq!(search.query, "lunch \"outside today\"");
    let found = |conversation: &str| Match {
        message: Some(Message { conversation_id: conversation.into(), ..message(7) }),
        snippet: "lunch".into(),
        spans: Vec::new(),
    };
    let items = vec![found("lobby"), found("ops")];
    let matches = Matches { items, next: 3, complete: false, indexed_up_to: 0 };
    state.envelope(Envelope { id: asked.id, body: Some(Body::Matches(matches)) });
    let printed: Vec<_> = state
        .effects()
        .print
        .into_iter()
        .map(|line| match line {
            Line::Message(text) | Line::Note(text) => text,
        })
        .collect();
    assert_eq!(printed[..2], ["7 bob  lunch", "[ops] 7 bob  lunch"]);
    assert!(printed[2].contains("older") && printed[3].contains("in a moment"), "{printed:?}");
}
