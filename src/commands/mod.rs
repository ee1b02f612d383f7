//! One file for each command.

pub mod backup;
pub mod chat;
pub mod check;
pub mod explain;
pub mod fmt;
pub mod graph;
pub mod list;
pub mod log;
pub mod plan;
pub mod run;
pub mod schema;
pub mod test;
pub mod token;
