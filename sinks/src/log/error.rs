//! What can go wrong with the log, as sentences for the person who runs the service.

use std::io;

use imflow_kind::{StartError, StoreError};

/// A failure of the log, its index or its snapshots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused; says what was tried and on which file.
    #[error("cannot {action} `{path}`: {source}{}", cure(source))]
    Io {
        action: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
    /// Bytes that were durable are no longer what was written.
    #[error(
        "`{path}` is damaged at byte {offset}: {found}; nothing was changed; restore this file from a backup, \
         or move the data directory away to start empty"
    )]
    Damaged { path: String, offset: u64, found: String },
    /// The data directory is of another make, or in use.
    #[error("{0}")]
    Refused(String),
    /// The index failed. It holds nothing that the log does not.
    #[error(
        "the index failed: {0}; it can be rebuilt from the log: stop the service, delete the folder `index` of the data directory, start again"
    )]
    Index(#[from] fjall::Error),
    /// The index is being opened anew.
    #[error("the index is opened again after a write that failed; try again in a moment")]
    Reopening,
    /// The index has not caught up in time.
    #[error(
        "the index is at record {indexed} of {durable} and did not catch up within {waited_ms} ms"
    )]
    Behind { indexed: u64, durable: u64, waited_ms: u128 },
}

impl LogError {
    /// Wraps an I/O error with what was tried and where.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the cause is that the disk is full.
    pub(crate) fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        self.disk_error().is_some_and(|error| full.contains(&error.kind()))
    }

    /// Whether the operating system refused, rather than what the files hold.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        self.disk_error().is_some()
    }

    /// Whether the index takes no writes until it is opened anew.
    pub(crate) fn refuses_writes(&self) -> bool {
        matches!(self, Self::Index(fjall::Error::Poisoned) | Self::Reopening)
    }

    fn disk_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Index(
                fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)),
            ) => Some(source),
            _ => None,
        }
    }
}

/// What to do about the common causes.
fn cure(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; give the user of this process the right to write there, or set another `service.data`"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space there, or set another `service.data`"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; `service.data` must name a folder"
        }
        _ => "",
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<LogError> for StoreError {
    fn from(error: LogError) -> Self {
        Self::Failed(error.to_string())
    }
}
