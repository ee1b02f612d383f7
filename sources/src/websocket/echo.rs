//! The gateway's framing without a gateway: what a conformance suite for WebSocket talks to.
//!
//! It reads and writes through the same [`Wire`] as every connection and closes with the same codes, but
//! sends each message back instead of reading envelopes in it. `examples/echo.rs` serves it; the service
//! has no such route.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::Arc;

use imflow_kind::{Meters, Options, SystemClock};
use imflow_proto::frame::Format;
use imflow_proto::record::{Scopes, Session};
use tokio::net::TcpStream;

use super::connection::End;
use super::frames;
use super::hub::Hub;
use super::limits::Limits;
use super::peer::Peer;
use super::wire::{Data, Turn, Wire, Wish};

/// Echoes until either end closes, under the limits of a gateway with these options. `stream` is past
/// its upgrade.
pub async fn echo(stream: TcpStream, options: &Options) {
    let limits = Limits::from_options(options);
    let most = limits.max_frame;
    let mut wire = Wire::new(stream, &[], &limits);
    let session = Session {
        number: 1,
        user_id: "a".into(),
        device_id: "b".into(),
        scopes: Scopes::default(),
    };
    let hub = Hub::new(limits, &Meters::default(), "echo", Arc::new(SystemClock));
    let peer = Peer::new(session, Format::Json, Ipv4Addr::LOCALHOST.into(), 1, u64::MAX, &hub);
    let end = loop {
        // As a connection does, it reads only while little waits for the socket.
        let wish = Wish { read: wire.backlog() <= most, more: wire.backlog() > 0 };
        match poll_fn(|cx| wire.poll_turn(cx, &peer, wish)).await {
            Turn::Failed(failure) => break End::from(failure),
            Turn::Woken | Turn::Written => {}
            Turn::Read => {
                for message in wire.messages() {
                    let (format, data) = match message {
                        Data::Text(data) => (Format::Json, data),
                        Data::Binary(data) => (Format::Proto, data),
                    };
                    frames::append_payload(format, &data, wire.out());
                }
            }
        }
    };
    match end {
        End::Gone | End::Lost => {}
        End::Close(close, _) => wire.close(close.code(), close.short_reason()),
        End::Breach(code, reason) => wire.close(code, reason),
    }
    let _ =
        tokio::time::timeout(super::connection::FAREWELL, poll_fn(|cx| wire.poll_finish(cx))).await;
}
