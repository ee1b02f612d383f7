//! Writes to the tables that have to succeed: tried until they do, with the tables opened anew where they
//! refuse.
//!
//! Meanwhile the gate is closed, so that nothing piles up: at most the commits that are under way. The
//! indexer and the ingester write to the directory under one lock, which opening anew takes too, so that
//! no fact is applied on top of tables that forgot an earlier one.

use super::{Index, rebuild};
use crate::log::LogError;
use crate::log::space::Space;

impl Index {
    /// Writes until it works; `false`: given up, since the service stops. The next start reads again what
    /// the index lacks.
    pub(crate) fn insist(
        &self,
        space: &Space,
        action: &str,
        mut write: impl FnMut() -> Result<(), LogError>,
    ) -> bool {
        let Err(error) = write() else { return true };
        tracing::error!(
            "cannot {action}: {error}; messages are refused with STORAGE_FULL until it works"
        );
        space.note_index_stuck();
        self.progress.note_stuck();
        let mut error = Some(error);
        while let Some(failed) = error {
            if !space.wait_for_index() {
                return false;
            }
            let mended = if failed.refuses_writes() { self.reopen() } else { Ok(()) };
            error = mended.and_then(|()| write()).err();
        }
        self.progress.note_works();
        space.note_index_works();
        tracing::info!("the index follows the log again");
        true
    }

    /// Opens the tables anew, and brings them up to the log before anybody reads them.
    fn reopen(&self) -> Result<(), LogError> {
        let _writing = self.writing.lock();
        let in_ram = self.ram.read().oldest();
        self.tables.reopen(&|tables| {
            rebuild::catch_up(&self.segments, tables, in_ram, self.progress.durable())
        })?;
        // The tables may have forgotten how far an erasure came.
        self.load_erasures()
    }
}
