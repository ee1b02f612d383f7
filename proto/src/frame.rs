//! Frames: one WebSocket message holds one or more envelopes.
//!
//! JSON: one object a line. Protobuf: each envelope behind its length as a varint.

use bytes::{Buf, Bytes};
use prost::Message as _;

use crate::wire::{Envelope, Error, ErrorCode};

/// Most envelopes in one frame. Each costs more memory than it may take on the wire (an empty one is
/// a single byte), so the limit on a frame's bytes does not bound what reading it costs.
pub const MAX_ENVELOPES: usize = 1_024;

/// The encoding of a connection, chosen by its subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Proto,
}

impl Format {
    /// Both encodings, in the server's order of preference.
    pub const ALL: [Self; 2] = [Self::Json, Self::Proto];

    /// The WebSocket subprotocol that names this encoding.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "imflow.v1.json",
            Self::Proto => "imflow.v1.proto",
        }
    }
}

/// A frame that cannot be read as a whole: the connection must close.
#[derive(Debug, thiserror::Error)]
#[error("malformed {}: {reason}", if *.format == Format::Json { "JSON" } else { "protobuf" })]
pub struct Malformed {
    format: Format,
    reason: String,
}

/// An envelope, or the error that its sender gets under the envelope's id.
pub type Decoded = Result<Envelope, (u64, Error)>;

/// Reads all envelopes of a frame.
///
/// A JSON line that is well-formed but not of the schema costs only itself: it is answered INVALID
/// with the name of what is wrong. Unknown protobuf fields are ignored.
///
/// # Errors
/// When the frame is not well-formed, or holds more than [`MAX_ENVELOPES`].
pub fn decode(format: Format, frame: &Bytes) -> Result<Vec<Decoded>, Malformed> {
    let envelopes = match format {
        Format::Json => collect(
            frame
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.trim_ascii().is_empty())
                .map(|line| decode_line(line).map_err(|e| e.to_string())),
        ),
        Format::Proto => {
            let mut rest = frame.clone();
            collect(std::iter::from_fn(|| {
                let envelope =
                    rest.has_remaining().then(|| Envelope::decode_length_delimited(&mut rest))?;
                Some(envelope.map(Ok).map_err(|e| e.to_string()))
            }))
        }
    };
    envelopes.map_err(|reason| Malformed { format, reason })
}

/// Reads envelopes up to the first that fails or is one too many.
fn collect(
    envelopes: impl Iterator<Item = Result<Decoded, String>>,
) -> Result<Vec<Decoded>, String> {
    let mut collected = Vec::new();
    for envelope in envelopes {
        if collected.len() == MAX_ENVELOPES {
            return Err(format!(
                "a frame holds at most {MAX_ENVELOPES} envelopes; send the others in further frames"
            ));
        }
        collected.push(envelope?);
    }
    Ok(collected)
}

fn decode_line(line: &[u8]) -> Result<Decoded, serde_json::Error> {
    match serde_json::from_slice::<Envelope>(line) {
        Ok(envelope) => Ok(Ok(envelope)),
        Err(error) if error.is_data() => {
            // Well-formed: find the id, so that the sender knows which command failed.
            let value: serde_json::Value = serde_json::from_slice(line)?;
            let id = value.get("id").and_then(serde_json::Value::as_u64).unwrap_or(0);
            Ok(Err((id, Error::of(ErrorCode::Invalid, sentence(&error)))))
        }
        Err(error) => Err(error),
    }
}

/// serde's message without its position, which is of no use in a one-line object.
fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text[..end].replace("unknown variant", "unknown key").replace("unknown field", "unknown key")
}

