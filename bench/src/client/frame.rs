//! WebSocket frames, both ways.
//!
//! Client frames must be masked; the RFC leaves the key to the client, and with the key zero masking
//! changes nothing and costs nothing.

use crate::failure::Failure;

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The server's messages are smaller, so a longer one is a broken stream.
const MAX_PAYLOAD: u64 = 16 << 20;

/// A whole frame at the start of a buffer.
#[derive(Debug, PartialEq)]
pub(super) struct Frame<'a> {
    pub(super) opcode: u8,
    pub(super) payload: &'a [u8],
    /// Bytes of the frame, header included.
    pub(super) length: usize,
}

/// Reads the frame at the start of `buffer`; `None`: more bytes are needed.
pub(super) fn read(buffer: &[u8]) -> Result<Option<Frame<'_>>, Failure> {
    let [first, second, rest @ ..] = buffer else { return Ok(None) };
    if first & FINAL == 0 || first & 0x70 != 0 || second & MASKED != 0 {
        return Err(Failure::new(format!(
            "expected an unmasked frame that is a whole message, found the header {first:#04x} {second:#04x}"
        )));
    }
    let (length, header) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 2),
    };
    if length > MAX_PAYLOAD {
        return Err(Failure::new(format!("the server announced a frame of {length} bytes")));
    }
    let end = header + length as usize;
    let frame = |payload| Frame { opcode: first & 0x0f, payload, length: end };
    Ok(buffer.get(header..end).map(frame))
}

/// Appends one frame.
pub(super) fn write(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.push(FINAL | opcode);
    match payload.len() {
        length @ 0..126 => into.push(MASKED | length as u8),
        length @ 126..0x1_0000 => {
            into.push(MASKED | 126);
            into.extend((length as u16).to_be_bytes());
        }
        length => {
            into.push(MASKED | 127);
            into.extend((length as u64).to_be_bytes());
        }
    }
    into.extend([0; 4]);
    into.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server would send it: without the mask bit and the key.
    fn served(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(BINARY, payload, &mut bytes);
        bytes[1] &= !MASKED;
        let key = bytes.len() - payload.len() - 4;
        bytes.drain(key..key + 4);
        bytes
    }

    #[test]
    fn frames_of_every_length_are_read_back() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload = vec![7; length];
            let mut bytes = served(&payload);
            let whole = bytes.len();
            bytes.push(0x82);
            let frame = read(&bytes).expect("well-formed").expect("whole");
            assert_eq!((frame.opcode, frame.payload, frame.length), (BINARY, &payload[..], whole));
        }
    }

    #[test]
    fn a_frame_waits_for_its_last_byte() {
        let bytes = served(&[7; 300]);
        assert!((0..bytes.len()).all(|end| matches!(read(&bytes[..end]), Ok(None))));
    }

    #[test]
    fn what_a_server_may_not_send_is_refused() {
        let mut masked = Vec::new();
        write(BINARY, b"x", &mut masked);
        assert!(read(&masked).is_err());
        assert!(read(&[0x02, 0x00]).is_err(), "a fragment");
        assert!(read(&[0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0]).is_err(), "a length beyond reason");
    }
}
