//! An archive in memory: what a simulated copy holds, for those who read it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use imflow_kind::{Archive, Latest, Logged, StoreError};
use imflow_proto::wire::Message;
use parking_lot::Mutex;

use crate::log::Targets;

/// Messages of a conversation that it keeps; older ones go.
const MOST: usize = 100_000;

#[derive(Default)]
pub(crate) struct Kept {
    is_away: AtomicBool,
    /// The last record that asked for an erasure.
    erased: AtomicU64,
    /// By conversation and seq.
    messages: Mutex<BTreeMap<String, BTreeMap<u64, Message>>>,
}

impl Kept {
    pub(crate) fn put_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Who has a seq keeps it; what the log erases is erased.
    pub(crate) fn take(&self, records: &[Logged]) {
        let mut kept = self.messages.lock();
        for record in records {
            let committed = match record {
                Logged::Message(committed) => committed,
                Logged::Fact(fact) => {
                    // Given once more, it does not mean what has come since.
                    if let Some(targets) = Targets::of(fact)
                        && self.erased.fetch_max(fact.lsn, Ordering::Relaxed) < fact.lsn
                    {
                        let all = kept.values_mut().flat_map(BTreeMap::values_mut);
                        all.for_each(|message| targets.erase(message));
                    }
                    continue;
                }
            };
            let message = &committed.message;
            let of = kept.entry(message.conversation_id.clone()).or_default();
            of.entry(message.seq).or_insert_with(|| message.clone());
            if of.len() > MOST {
                of.pop_first();
            }
        }
    }

    fn read<T>(
        &self,
        conversation_id: &str,
        read: impl FnOnce(&BTreeMap<u64, Message>) -> T,
    ) -> Result<T, StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Away("the test put it out of reach".into()));
        }
        let kept = self.messages.lock();
        Ok(read(kept.get(conversation_id).unwrap_or(&BTreeMap::new())))
    }
}

impl Archive for Kept {
    fn first(&self, id: &str, seqs: Range<u64>, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.read(id, |of| of.range(seqs).take(limit).map(|(_, it)| it.clone()).collect())
    }

    fn last(&self, id: &str, seqs: Range<u64>, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.read(id, |of| {
            let last = of.range(seqs).rev().take(limit);
            let mut last: Vec<Message> = last.map(|(_, message)| message.clone()).collect();
            last.reverse();
            last
        })
    }

    fn seq_before(&self, id: &str, time_ms: i64, end: u64) -> Result<u64, StoreError> {
        self.read(id, |of| {
            let mut earlier = of.range(..end).rev();
            earlier.find(|(_, it)| it.created_at < time_ms).map_or(0, |(seq, _)| *seq)
        })
    }

    fn about(
        &self,
        id: &str,
        targets: &[u64],
        end: u64,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.read(id, |of| {
            let before = of.range(..end).map(|(_, message)| message);
            before.filter(|message| message.acts_on(targets)).take(limit).cloned().collect()
        })
    }
}

/// The last of what is kept.
#[cfg(any(test, feature = "redis"))]
pub(crate) struct Newest {
    pub(crate) kept: Arc<Kept>,
    /// Of each conversation.
    pub(crate) many: usize,
}

#[cfg(any(test, feature = "redis"))]
impl Latest for Newest {
    fn latest(&self, id: &str) -> Result<Vec<Message>, StoreError> {
        self.kept.last(id, 0..u64::MAX, self.many)
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::archive::{Subject, conforms};
    use imflow_proto::record::Lsn;

    use super::*;

    struct InMemory(Arc<Kept>);

    impl Subject for InMemory {
        fn write(&mut self, records: &[Logged], _again: Lsn) {
            self.0.take(records);
        }

        fn archive(&self) -> Arc<dyn Archive> {
            Arc::clone(&self.0) as _
        }

        fn age(&mut self, _now_ms: i64) {}
    }

    #[test]
    fn it_conforms() {
        conforms(&mut || Box::new(InMemory(Arc::default())));
    }
}
