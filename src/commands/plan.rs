//! `imflow plan`: what a change of the topology does, before it is applied.

mod render;
mod running;

use std::process::ExitCode;

use imflow_topology::diff::{Changes, diff};
use imflow_topology::outline::{Outline, outline};

use crate::{Failure, FileArgs, assembly, terminal};

/// Tell what a change of the topology does to nodes, wires, state and clients
///
/// Compares a topology with another file, or with a running service (which is asked for what it
/// runs, with the key in the data directory or in IMFLOW_ADMIN_KEY). Nothing is applied. Examples:
///
///   imflow plan                                    ./dataflow.toml against what runs here
///   imflow plan new.toml --against dataflow.toml
///   imflow plan --against http://im.example.net:8080 --format json
///
/// Exit codes: 0 no change, 2 changes, 1 failed, 78 a file has mistakes.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PlanArgs {
    /// The topology that is wanted; by default that of --config
    #[arg(value_name = "NEW")]
    new: Option<String>,
    /// A file, or http://ADDRESS of a running service; by default the service on the first listener
    #[arg(long, value_name = "FILE|URL")]
    against: Option<String>,
    /// How to tell
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

const CHANGES: u8 = 2;

pub(crate) fn plan(args: &PlanArgs, file: &FileArgs) -> Result<ExitCode, Failure> {
    let wanted = FileArgs {
        config: args.new.clone().unwrap_or_else(|| file.config.clone()),
        ..file.clone()
    };
    let plan = assembly::load(&wanted)?;
    let (name, old) = match &args.against {
        Some(other) if !other.contains("://") => {
            let earlier = FileArgs { config: other.clone(), ..file.clone() };
            (other.clone(), outline(&assembly::load(&earlier)?))
        }
        url => {
            let url = match (url, plan.listeners.first()) {
                (Some(url), _) => url.clone(),
                (None, Some(listener)) => format!("http://{}", listener.address),
                (None, None) => {
                    return Err(Failure::Other("the topology has no listener, so nothing that runs can be asked; name a file with --against".to_owned()));
                }
            };
            let running =
                running::outline(&url, plan.service.data.as_ref()).map_err(Failure::Other)?;
            (url, running)
        }
    };
    let changes = diff(&old, &outline(&plan));
    tell(&changes, &name, &wanted.config, args.format)?;
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}

fn tell(changes: &Changes, old: &str, new: &str, format: Format) -> Result<(), Failure> {
    match format {
        Format::Text => terminal::print(&render::text(changes, old, new, terminal::colour())),
        Format::Json => {
            let json = serde_json::to_string_pretty(changes);
            terminal::print(&(json.map_err(|e| Failure::Other(e.to_string()))? + "\n"))
        }
    }
}
