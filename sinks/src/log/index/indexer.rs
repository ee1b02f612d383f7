//! Follows the committer: puts each group into RAM, its facts and cursors into the directory.
//!
//! On its thread the inbox is bounded; when it is full the committer waits, so the index never falls
//! further behind than that. Sealed segments go to the ingester over a bounded channel, which bounds
//! RAM likewise.

use std::sync::Arc;

use imflow_proto::record::CommittedFact;

use super::ram::RamSegment;
use super::{Group, Index, Indexed};
use crate::log::LogError;
use crate::log::erase::Subject;
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
        let mut last_seqs = Vec::new();
        let sealed = {
            let mut ram = self.index.ram.write();
            let sealed = (ram.open().number != group.segment).then(|| ram.seal(group.segment));
            // See `imflow_proto::warm`.
            for record in &group.records {
                if let Indexed::Message(committed, _) = record {
                    ram.open().warm(&committed.keys);
                }
            }
            for record in &group.records {
                match record {
                    Indexed::Message(committed, place) => {
                        ram.open().insert(&committed.message, &committed.keys, *place);
                    }
                    // A member's history may begin at the fact: messages behind it in this group must not count.
                    Indexed::Fact(fact) => last_seqs.push(ram.last_seq(&fact.fact.conversation_id)),
                    Indexed::Moved(_) => {}
                }
            }
            ram.open().last_lsn = group.last_lsn;
            sealed
        };
        let mut last_seqs = last_seqs.into_iter();
        for record in &group.records {
            let done = match record {
                Indexed::Message(..) => true,
                Indexed::Fact(fact) => {
                    let in_ram = last_seqs.next().flatten();
                    self.insist("apply a fact to the index", || self.fact(fact, in_ram))
                }
                Indexed::Moved(moved) => self.insist("apply cursors to the index", || {
                    self.index.directory.advance(&moved.moves)
                }),
            };
            if !done {
                return Err(GivenUp);
            }
        }
        self.index.progress.set_indexed(group.last_lsn);
        Ok(sealed)
    }

    /// Writes to the directory until it works.
    fn insist(&self, action: &str, write: impl Fn() -> Result<(), LogError>) -> bool {
        self.index.insist(&self.space, action, || {
            let _writing = self.index.writing.lock();
            write()
        })
    }

    fn fact(&self, fact: &CommittedFact, last_in_ram: Option<u64>) -> Result<(), LogError> {
        let last_seq = match last_in_ram {
            Some(seq) => seq,
            None => self.index.directory.last_seq(&fact.fact.conversation_id)?,
        };
        self.index.directory.apply(fact.lsn, &fact.fact, last_seq)?;
        match Subject::of(&fact.fact) {
            Some(_) => self.index.load_erasures(),
            None => Ok(()),
        }
    }
}
