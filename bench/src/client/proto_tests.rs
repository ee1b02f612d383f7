//! The hand-written form against the schema's own types.

use imflow_proto::frame::{Format, decode, encode};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{self, Envelope, ErrorCode, push};

use super::*;
use crate::client::json;
use crate::text::Text;

fn message() -> wire::Message {
    wire::Message {
        conversation_id: "g1".into(),
        seq: 300,
        server_msg_id: i64::MAX,
        client_msg_id: "u1-d1-1-1".into(),
        sender_id: "u1".into(),
        r#type: 1,
        text: "\"你好\"\n".into(),
        payload: b"\x00\xff".as_slice().into(),
        created_at: 5,
        ..Default::default()
    }
}

fn expected(text: &str) -> Message<'_> {
    Message {
        conversation_id: "g1".into(),
        seq: 300,
        server_msg_id: i64::MAX,
        client_msg_id: "u1-d1-1-1".into(),
        sender_id: "u1".into(),
        text: text.into(),
    }
}

/// Encodes a body as the server does, in both forms, and reads it as the driver does.
fn check(id: u64, body: Body, expected: &Event<'_>) {
    let envelope = Envelope { id, body: Some(body) };
    let mut frame = Vec::new();
    encode(Format::Proto, &envelope, &mut frame);
    encode(Format::Proto, &envelope, &mut frame);
    let (event, rest) = read(&frame).expect("well-formed");
    assert_eq!((&event, rest.len()), (expected, frame.len() / 2));
    let mut line = Vec::new();
    encode(Format::Json, &envelope, &mut line);
    assert_eq!(&json::read(&line).expect("well-formed"), expected);
}

#[test]
fn both_forms_of_the_servers_envelopes_are_read() {
    let text = message().text;
    let ack = wire::Ack { server_msg_id: 1 << 60, seq: 12, status: 1, created_at: 9 };
    check(7, Body::Ack(ack), &Event::Ack { id: 7, server_msg_id: 1 << 60, seq: 12 });
    let error = wire::Error::of(ErrorCode::Busy, "wait").retry_after(50);
    let refused = Event::Refused {
        id: 8,
        code: "BUSY".into(),
        message: "wait".into(),
        retryable: true,
        retry_after_ms: 50,
    };
    check(8, Body::Error(error), &refused);
    let push = |event| Body::Push(wire::Push { event: Some(event) });
    check(0, push(push::Event::Message(message())), &Event::Message(expected(&text)));
    let notify = wire::Notify { conversation_id: "g1".into(), up_to_seq: 3 };
    check(0, push(push::Event::Notify(notify)), &Event::Notify { conversation_id: "g1".into() });
    let presence = wire::PresenceNotice { user_id: "u1".into(), online: true, last_active_at: 7 };
    check(0, push(push::Event::Presence(presence)), &Event::Other);
    let page =
        wire::Messages { items: vec![message(), message()], more: true, ..Default::default() };
    let items = vec![expected(&text), expected(&text)];
    check(9, Body::Messages(page), &Event::Page { id: 9, items, more: true });
    let goodbye =
        wire::Goodbye { code: 4408, reason: "idle".into(), reconnect: true, retry_after_ms: 0 };
    check(0, Body::Goodbye(goodbye), &Event::Goodbye { reason: "idle".into() });
    check(0, Body::Pong(wire::Pong {}), &Event::Other);
}

#[test]
fn both_forms_of_the_drivers_commands_are_the_schemas() {
    let text = Text::new("line\n\"quoted\" 你好 ".repeat(20));
    let send = Command::Send { conversation_id: "g1", client_msg_id: "u1-d1-1-1", text: &text };
    let history = Command::History { conversation_id: "g1", after_seq: 70_000, limit: 100 };
    let wire_send = wire::Send {
        conversation_id: "g1".into(),
        client_msg_id: "u1-d1-1-1".into(),
        r#type: 1,
        text: text.text.clone(),
        ..Default::default()
    };
    let wire_history = wire::History {
        conversation_id: "g1".into(),
        after_seq: 70_000,
        limit: 100,
        ..wire::History::default()
    };
    let pairs = [
        (send, Body::Send(wire_send)),
        (history, Body::History(wire_history)),
        (Command::Ping, Body::Ping(wire::Ping {})),
    ];
    for (command, body) in pairs {
        for id in [1, 127, 128, 1 << 40] {
            let envelope = Ok(Envelope { id, body: Some(body.clone()) });
            let (mut proto, mut line) = (Vec::new(), Vec::new());
            write(id, &command, &mut proto);
            json::write(id, &command, &mut line);
            assert_eq!(
                decode(Format::Proto, &proto.into()).expect("well-formed"),
                std::slice::from_ref(&envelope)
            );
            assert_eq!(decode(Format::Json, &line.into()).expect("well-formed"), [envelope]);
        }
    }
}

#[test]
fn a_torn_envelope_is_an_error() {
    let mut frame = Vec::new();
    encode(Format::Proto, &Envelope { id: 1, body: Some(Body::Pong(wire::Pong {})) }, &mut frame);
    frame.pop();
    assert!(read(&frame).is_err() && json::read(b"{\"ack\":").is_err());
}
