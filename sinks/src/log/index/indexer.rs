//! Follows the committer: puts each group into RAM and its facts into the directory.
//!
//! On its thread the inbox is bounded; when it is full the committer waits, so the index never falls
//! further behind than that. Sealed segments go to the ingester over a bounded channel, which bounds
//! RAM likewise.

use std::sync::Arc;

use super::ram::RamSegment;
use super::{Group, Index, Indexed};
use crate::log::space::Space;

pub(crate) struct Indexer {
    pub index: Arc<Index>,
    pub space: Arc<Space>,
}

/// The service stops before the index could be written; the next start reads again what it lacks.
#[derive(Debug)]
pub(crate) struct GivenUp;

impl Indexer {
    /// Follows until the committer has ended.
    pub(crate) fn run(
        self,
        inbox: &flume::Receiver<Group>,
        to_ingester: &flume::Sender<Arc<RamSegment>>,
    ) {
        while let Ok(group) = inbox.recv() {
            match self.apply(&group) {
                // Fails only while stopping, when the ingester has gone; the next start reads the
                // segment again.
                Ok(Some(sealed)) => drop(to_ingester.send(sealed)),
                Ok(None) => {}
                Err(GivenUp) => return,
            }
        }
    }

    /// Applies one group; gives the segment that it sealed by beginning the next.
    pub(crate) fn apply(&self, group: &Group) -> Result<Option<Arc<RamSegment>>, GivenUp> {
        let sealed = {
            let mut ram = self.index.ram.write();
            let sealed = (ram.open().number != group.segment).then(|| ram.seal(group.segment));
            let open = ram.open();
            for record in &group.records {
                if let Indexed::Message(committed, place) = record {
                    open.insert(&committed.message, &committed.keys, *place);
                }
            }
            open.last_lsn = group.last_lsn;
            sealed
        };
        for record in &group.records {
            if let Indexed::Fact(fact) = record
                && !self.index.insist(&self.space, "apply a fact to the index", || {
                    let _writing = self.index.writing.lock();
                    self.index.directory.apply(fact.lsn, &fact.fact)
                })
            {
                return Err(GivenUp);
            }
        }
        self.index.progress.set_indexed(group.last_lsn);
        Ok(sealed)
    }
}
