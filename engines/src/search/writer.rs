//! Writes the index: what the log says, in its order.

use std::path::PathBuf;
use std::sync::Arc;

use imflow_kind::{Bookmark, Journal, Logged, Replica, ReplicaError, Roles, Store};
use imflow_proto::log::Fact;
use imflow_proto::record::Lsn;
use imflow_proto::wire::{Message, MessageType};
use std::ops::Bound;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::query::RangeQuery;
use tantivy::{IndexWriter, ReloadPolicy, TantivyError, Term};

use super::folder::{self, Mark};
use super::schema::Fields;
use super::{Open, WordIndex};

/// What one commit holds at most: each costs some files and a sync.
const COMMIT: usize = 50_000;
/// A position that moved so far without a message is kept too.
const MOVED: Lsn = 100_000;
/// What is cut off the log leaves the index when it is older than what is left by so much: workers order
/// messages a moment apart.
const APART_MS: i64 = 60_000;

/// Where an index is and what it is of.
#[derive(Clone)]
pub struct Settings {
    pub folder: PathBuf,
    pub roles: Roles,
    /// The node that offers the log and its reads.
    pub of: String,
    /// What is gathered in memory for one segment.
    pub memory: usize,
}

/// Keeps the index; the one writer of its folder.
pub struct Writer {
    settings: Settings,
    shared: Arc<WordIndex>,
    fields: Fields,
    at_work: Option<AtWork>,
    /// As of what was given to the writer, and of what was committed.
    mark: Mark,
    committed: Mark,
    /// Given to the writer and not committed.
    pending: usize,
    /// Everything before was taken out.
    cut_ms: i64,
}

struct AtWork {
    writer: IndexWriter,
    journal: Arc<dyn Journal>,
    store: Arc<dyn Store>,
}

impl Writer {
    /// A writer that has not opened its folder, and what searches see.
    pub fn new(settings: Settings) -> (Self, Arc<WordIndex>) {
        let shared = Arc::<WordIndex>::default();
        let (mark, committed) = (Mark::default(), Mark::default());
        let (fields, at_work, pending, cut_ms) = (Fields::new().0, None, 0, i64::MIN);
        let writer = Self {
            settings,
            shared: Arc::clone(&shared),
            fields,
            at_work,
            mark,
            committed,
            pending,
            cut_ms,
        };
        (writer, shared)
    }

    fn role<R: std::any::Any + Clone>(&self) -> Result<R, ReplicaError> {
        let Settings { roles, of, .. } = &self.settings;
        roles.find(of).ok_or_else(|| ReplicaError(format!("`{of}` keeps no log")))
    }

    fn start(&mut self) -> Result<Mark, ReplicaError> {
        let (journal, store) = (self.role::<Arc<dyn Journal>>()?, self.role::<Arc<dyn Store>>()?);
        let opened = folder::open(&self.settings.folder, &*journal);
        let (index, mark) = opened.map_err(|error| self.failure("open", &*error))?;
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(self.settings.memory)
            .build();
        let writer = index.writer_with_options(options);
        let writer: IndexWriter = writer.map_err(|error| self.failure("open", &error))?;
        let mut merges = LogMergePolicy::default();
        merges.set_del_docs_ratio_before_merge(0.3);
        writer.set_merge_policy(Box::new(merges));
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader = reader.map_err(|error| self.failure("open", &error))?;
        let fields = self.fields;
        *self.shared.open.write() = Some(Open { reader, fields, journal: Arc::clone(&journal) });
        self.at_work = Some(AtWork { writer, journal, store });
        Ok(mark)
    }

    fn work(&mut self) -> Result<&mut AtWork, ReplicaError> {
        self.at_work.as_mut().ok_or_else(|| ReplicaError("the index of words is not open".into()))
    }

    fn add(&mut self, message: &Message) -> Result<(), ReplicaError> {
        if message.text.is_empty() {
            return Ok(());
        }
        let document = self.fields.document(message);
        let added = self.work()?.writer.add_document(document);
        added.map_err(|error| self.failure("write", &error))?;
        self.pending += 1;
        Ok(())
    }

    /// Takes a message out, and in again as it reads now.
    fn again(&mut self, conversation_id: &str, seq: u64) -> Result<(), ReplicaError> {
        let store = Arc::clone(&self.work()?.store);
        let page = store.messages(conversation_id, seq.saturating_sub(1), 1);
        let page = page.map_err(|error| self.failure("read the log for", &error))?;
        let Some(message) = page.items.into_iter().find(|message| message.seq == seq) else {
            // It is gone from the log, and leaves the index with all of its time.
            return Ok(());
        };
        let term = self.fields.id_term(message.server_msg_id);
        self.work()?.writer.delete_term(term);
        self.pending += 1;
        self.add(&message)
    }

