//! The promises, and how often each was broken.

use std::collections::BTreeMap;

/// Details that are kept of each promise; the rest is only counted.
const DETAILS: usize = 5;

/// What a client may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// An acked message reaches each online member.
    Delivered,
    /// A message is stored once and pushed once to a session.
    Once,
    /// A session sees a conversation in seq order, and a sender's messages in the order of sending.
    Order,
    /// Seqs have no gap.
    Gapless,
    /// All see the same message at a seq.
    Content,
    /// One command meets one reply, and a repeat the first one's.
    Ack,
    /// A good command is not refused.
    Refused,
}

impl Promise {
    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "lost",
            Self::Once => "duplicated",
            Self::Order => "reordered",
            Self::Gapless => "gaps",
            Self::Content => "mixed up",
            Self::Ack => "acked wrongly",
            Self::Refused => "refused",
        }
    }
}

/// Counts and the first details.
#[derive(Debug, Default)]
pub(crate) struct Broken(BTreeMap<Promise, (u64, Vec<String>)>);

impl Broken {
    pub(super) fn add(&mut self, promise: Promise, detail: String) {
        let (count, details) = self.0.entry(promise).or_default();
        *count += 1;
        if details.len() < DETAILS {
            details.push(detail);
        }
    }

    pub(super) fn count(&self, promise: Promise) -> u64 {
        self.0.get(&promise).map_or(0, |(count, _)| *count)
    }

    /// One line for each detail; empty when every promise was kept.
    pub(super) fn lines(&self) -> Vec<String> {
        let of = |(promise, (count, details)): (&Promise, &(u64, Vec<String>))| {
            let more = count - details.len() as u64;
            let name = promise.name();
            let lines = details.iter().map(move |detail| format!("{name}: {detail}"));
            lines.chain((more > 0).then(|| format!("{name}: and {more} more"))).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }
}