/// Appends one envelope to a frame.
pub fn encode(format: Format, envelope: &Envelope, frame: &mut Vec<u8>) {
    match format {
        Format::Json => {
            if !frame.is_empty() {
                frame.push(b'\n');
            }
            serde_json::to_writer(&mut *frame, envelope)
                .expect("the schema's types serialize, and a Vec takes all");
        }
        Format::Proto => {
            envelope.encode_length_delimited(frame).expect("a Vec takes all");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::envelope::Body;
    use crate::wire::{Ack, AckStatus, MessageType, Push, Send, push};

    fn json(text: &str) -> Vec<Decoded> {
        decode(Format::Json, &Bytes::copy_from_slice(text.as_bytes())).expect("well-formed")
    }

    #[test]
    fn one_schema_in_both_encodings() {
        let send = Send {
            conversation_id: "c1".into(),
            client_msg_id: "alice-phone-1-1".into(),
            r#type: MessageType::Text.into(),
            text: "你好".into(),
            reply_to: 3,
            mentions: vec!["bob".into()],
            ..Default::default()
        };
        let ack = Ack {
            server_msg_id: i64::MAX,
            seq: 12,
            status: AckStatus::Ok.into(),
            created_at: 1_732_440_000_123,
        };
        for body in [Body::Send(send), Body::Ack(ack)] {
            let envelope = Envelope { id: 7, body: Some(body) };
            for format in Format::ALL {
                let mut frame = Vec::new();
                encode(format, &envelope, &mut frame);
                encode(format, &envelope, &mut frame);
                let decoded = decode(format, &frame.into()).expect("well-formed");
                assert_eq!(decoded, [Ok(envelope.clone()), Ok(envelope.clone())]);
            }
        }
    }

    #[test]
    fn the_json_form_is_the_documented_one() {
        let decoded = json(
            r#"{"id":1,"send":{"conversationId":"c1","clientMsgId":"x","type":"TEXT","text":"hi"}}"#,
        );
        let Ok(Envelope { id: 1, body: Some(Body::Send(send)) }) = &decoded[0] else {
            panic!("{decoded:?}")
        };
        assert_eq!((send.r#type(), send.text.as_str()), (MessageType::Text, "hi"));
        let ack = Ack { server_msg_id: 5, seq: 12, status: AckStatus::Ok.into(), created_at: 3 };
        let mut frame = Vec::new();
        encode(Format::Json, &Envelope { id: 1, body: Some(Body::Ack(ack)) }, &mut frame);
        let message =
            crate::wire::Message { conversation_id: "c".into(), seq: 1, ..Default::default() };
        let push = Body::Push(Push { event: Some(push::Event::Message(message)) });
        encode(Format::Json, &Envelope { id: 0, body: Some(push) }, &mut frame);
        let text = String::from_utf8(frame).expect("JSON is UTF-8");
        let (first, second) = text.split_once('\n').expect("one object a line");
        assert_eq!(
            first,
            r#"{"id":1,"ack":{"serverMsgId":"5","seq":12,"status":"OK","createdAt":3}}"#
        );
        assert!(
            second.starts_with(r#"{"push":{"message":{"conversationId":"c","seq":1,"#),
            "{second}"
        );
    }

    #[test]
    fn an_unknown_key_is_named_and_costs_only_its_line() {
        let decoded = json(
            "{\"id\":3,\"send\":{\"colour\":1}}\n{\"id\":4,\"ping\":{}}\n{\"id\":5,\"fly\":{}}",
        );
        let (id, error) = decoded[0].as_ref().expect_err("unknown key");
        assert!(*id == 3 && error.message.contains("colour"), "{error:?}");
        assert!(decoded[1].is_ok());
        let (id, error) = decoded[2].as_ref().expect_err("unknown command");
        assert!(*id == 5 && error.message.contains("fly"), "{error:?}");
    }

    #[test]
    fn broken_frames_are_malformed() {
        for text in ["{", "hello", "{\"id\":1}}"] {
            assert!(
                decode(Format::Json, &Bytes::copy_from_slice(text.as_bytes())).is_err(),
                "{text}"
            );
        }
        for bytes in [&[5u8, 1, 2][..], &[0xff; 12][..], &[2, 0xff, 0xff][..]] {
            assert!(decode(Format::Proto, &Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_frame_of_more_envelopes_than_the_limit_is_malformed() {
        let (json, proto) = ("{\"ping\":{}}\n", [0_u8]);
        for (format, envelope) in [(Format::Json, json.as_bytes()), (Format::Proto, &proto[..])] {
            let frame = |envelopes| Bytes::from(envelope.repeat(envelopes));
            let decoded = decode(format, &frame(MAX_ENVELOPES)).expect("at the limit");
            assert_eq!(decoded.len(), MAX_ENVELOPES);
            let error = decode(format, &frame(MAX_ENVELOPES + 1)).expect_err("beyond it");
            assert!(error.to_string().contains("1024"), "{error}");
        }
    }
}
