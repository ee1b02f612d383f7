//! The source kinds: `websocket` (the gateway) and `control` (the HTTP API).
//!
//! Sources turn frames and requests into records, and records into frames and responses; what a
//! record means is decided in the dataflow. Both stand on the routes of an [`HttpListener`], which
//! the binary opens and offers under [`HttpListener::role`].

mod actions;
mod address;
pub mod auth;
mod bearer;
mod checks;
mod control;
mod listener;
mod metrics;
mod refusal;
#[cfg(test)]
mod testing;
mod websocket;

use imflow_kind::Kind;

pub use listener::{
    ClientAddress, HttpListener, LISTENER_METRICS, ListenerConfig, PeerAddress, Stream, TlsFiles,
};
pub use metrics::metrics_route;
pub use websocket::echo;

/// Every kind of this crate, for the registry.
pub fn kinds() -> Vec<Kind> {
    vec![websocket::kind(), control::kind()]
}
