//! Real engines behind the roles of `imflow-kind`: one module and one cargo feature for each.
//!
//! An engine implements a role (`Store`, `Routes`, `Authority`, ...) over a client library; sources and
//! sinks use it by the role alone. What only one kind needs has no role: `kafka` gives its sink a producer.

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "mongo")]
pub mod mongo;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "search")]
pub mod search;
