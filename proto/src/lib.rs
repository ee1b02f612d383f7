//! The wire of imflow: one schema in protobuf and JSON, the records that travel through the
//! dataflow, the ids and the error codes. It knows nothing of the rest of the system.

mod content;
pub mod cursors;
mod device;
pub mod fingerprint;
pub mod frame;
pub mod id;
pub mod json;
pub mod keys;
mod message;
pub mod record;
mod row;
mod submission;
pub mod ticket;

/// The wire schema, generated from `proto/envelope.proto`.
#[allow(clippy::all, clippy::pedantic, missing_docs, reason = "generated from the schema")]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/imflow.v1.rs"));

    /// What the log keeps beside messages, generated from `proto/log.proto`.
    pub mod log {
        include!(concat!(env!("OUT_DIR"), "/imflow.v1.log.rs"));
    }

    /// The compiled schema as an encoded `FileDescriptorSet`, for clients that load it at run time.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

pub use content::Content;
pub use fingerprint::{Fingerprint, FingerprintMap, warm};
pub use keys::Keys;
pub use record::{Record, RecordType};
pub use ticket::{Requester, Ticket};
pub use wire::log;
