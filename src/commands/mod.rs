//! One file for each command.

pub mod chat;
pub mod check;
pub mod graph;
pub mod list;
pub mod plan;
pub mod run;
pub mod token;
