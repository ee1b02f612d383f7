//! What a session leaves to the next connection of its device.
//!
//! Pushes are counted on both ends, from the first of a session on. A session that asked to be resumable keeps
//! the last ones that were written; a connection that is lost leaves the session *parked*, and pushes gather
//! in its outbox as before. Whoever comes back in time says how many it has read: it gets those that were
//! written and not read, then those that gathered, then what is live.

use std::collections::VecDeque;

use bytes::Bytes;

use super::gaps::Gaps;

/// Written pushes that are kept, in number and bytes; older ones are forgotten.
const MAX_KEPT: usize = 256;
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// The pushes of a session that were written last.
#[derive(Default)]
pub(super) struct Kept {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Of the session, over all its connections.
    written: u64,
}

impl Kept {
    /// Goes on from so many.
    pub(super) fn from(written: u64) -> Self {
        Self { written, ..Self::default() }
    }

    pub(super) fn note(&mut self, frame: Bytes) {
        self.written += 1;
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.frames.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }

    /// Takes the pushes after the first `read`; `None`: some of them are forgotten, or were never written.
    fn after(&mut self, read: u64) -> Option<VecDeque<Bytes>> {
        let missing = usize::try_from(self.written.checked_sub(read)?).ok()?;
        let known = self.frames.len().checked_sub(missing)?;
        Some(self.frames.split_off(known))
    }
}

/// What the next connection starts with.
#[derive(Default)]
pub(super) struct Legacy {
    /// Pushes that the client has read.
    pub(super) read: u64,
    /// Those that follow, in their order.
    pub(super) frames: VecDeque<Bytes>,
    pub(super) gaps: Gaps,
}

impl Legacy {
    /// Of a client that has read so many; `None`: what it misses is not there any more.
    pub(super) fn of(kept: Option<&mut Kept>, read: u64) -> Option<Self> {
        Some(Self { read, frames: kept?.after(read)?, gaps: Gaps::default() })
    }
}

/// A session that a client wants to go on with, as the subprotocol `resume.SESSION.READ`; `resume` alone asks for
/// a new one that can be resumed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resume<'a> {
    pub(super) session_id: &'a str,
    pub(super) read: u64,
}

impl<'a> Resume<'a> {
    /// Reads one offered subprotocol; `None`: it is something else.
    pub(super) fn read(protocol: &'a str) -> Option<Option<Self>> {
        if protocol == "resume" {
            return Some(None);
        }
        let (session_id, read) = protocol.strip_prefix("resume.")?.rsplit_once('.')?;
        Some(Some(Self { session_id, read: read.parse().ok()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_and_not_read_is_given_again_as_far_as_it_is_kept() {
        let frame = |number: u64| Bytes::from(number.to_string());
        let mut kept = Kept::default();
        (1..=300).for_each(|number| kept.note(frame(number)));
        assert!(kept.after(301).is_none(), "never written");
        assert!(kept.after(43).is_none(), "forgotten");
        let again: Vec<_> = kept.after(298).expect("kept").into();
        assert_eq!(again, [frame(299), frame(300)]);
        let mut kept = Kept::default();
        kept.note(Bytes::from(vec![0; MAX_KEPT_BYTES + 1]));
        assert!(kept.after(0).is_none() && kept.after(1).expect("nothing is missing").is_empty());
    }

    #[test]
    fn a_subprotocol_says_what_to_resume() {
        assert_eq!(Resume::read("resume"), Some(None));
        let resume = Resume { session_id: "node-1.7", read: 12 };
        assert_eq!(Resume::read("resume.node-1.7.12"), Some(Some(resume)));
        for other in ["imflow.v1.json", "resume.", "resume.x", "resume.x.-1", "bearer.x"] {
            assert_eq!(Resume::read(other), None, "{other}");
        }
    }
}
