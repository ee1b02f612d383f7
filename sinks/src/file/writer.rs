//! The thread that writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use imflow_kind::fields;
use imflow_proto::Record;

use super::rotation::Rotation;

/// How long a line may be in the hands of the operating system alone.
const SYNC_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    inbox: flume::Receiver<Vec<Record>>,
    rotation: Rotation,
    waiting: Arc<AtomicUsize>,
    lines: Vec<u8>,
    /// When lines that are not yet synced began to be.
    unsynced: Option<Instant>,
    /// Lines that could not be written since the last that could.
    failed: u64,
}

impl Writer {
    pub(super) fn new(
        inbox: flume::Receiver<Vec<Record>>,
        rotation: Rotation,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        Self { inbox, rotation, waiting, lines: Vec::new(), unsynced: None, failed: 0 }
    }

    /// Writes until the queue is closed.
    pub(super) fn run(mut self) {
        loop {
            let batch = match self.unsynced {
                None => self.inbox.recv().ok(),
                Some(since) => match self.inbox.recv_deadline(since + SYNC_EVERY) {
                    Err(flume::RecvTimeoutError::Timeout) => {
                        self.sync();
                        continue;
                    }
                    other => other.ok(),
                },
            };
            match batch.filter(|records| !records.is_empty()) {
                Some(records) => self.write(&records),
                None => break self.sync(),
            }
            if self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_EVERY) {
                self.sync();
            }
        }
    }

    fn write(&mut self, records: &[Record]) {
        self.lines.clear();
        for record in records {
            // Writing to memory cannot fail, and every field has a form in JSON.
            let _ = serde_json::to_writer(&mut self.lines, &fields::to_json(record));
            self.lines.push(b'\n');
        }
        let result = self.rotation.write(&self.lines);
        self.waiting.fetch_sub(records.len(), Ordering::AcqRel);
        match result {
            Ok(()) => {
                if self.failed > 0 {
                    tracing::info!(lost = self.failed, "the file can be written again");
                }
                self.failed = 0;
                self.unsynced.get_or_insert_with(Instant::now);
            }
            Err(error) => self.tell(&error, records.len()),
        }
    }

    fn sync(&mut self) {
        if self.unsynced.take().is_some()
            && let Err(error) = self.rotation.sync()
        {
            tracing::warn!(%error, "the lines of the last second may not be on the disk");
        }
    }

    fn tell(&mut self, error: &io::Error, lost: usize) {
        if self.failed == 0 {
            tracing::warn!(%error, "the file cannot be written: records are dropped until it can");
        }
        self.failed += lost as u64;
    }
}
