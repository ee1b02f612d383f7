//! A log that was opened: what recovery found, the roles it offers, and the workings that either form
//! of the sink drives, on threads or step by step.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use imflow_kind::{Clock, Injector, IoContext, Journal, StartError, Store};

use super::LogError;
use super::committer::Committer;
use super::completions::Completions;
use super::files::{Files, Lock};
use super::index::{
    Age, Cool, Eraser, Index, Indexer, Ingester, Keep, Policy, Retention, Tables, Trim, finish,
    rebuild,
};
use super::journal::LogJournal;
use super::lookups::Lookups;
use super::meters::LogMeters;
use super::progress::Progress;
use super::recover::{Tail, recover};
use super::references::References;
use super::segments::Segments;
use super::snapshots::Snapshots;
use super::space::{Sizes, Space};

/// Where a log keeps its things.
pub(crate) struct Storage {
    pub files: Arc<dyn Files>,
    pub tables: Arc<dyn Tables>,
    pub policy: Policy,
    pub lock: Option<Lock>,
}

/// The parts of a recovered log.
pub(crate) struct Parts {
    pub segments: Arc<Segments>,
    pub space: Arc<Space>,
    pub progress: Arc<Progress>,
    pub index: Arc<Index>,
    pub tail: Tail,
}

impl Parts {
    /// Recovers the log and brings the index up to it.
    pub(crate) fn recover(storage: &Storage, sizes: Sizes) -> Result<Self, LogError> {
        let found = recover(&*storage.files, sizes.segment)?;
        let tail = found.tail;
        let segments = Arc::new(Segments::new(Arc::clone(&storage.files), found.known));
        let durable = tail.next_lsn - 1;
        let progress = Arc::new(Progress::at(durable));
        let open = rebuild(&segments, &storage.tables, durable, storage.policy)?;
        let index = Arc::new(Index::new(
            Arc::clone(&segments),
            Arc::clone(&progress),
            Arc::clone(&storage.tables),
            open,
        ));
        index.load_erasures()?;
        // A cut that a crash interrupted.
        finish(&index, index.segments.base()?.segment)?;
        let left = tail.file.size() - tail.end;
        let space = Arc::new(Space::new(
            Arc::clone(&storage.files),
            sizes,
            tail.segment,
            left,
            found.spares,
        ));
        // A log that ends near the end of its segment must not begin by refusing commands.
        while space.gate().is_closed() {
            match space.make_one() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(
                        "{error}; the service starts for reads only and refuses messages until there is room"
                    );
                    break;
                }
            }
        }
        Ok(Self { segments, space, progress, index, tail })
    }
}

/// A log that is ready to start.
pub(crate) struct Opened {
    parts: Parts,
    clock: Arc<dyn Clock>,
    meters: LogMeters,
    retain: Duration,
    policy: Policy,
    files: Arc<dyn Files>,
    snapshots: Arc<Snapshots>,
    keep: Keep,
    archive: Option<PathBuf>,
    hot: Duration,
    partitions: u32,
}

/// What works in a started log. Each part does one step when it is called and waits for nobody.
pub(crate) struct Works {
    pub committer: Committer,
    pub indexer: Indexer,
    pub ingester: Ingester,
    pub lookups: Lookups,
    pub references: References,
    pub eraser: Eraser,
}

impl Opened {
    /// Recovers the log of a node and offers its roles.
    pub(crate) fn open(
        context: &IoContext,
        storage: &Storage,
        snapshots: Snapshots,
    ) -> Result<(Self, Arc<Snapshots>), StartError> {
        let parts = Parts::recover(storage, Sizes::of_segment(context.options.size("segment")))?;
        let snapshots = Arc::new(snapshots);
        let journal = LogJournal {
            index: Arc::clone(&parts.index),
            snapshots: Arc::clone(&snapshots),
            gate: parts.space.gate(),
        };
        context.roles.offer(&context.name, Arc::clone(&parts.index) as Arc<dyn Store>);
        context.roles.offer(&context.name, Arc::clone(&parts.index));
        context.roles.offer(&context.name, Arc::new(journal) as Arc<dyn Journal>);
        let opened = Self {
            parts,
            clock: Arc::clone(&context.clock),
            meters: LogMeters::new(&context.meters),
            retain: context.options.duration("retain"),
            policy: storage.policy,
            files: Arc::clone(&storage.files),
            snapshots: Arc::clone(&snapshots),
            keep: Keep {
                time: context.options.duration("keep"),
                bytes: context.options.size("keep_bytes"),
            },
            archive: Some(context.options.text("archive"))
                .filter(|folder| !folder.is_empty())
                .map(|folder| context.data.join(folder)),
            hot: context.options.duration("hot"),
            partitions: context.partitions,
        };
        Ok((opened, snapshots))
    }

    /// The room of the log.
    pub(crate) fn space(&self) -> Arc<Space> {
        Arc::clone(&self.parts.space)
    }

    /// Builds the workings; what they have done goes to `injector`.
    pub(crate) fn works(self, injector: Arc<dyn Injector>) -> Works {
        let Self {
            parts,
            clock,
            meters,
            retain,
            policy,
            files,
            snapshots,
            keep,
            archive,
            hot,
            partitions,
        } = self;
        let Parts { segments, space, progress, index, tail } = parts;
        let completions = Completions::new(Arc::clone(&injector));
        let retention = Retention::new(Arc::clone(&index), Arc::clone(&clock), retain);
        let eraser = Eraser { index: Arc::clone(&index), files: Arc::clone(&files), policy };
        let trim = Trim {
            index: Arc::clone(&index),
            files,
            snapshots,
            age: Age::new(Arc::clone(&clock)),
            keep,
            partitions,
            segment_bytes: space.sizes.segment,
        };
        let cool = Cool {
            index: Arc::clone(&index),
            age: Age::new(Arc::clone(&clock)),
            folder: archive,
            hot,
            moved: 0,
        };
        Works {
            eraser,
            committer: Committer::new(
                segments,
                Arc::clone(&space),
                progress,
                completions,
                meters,
                tail,
            ),
            indexer: Indexer { index: Arc::clone(&index), space: Arc::clone(&space) },
            ingester: Ingester::new(
                Arc::clone(&index),
                Arc::clone(&space),
                policy,
                retention,
                trim,
                cool,
            ),
            references: References { index: Arc::clone(&index), injector: Arc::clone(&injector) },
            lookups: Lookups { index, space, clock, retain, injector },
        }
    }
}
