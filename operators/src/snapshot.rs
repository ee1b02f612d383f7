//! The compact binary form of operators' snapshots: varints and length-prefixed text.
//!
//! The operator chooses the order of fields and the version; this file only guarantees that what was
//! put is what is taken, and that damaged bytes end in a sentence instead of a panic.

use bytes::Buf;
use prost::encoding::{decode_varint, encode_varint};

/// Appends values.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        encode_varint(value, &mut self.0);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes values in the order in which they were put.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn number(&mut self) -> Result<u64, String> {
        decode_varint(&mut self.0)
            .map_err(|_| "the snapshot ends inside a number; remove it and replay the log".into())
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, String> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if length > self.0.len() {
            return Err("the snapshot ends inside a text; remove it and replay the log".into());
        }
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        std::str::from_utf8(text)
            .map_err(|_| "the snapshot holds a text that is not UTF-8; remove it".into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.0.has_remaining()
    }
}

/// Refuses versions that this build does not know.
pub(crate) fn expect_version(kind: &str, found: u16, known: u16) -> Result<(), String> {
    if found == known {
        return Ok(());
    }
    Err(format!(
        "the snapshot of {kind} has version {found} and this build reads {known}; remove it and replay the log"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_taken_and_damage_is_an_error() {
        let mut writer = Writer::default();
        writer.number(0).text("").number(u64::MAX).text("群聊");
        let bytes = writer.finish();
        let mut reader = Reader(&bytes);
        assert_eq!((reader.number(), reader.text()), (Ok(0), Ok("")));
        assert_eq!((reader.number(), reader.text()), (Ok(u64::MAX), Ok("群聊")));
        assert!(reader.is_empty());
        let mut cut = Reader(&bytes[..bytes.len() - 1]);
        let taken = (cut.number(), cut.text(), cut.number(), cut.text());
        assert!(taken.3.is_err());
        assert!(Reader(&[0xff; 11]).text().is_err());
    }
}
