//! What the tests of the gateway share: sessions without sockets, and a dataflow that is a list.

use std::net::Ipv4Addr;
use std::sync::Arc;

use imflow_kind::testing::FakeInjector;
use imflow_kind::{Meters, SystemClock};
use imflow_proto::frame::{Format, decode};
use imflow_proto::record::{Entry, Scopes, Session};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, Message, MessageType, push};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

use super::hub::{Gateway, Hub};
use super::limits::Limits;
use super::peer::Peer;

pub(super) fn session(user: &str, device: &str, number: u64) -> Session {
    let scopes = Scopes { send: true, read: true, create: true, admin: false };
    Session { number, user_id: user.into(), device_id: device.into(), scopes }
}

pub(super) fn peer(user: &str, device: &str, number: u64) -> Arc<Peer> {
    peer_of(&new_hub(Limits::default()), session(user, device, number))
}

/// A session of a gateway, from 127.0.0.1, that never expires.
pub(super) fn peer_of(hub: &Hub, session: Session) -> Arc<Peer> {
    Peer::new(session, Format::Json, Ipv4Addr::LOCALHOST.into(), 1, u64::MAX, hub)
}

fn new_hub(limits: Limits) -> Arc<Hub> {
    Hub::new(limits, &Meters::default(), "node-1", Arc::new(SystemClock))
}

/// A hub whose sessions are welcome already, numbered from 1.
pub(super) fn hub_with(devices: &[(&str, &str)]) -> (Arc<Hub>, Vec<Arc<Peer>>) {
    let hub = new_hub(Limits::default());
    let peers: Vec<_> = devices
        .iter()
        .zip(1..)
        .map(|((user, device), number)| peer(user, device, number))
        .collect();
    for peer in &peers {
        hub.registry.insert(peer, 9, |_| {}).expect("room");
        peer.outbox.welcome(b"");
        peer.outbox.take(&mut Vec::new());
    }
    (hub, peers)
}

pub(super) fn send_line(id: u64) -> String {
    format!(
        r#"{{"id":{id},"send":{{"conversationId":"c1","clientMsgId":"alice-phone-{id}-1","type":"TEXT","text":"hello"}}}}"#
    )
}

pub(super) fn entry(conversation_id: &str, seq: u64) -> Arc<Entry> {
    let r#type = MessageType::Text.into();
    let message = Message {
        conversation_id: conversation_id.into(),
        seq,
        r#type,
        text: "hi".into(),
        ..Default::default()
    };
    Arc::new(Entry::recovered(seq, message))
}

/// The seqs of the messages that wait for a session, in their order.
pub(super) fn pushed_seqs(peer: &Peer) -> Vec<u64> {
    let mut seqs = Vec::new();
    loop {
        let mut out = Vec::new();
        let left = peer.outbox.take(&mut out).left;
        seqs.extend(envelopes(out).iter().filter_map(|envelope| match &envelope.body {
            Some(Body::Push(push)) => match &push.event {
                Some(push::Event::Message(message)) => Some(message.seq),
                _ => None,
            },
            _ => None,
        }));
        if !left {
            return seqs;
        }
    }
}

/// A gateway in front of `injector`.
pub(super) fn gateway(injector: Arc<FakeInjector>, limits: Limits) -> Arc<Gateway> {
    Gateway::new(new_hub(limits), injector, None)
}

/// Reads JSON frames of a server.
fn envelopes(frames: Vec<u8>) -> Vec<Envelope> {
    let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(frames), Role::Client, None);
    let mut envelopes = Vec::new();
    while let Ok(message) = socket.read() {
        let decoded = decode(Format::Json, &message.into_data()).expect("well-formed");
        envelopes.extend(decoded.into_iter().map(|envelope| envelope.expect("of the schema")));
    }
    envelopes
}
