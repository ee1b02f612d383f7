//! `bench mongo`: what a copy in MongoDB takes, and what it costs those who send.

#[cfg(feature = "mongo")]
mod copy;
#[cfg(feature = "mongo")]
mod measure;

use crate::failure::Failure;
use crate::report::Report;
use crate::server::ServerArgs;

/// How fast the copy in MongoDB is, and what it costs an ack (needs a build with `--features full`)
///
/// First messages come due at a fixed rate, more than the goal, and the copy follows: what it sustains is all of
/// them by the time until the last is there. The server's ceiling is then a loop without imflow that inserts
/// the same documents, in batches as large, into collections with the same indexes, of another database. Last
/// the durable ack at a lower rate, with the copy and without, in turns: the goal is a ratio of 1.2 in the
/// middle of five pairs. MongoDB shares the machine with everything else.
///
///   bench mongo --uri mongodb://127.0.0.1:27017/
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
#[cfg_attr(not(feature = "mongo"), allow(dead_code))]
pub(crate) struct MongoArgs {
    /// The server to measure; databases `bench_copy` and `bench_ceiling` in it are dropped
    #[arg(long, env = "IMFLOW_MONGO_URL", hide_env_values = true)]
    uri: String,
    /// Messages a second while the copy is measured
    #[arg(long, default_value_t = 6_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Messages a second while acks are measured
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    ack_rate: u64,
    /// Length of each load
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Runs with and without the copy
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// WebSocket connections, each of another user
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(5..))]
    connections: u32,
}

#[cfg(feature = "mongo")]
pub(crate) fn run(server: &ServerArgs, args: &MongoArgs) -> Result<Report, Failure> {
    super::run(measure::measure(server, args))
}

#[cfg(not(feature = "mongo"))]
pub(crate) fn run(_server: &ServerArgs, _args: &MongoArgs) -> Result<Report, Failure> {
    Err(Failure::new(
        "this build has no client of MongoDB; build the server and this program with `cargo build --release --workspace --features full`",
    ))
}
