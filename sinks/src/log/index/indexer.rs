//! Follows the committer: puts each group into RAM and its facts into the directory.
//!
//! Its inbox is bounded; when it is full the committer waits, so the index never falls further behind
//! than that. Sealed segments go to the ingester over a bounded channel, which bounds RAM likewise.

use std::sync::Arc;

use super::ram::RamSegment;
use super::{Group, Index, Indexed};
use crate::log::space::Space;

pub(crate) struct Indexer {
    pub index: Arc<Index>,
    pub space: Arc<Space>,
    pub inbox: flume::Receiver<Group>,
    pub sealed: flume::Sender<Arc<RamSegment>>,
}

impl Indexer {
    /// Follows until the committer has ended.
    pub(crate) fn run(self) {
        while let Ok(group) = self.inbox.recv() {
            if !self.apply(&group) {
                return;
            }
        }
    }

    /// Applies one group; `false`: the service stops before the index could be written.
    pub(crate) fn apply(&self, group: &Group) -> bool {
        self.seal_before(group.segment);
        {
            let mut ram = self.index.ram.write();
            let open = ram.open();
            for record in &group.records {
                if let Indexed::Message(committed, place) = record {
                    open.insert(&committed.message, *place);
                }
            }
            open.last_lsn = group.last_lsn;
        }
        for record in &group.records {
            if let Indexed::Fact(fact) = record
                && !self.space.insist("apply a fact to the index", || {
                    self.index.directory.apply(fact.lsn, &fact.fact)
                })
            {
                return false;
            }
        }
        self.index.progress.set_indexed(group.last_lsn);
        true
    }

    fn seal_before(&self, segment: u32) {
        let sealed = {
            let mut ram = self.index.ram.write();
            if ram.open().number == segment {
                return;
            }
            ram.seal(segment)
        };
        // Fails only while stopping, when the ingester has gone; the next start reads the segment again.
        let _ = self.sealed.send(sealed);
    }
}
