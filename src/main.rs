//! The command line of imflow, and the assembly of its kinds.

mod assembly;
mod client;
mod commands;
mod notify;
mod terminal;

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use imflow_topology::Listener;

use commands::{
    backup, chat, check, explain, fmt, graph, list, log, plan, run, schema, test, token,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An instant-messaging core whose message path is a dataflow that you can read and edit.
///
/// Without a command, imflow reads ./dataflow.toml and serves it. Clients connect over WebSocket, send,
/// get an ack once their message is on disk, and every member receives each message once and in order.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    file: FileArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  imflow                                     serve ./dataflow.toml
  imflow chat --as alice                     talk, in another terminal
  imflow check --config my.toml              find every mistake in a file
  imflow graph                               see the topology
  imflow explain filter                      all that there is to know of a kind
  imflow test                                run ./dataflow.test.toml in virtual time
  imflow --set listeners.main.address=127.0.0.1:9000

Exit codes: 0 fine, 1 failed, 2 the command line is wrong, 78 the configuration has mistakes.";

const HEADING: &str = "Topology";

/// Which topology, with which changes.
#[derive(Args, Clone, Debug)]
struct FileArgs {
    /// The topology to read
    #[arg(long, value_name = "FILE", default_value = "./dataflow.toml", help_heading = HEADING)]
    config: String,
    /// Replace a value of the file, checked as if it stood there; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = HEADING)]
    overrides: Vec<String>,
    /// Lay a profile of the file, [profiles.NAME], over it
    #[arg(long, value_name = "NAME", env = "IMFLOW_PROFILE", help_heading = HEADING)]
    profile: Option<String>,
}

// A command that reads a topology; the others take no options that name one. No doc comment: it would
// stand on the command's page, which is that of its arguments.
#[derive(Args)]
struct Of<A: Args> {
    // Before `args`: the last one flattened has its say.
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    args: A,
}

impl FileArgs {
    /// The changes to the file, as `--set` arguments; the last of two wins.
    fn changes(&self) -> Vec<String> {
        let profile = self.profile.iter().map(|name| format!("profile={name:?}"));
        profile.chain(self.overrides.iter().cloned()).collect()
    }
}

#[derive(Subcommand)]
enum Command {
    /// Serve the topology until SIGTERM or Ctrl-C (the default)
    Run(FileArgs),
    Check(Of<check::CheckArgs>),
    Plan(Of<plan::PlanArgs>),
    Test(test::TestArgs),
    Token(Of<token::TokenArgs>),
    Chat(Of<chat::ChatArgs>),
    Graph(Of<graph::GraphArgs>),
    List(list::ListArgs),
    Explain(explain::ExplainArgs),
    Fmt(fmt::FmtArgs),
    Schema(schema::SchemaArgs),
    Log(log::LogArgs),
    Backup(Of<backup::BackupArgs>),
    Restore(Of<backup::RestoreArgs>),
}

fn token(args: &token::TokenArgs, file: &FileArgs) -> Result<(), Failure> {
    let plan = assembly::load(file)?;
    token::token(args, Path::new(&plan.service.data)).map_err(Failure::Other)
}

fn chat(args: chat::ChatArgs, file: &FileArgs) -> Result<(), Failure> {
    let plan = assembly::load(file)?;
    let plain = |listener: &&Listener| listener.options.text("tls_certificate").is_empty();
    let address = plan.listeners.iter().find(plain).map(|listener| listener.address);
    let address = match (address, &args.url) {
        (Some(address), _) => address.to_string(),
        (None, Some(_)) => String::new(),
        (None, None) => {
            let sentence = "the topology has no listener to connect to without TLS, which `imflow chat` does not speak; \
                            add one for this machine: [listeners.local] with `address = \"127.0.0.1:8081\"`";
            return Err(Failure::Other(sentence.to_owned()));
        }
    };
    let config = chat::ChatConfig { address, data_dir: plan.service.data.into() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Failure::Other(format!("the I/O thread cannot be started: {e}")))?;
    runtime.block_on(chat::chat(args, &config)).map_err(Failure::Other)
}

/// Why a command failed; decides the exit code.
enum Failure {
    /// The configuration has mistakes: 78, as sysexits.h has it.
    Config(String),
    /// The command line names what is not there: 2, as for its other mistakes.
    Usage(String),
    Other(String),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = |()| ExitCode::SUCCESS;
    let result = match cli.command.unwrap_or(Command::Run(cli.file)) {
        Command::Run(file) => run::run(&file).map(done),
        Command::Check(Of { file, args }) => check::check(&args, &file).map(done),
        Command::Plan(Of { file, args }) => plan::plan(&args, &file),
        Command::Test(args) => test::test(&args),
        Command::Token(Of { file, args }) => token(&args, &file).map(done),
        Command::Chat(Of { file, args }) => chat(args, &file).map(done),
        Command::List(args) => list::list(&args).map(done),
        Command::Graph(Of { file, args }) => graph::graph(&args, &file).map(done),
        Command::Fmt(args) => fmt::fmt(&args).map(done),
        Command::Explain(args) => explain::explain(&args).map(done),
        Command::Schema(args) => schema::schema(&args).map(done),
        Command::Log(args) => log::log(&args),
        Command::Backup(Of { file, args }) => backup::backup(&args, &file),
        Command::Restore(Of { file, args }) => backup::restore(&args, &file),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Config(report)) => {
            eprintln!("{report}");
            ExitCode::from(78)
        }
        Err(Failure::Usage(report)) => {
            eprintln!("imflow: {report}");
            ExitCode::from(2)
        }
        Err(Failure::Other(report)) => {
            eprintln!("imflow: {report}");
            ExitCode::FAILURE
        }
    }
}
