//! The bytes of a segment.
//!
//! ```text
//! header, 64 bytes: magic 8 | version u32 | segment u32 | first lsn u64 | crc32c u32 | zeros
//! record:           len u32 | crc32c u32 | lsn u64 | kind u8 | payload            (little endian)
//! ```
//! `len` counts what follows the checksum, and the checksum covers exactly that. A payload is the
//! protobuf form of what is stored. The high bit of `kind` marks the first record of a commit: where it
//! stands, everything before it had been made durable. After the last record there are zeros.
//!
//! The next bit says that content was erased. Such a record is as long as it was, so that every other one stays
//! in its place: its payload is what is left, with its length (a varint) before and zeros behind.

use imflow_proto::record::Lsn;

/// Bytes of a segment before its first record.
pub(crate) const HEADER: usize = 64;
/// Bytes of a record before its payload.
pub(crate) const HEAD: usize = 17;
/// A record whose payload is `imflow.v1.Message`.
pub(crate) const MESSAGE: u8 = 1;
/// A record whose payload is `imflow.v1.log.Fact`.
pub(crate) const FACT: u8 = 2;
/// A record whose payload is `imflow.v1.log.CursorsMoved`.
pub(crate) const CURSORS: u8 = 3;
/// Set in `kind` on the first record of a commit.
pub(crate) const STARTS_COMMIT: u8 = 0x80;
/// Set in `kind` of a record whose content was erased.
pub(crate) const ERASED: u8 = 0x40;
/// Where in a segment's header stands the last record that asked for an erasure in it, u64; 0: none did.
pub(crate) const ERASED_BY: std::ops::Range<usize> = 28..36;

/// The version of this format.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"imflow\0L";
/// Bytes before what `len` counts.
const PREFIX: usize = 8;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub segment: u32,
    pub first_lsn: Lsn,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_lsn.to_le_bytes());
        let crc = crc32c(&bytes[..24]);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header. `Ok(None)`: all zeros, the segment was never begun.
    ///
    /// # Errors
    /// What was found instead.
    pub(crate) fn parse(bytes: &[u8; HEADER]) -> Result<Option<Self>, String> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if &bytes[..8] != MAGIC {
            return Err("it does not begin as a segment of the log".into());
        }
        if u32_at(bytes, 24) != crc32c(&bytes[..24]) {
            return Err("the checksum of its header does not match".into());
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Some(Self { segment: u32_at(bytes, 12), first_lsn: u64_at(bytes, 16) })),
            other => Err(format!(
                "it has format version {other}, and this build reads version {VERSION}"
            )),
        }
    }
}

/// A record as it stands in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub lsn: Lsn,
    pub kind: u8,
    pub starts_commit: bool,
    pub erased: bool,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The whole length of the record that begins here, if its `len` can be one.
    pub(crate) fn length(head: &[u8]) -> Option<usize> {
        let len = u32_at(head, 0) as usize;
        (len >= HEAD - PREFIX).then_some(PREFIX + len)
    }

    /// Reads the record that is exactly these bytes; `None` when it is not whole.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < HEAD
            || Self::length(bytes) != Some(bytes.len())
            || u32_at(bytes, 4) != crc32c(&bytes[PREFIX..])
        {
            return None;
        }
        let kind = bytes[16];
        let erased = kind & ERASED != 0;
        Some(Self {
            lsn: u64_at(bytes, 8),
            kind: kind & !(STARTS_COMMIT | ERASED),
            starts_commit: kind & STARTS_COMMIT != 0,
            erased,
            payload: if erased { left(&bytes[HEAD..])? } else { &bytes[HEAD..] },
        })
    }
}

/// What is left of a payload that was erased.
fn left(mut payload: &[u8]) -> Option<&[u8]> {
    let length = prost::decode_length_delimiter(&mut payload).ok()?;
    payload.get(..length)
}

/// Replaces the payload of the whole record that is exactly these bytes by what is to be left of it; `false`: that is
/// too long.
pub(crate) fn erase(record: &mut [u8], left: &[u8]) -> bool {
    let room = record.len() - HEAD;
    let delimiter = prost::length_delimiter_len(left.len());
    if delimiter + left.len() > room {
        return false;
    }
    let payload = &mut record[HEAD..];
    payload.fill(0);
    prost::encode_length_delimiter(left.len(), &mut &mut payload[..]).expect("it fits");
    payload[delimiter..delimiter + left.len()].copy_from_slice(left);
    record[16] |= ERASED;
    let crc = crc32c(&record[PREFIX..]);
    record[4..8].copy_from_slice(&crc.to_le_bytes());
    true
}

/// Appends a record; gives its whole length.
pub(crate) fn append(
    buffer: &mut Vec<u8>,
    lsn: Lsn,
    kind: u8,
    payload: &impl prost::Message,
) -> usize {
    let start = buffer.len();
    let length = HEAD + payload.encoded_len();
    buffer.resize(start + length, 0);
    // Into a slice: a `Vec` would be asked for room at each byte.
    payload.encode(&mut &mut buffer[start + HEAD..]).expect("as long as it said");
    let frame = &mut buffer[start..];
    frame[..4].copy_from_slice(&((length - PREFIX) as u32).to_le_bytes());
    frame[8..16].copy_from_slice(&lsn.to_le_bytes());
    frame[16] = kind;
    let crc = crc32c(&frame[PREFIX..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    length
}

/// The checksum that segments and snapshots use.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use imflow_proto::wire::Message;
    use prost::Message as _;

    #[test]
    fn a_record_is_read_as_written_and_any_flipped_bit_shows() {
        let message = Message {
            conversation_id: "c1".into(),
            seq: 7,
            text: "hi".into(),
            ..Default::default()
        };
        let mut bytes = Vec::new();
        let length = append(&mut bytes, 42, MESSAGE | STARTS_COMMIT, &message);
        assert_eq!(length, bytes.len());
        let frame = Frame::parse(&bytes).expect("whole");
        assert_eq!((frame.lsn, frame.kind, frame.starts_commit), (42, MESSAGE, true));
        assert_eq!(Message::decode(frame.payload).expect("a message"), message);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::parse(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn an_erased_record_keeps_its_length_and_says_what_is_left() {
        let message =
            Message { conversation_id: "c1".into(), mention_all: true, ..Default::default() };
        let mut bytes = Vec::new();
        let length = append(&mut bytes, 42, MESSAGE | STARTS_COMMIT, &message);
        let left = Message { mention_all: false, ..message };
        assert!(erase(&mut bytes, &left.encode_to_vec()));
        assert_eq!(bytes.len(), length);
        let frame = Frame::parse(&bytes).expect("whole");
        assert_eq!((frame.lsn, frame.kind, frame.starts_commit), (42, MESSAGE, true));
        assert!(frame.erased);
        assert_eq!(Message::decode(frame.payload).expect("a message"), left);
        assert!(!erase(&mut bytes, &[1; 64]), "there is no room for more than there was");
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::parse(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_header_is_read_as_written() {
        let header = Header { segment: 3, first_lsn: 1 << 40 };
        assert_eq!(Header::parse(&header.to_bytes()), Ok(Some(header)));
        assert_eq!(Header::parse(&[0; HEADER]), Ok(None));
        let mut flipped = header.to_bytes();
        flipped[17] ^= 1;
        assert!(Header::parse(&flipped).is_err());
    }
}
