//! What a connection is about to write: envelopes in one frame, frames in one write.

use imflow_proto::frame::Format;

use super::event::Command;
use super::{frame, json, proto};

/// A frame is closed when it has grown to this: the server takes messages of up to 64 KiB.
const FRAME_BYTES: usize = 32 << 10;

pub(super) struct Outgoing {
    format: Format,
    /// The envelopes of the frame that is being filled.
    payload: Vec<u8>,
    /// Whole frames; those before `written` have left.
    frames: Vec<u8>,
    written: usize,
}

impl Outgoing {
    pub(super) fn new(format: Format) -> Self {
        Self { format, payload: Vec::new(), frames: Vec::new(), written: 0 }
    }

    pub(super) fn put(&mut self, id: u64, command: &Command<'_>) {
        match self.format {
            Format::Json => json::write(id, command, &mut self.payload),
            Format::Proto => proto::write(id, command, &mut self.payload),
        }
        if self.payload.len() >= FRAME_BYTES {
            self.close_frame();
        }
    }

    pub(super) fn put_control(&mut self, opcode: u8, payload: &[u8]) {
        self.close_frame();
        frame::write(opcode, payload, &mut self.frames);
    }

    /// Writes what can be written now; `Ok(false)` when the socket takes no more.
    pub(super) fn write(
        &mut self,
        mut write: impl FnMut(&[u8]) -> std::io::Result<usize>,
    ) -> std::io::Result<bool> {
        self.close_frame();
        while self.written < self.frames.len() {
            match write(&self.frames[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.frames.clear();
        self.written = 0;
        Ok(true)
    }

    fn close_frame(&mut self) {
        if self.payload.is_empty() {
            return;
        }
        let opcode = match self.format {
            Format::Json => frame::TEXT,
            Format::Proto => frame::BINARY,
        };
        frame::write(opcode, &self.payload, &mut self.frames);
        self.payload.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_socket_delays_bytes_but_keeps_their_order() {
        let text = crate::text::Text::new("hello".into());
        let send = Command::Send { conversation_id: "g1", client_msg_id: "u1-d1-1-1", text: &text };
        let fill = |outgoing: &mut Outgoing| (1..=3).for_each(|id| outgoing.put(id, &send));
        let (mut whole, mut torn) = (Outgoing::new(Format::Proto), Outgoing::new(Format::Proto));
        fill(&mut whole);
        fill(&mut torn);
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut all = |bytes: &[u8]| {
            expected.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        assert!(whole.write(&mut all).expect("written"));
        let mut room = true;
        let mut little = |bytes: &[u8]| {
            room = !room;
            if room {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
            found.push(bytes[0]);
            Ok(1)
        };
        while !torn.write(&mut little).expect("written") {}
        assert_eq!(found, expected);
    }
}