    /// Takes out what a fact erases: all of it that was given before. Its words leave the files in [`Self::sweep`].
    fn erase(&mut self, fact: &Fact) -> Result<(), ReplicaError> {
        for term in self.fields.terms_erased_by(fact) {
            self.work()?.writer.delete_term(term);
            self.pending += 1;
            self.mark.sweep = true;
        }
        Ok(())
    }

    /// Writes one piece anew that may hold words of what was erased; says whether there is another.
    fn sweep(&mut self) -> Result<bool, ReplicaError> {
        if !self.committed.sweep || self.pending > 0 {
            return Ok(false);
        }
        let AtWork { writer, .. } = self.work()?;
        let pieces = writer.index().searchable_segment_metas();
        let pieces = pieces.map_err(|error| self.failure("read", &error))?;
        if let Some(piece) = pieces.iter().find(|piece| piece.has_deletes()) {
            let merged = self.work()?.writer.merge(&[piece.id()]).wait();
            // It may be part of a merge of larger pieces just now, which does the same.
            return Ok(merged.is_ok());
        }
        self.mark.sweep = false;
        // Searches let go of the old files, which then go.
        self.commit()?;
        let gone = self.work()?.writer.garbage_collect_files().wait();
        gone.map_err(|error| self.failure("remove old files of", &error))?;
        Ok(false)
    }

    fn commit(&mut self) -> Result<(), ReplicaError> {
        let payload = self.mark.payload();
        let AtWork { writer, .. } = self.work()?;
        let committed = writer.prepare_commit().and_then(|mut commit| {
            commit.set_payload(&payload);
            commit.commit()
        });
        committed.map_err(|error| self.failure("write", &error))?;
        if let Some(open) = &*self.shared.open.read() {
            open.reader.reload().map_err(|error| self.failure("open", &error))?;
        }
        self.pending = 0;
        self.committed = self.mark;
        self.shared.reached(&self.mark);
        Ok(())
    }

    /// Takes out what was cut off the log.
    fn cut(&mut self) -> Result<(), ReplicaError> {
        let journal = Arc::clone(&self.work()?.journal);
        let first = journal.read_on(&mut Bookmark::default(), 100);
        let first = first.map_err(|error| self.failure("read the log for", &error))?;
        let first_ms = first.iter().find_map(|record| match record {
            Logged::Message(entry) => Some(entry.message.created_at),
            Logged::Fact(_) => None,
        });
        let Some(before) = first_ms.map(|ms| ms - APART_MS).filter(|ms| *ms > self.cut_ms) else {
            return Ok(());
        };
        let before_then = Bound::Excluded(Term::from_field_i64(self.fields.created, before));
        let older = RangeQuery::new(Bound::Unbounded, before_then);
        let deleted = self.work()?.writer.delete_query(Box::new(older));
        deleted.map_err(|error| self.failure("write", &error))?;
        self.cut_ms = before;
        self.commit()
    }

    fn failure(&self, doing: &str, error: &dyn std::error::Error) -> ReplicaError {
        ReplicaError(format!(
            "cannot {doing} the index of words in `{}`: {error}",
            self.settings.folder.display()
        ))
    }
}

impl Replica for Writer {
    fn open(&mut self) -> Result<Lsn, ReplicaError> {
        let resumed = match self.at_work.as_mut().map(|work| work.writer.rollback()) {
            Some(Ok(_)) => Some(self.committed),
            // A writer that failed for good gives its folder back.
            Some(Err(TantivyError::LockFailure(..))) | Some(Err(_)) => {
                self.at_work = None;
                None
            }
            None => None,
        };
        let mark = match resumed {
            Some(mark) => mark,
            None => self.start()?,
        };
        (self.mark, self.committed, self.pending) = (mark, mark, 0);
        self.shared.reached(&mark);
        Ok(mark.position)
    }

    fn write(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError> {
        for record in records {
            let entry = match record {
                Logged::Message(entry) => entry,
                Logged::Fact(fact) => {
                    self.erase(&fact.fact)?;
                    continue;
                }
            };
            let message = &entry.message;
            match message.r#type() {
                MessageType::React => continue,
                MessageType::Revoke | MessageType::Edit => {
                    let target = message.action.as_ref().map_or(0, |action| action.target_seq);
                    self.again(&message.conversation_id, target)?;
                }
                _ => self.add(message)?,
            }
            self.mark.last = (entry.lsn, message.server_msg_id);
            self.mark.newest_ms = self.mark.newest_ms.max(message.created_at);
        }
        self.mark.position = upto;
        if self.pending == 0 {
            self.shared.reached(&self.mark);
        }
        if self.pending >= COMMIT { self.commit() } else { Ok(()) }
    }

    fn settle(&mut self) -> Result<(), ReplicaError> {
        let has_moved = self.mark.position - self.committed.position >= MOVED;
        if self.pending > 0 || has_moved { self.commit() } else { Ok(()) }
    }

    fn tend(&mut self, _now_ms: u64) -> Result<bool, ReplicaError> {
        self.cut()?;
        self.sweep()
    }
}
