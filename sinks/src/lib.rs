//! The sink kinds: the segment log and its index, the reader, the push path, files, copies in
//! other systems.
//!
//! Only here and in `sources` does the system touch disks and sockets on the message path. A sink runs
//! in two halves: a hand inside the worker that never waits, and threads of its own that do.

mod copies;
mod discard;
mod file;
#[cfg(any(feature = "mongo", feature = "redis", feature = "search"))]
mod follower;
mod kafka;
pub mod log;
mod members;
mod mongo;
mod push;
mod queue;
mod reader;
mod redis;
mod redis_routes;
mod search;
mod webhook;

use imflow_kind::Kind;

/// All kinds of this crate.
pub fn kinds() -> Vec<Kind> {
    vec![
        log::kind(),
        push::kind(),
        reader::kind(),
        members::kind(),
        file::kind(),
        kafka::kind(),
        mongo::kind(),
        redis::kind(),
        redis_routes::kind(),
        search::kind(),
        webhook::kind(),
    ]
}
