//! Envelopes as finished WebSocket frames, ready to be copied into a socket.
//!
//! A server's frames carry no mask, so a frame is the same for every receiver of a format: an event
//! is encoded at most once per format, whatever the number of its receivers.

use std::cell::{OnceCell, RefCell};

use bytes::Bytes;
use imflow_proto::frame::{self, Format};
use imflow_proto::wire::Envelope;

/// A ping without a payload.
pub(super) const PING: [u8; 2] = [0x89, 0];

const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;

/// Appends one envelope as one frame.
pub(super) fn append(format: Format, envelope: &Envelope, out: &mut Vec<u8>) {
    thread_local! {
        static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    PAYLOAD.with_borrow_mut(|payload| {
        payload.clear();
        frame::encode(format, envelope, payload);
        append_payload(format, payload, out);
        // One page of history must not stay in memory for good.
        payload.shrink_to(64 * 1024);
    });
}

/// Appends a finished payload as one frame.
pub(super) fn append_payload(format: Format, payload: &[u8], out: &mut Vec<u8>) {
    append_header(format, payload.len(), out);
    out.extend_from_slice(payload);
}

fn append_header(format: Format, length: usize, out: &mut Vec<u8>) {
    out.push(match format {
        Format::Json => FINAL_TEXT,
        Format::Proto => FINAL_BINARY,
    });
    match length {
        0..=125 => out.push(length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// The payloads of whole frames as [`append`] makes them.
pub(super) fn payloads(mut frames: &[u8]) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    while let [_, length, rest @ ..] = frames {
        let (length, rest) = match (*length, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, rest)
            }
            (short, rest) => (usize::from(short), rest),
        };
        let (payload, rest) = rest.split_at(length.min(rest.len()));
        payloads.push(Bytes::copy_from_slice(payload));
        frames = rest;
    }
    payloads
}

/// An event and its frames, made when the first receiver of a format asks.
pub(super) struct Shared {
    envelope: Envelope,
    json: OnceCell<Bytes>,
    proto: OnceCell<Bytes>,
}

impl Shared {
    pub(super) fn new(envelope: Envelope) -> Self {
        Self { envelope, json: OnceCell::new(), proto: OnceCell::new() }
    }

    pub(super) fn frame(&self, format: Format) -> &Bytes {
        let cell = match format {
            Format::Json => &self.json,
            Format::Proto => &self.proto,
        };
        cell.get_or_init(|| {
            let mut frame = Vec::new();
            append(format, &self.envelope, &mut frame);
            frame.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imflow_proto::wire::Goodbye;
    use imflow_proto::wire::envelope::Body;
    use std::io::Cursor;
    use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocket};

    #[test]
    fn a_websocket_library_reads_every_length_class() {
        for length in [1, 200, 70_000] {
            let goodbye = Goodbye {
                code: 1,
                reason: "x".repeat(length),
                reconnect: false,
                retry_after_ms: 0,
            };
            let envelope = Envelope { id: 0, body: Some(Body::Goodbye(goodbye)) };
            let shared = Shared::new(envelope.clone());
            for format in Format::ALL {
                let stream = Cursor::new(shared.frame(format).to_vec());
                let message =
                    WebSocket::from_raw_socket(stream, Role::Client, None).read().expect("a frame");
                assert_eq!(matches!(message, Message::Text(_)), format == Format::Json);
                assert_eq!(payloads(shared.frame(format)), [message.clone().into_data()]);
                assert_eq!(
                    frame::decode(format, &message.into_data()).expect("well-formed"),
                    [Ok(envelope.clone())]
                );
            }
        }
    }
}
