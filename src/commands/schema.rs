//! `imflow schema`: the file's JSON Schema, for editors.

use clap::Args;

use crate::{Failure, assembly, terminal};

/// Print the JSON Schema of the topology file, or of files of tests
///
/// With it an editor completes keys and kinds and marks mistakes while you type; `imflow check` and
/// `imflow test` find the rest. Editors that use Taplo (VS Code with "Even Better TOML", Helix, Zed,
/// Neovim) take it from the first line of a file:
///
///   imflow schema > dataflow.schema.json
///   #:schema ./dataflow.schema.json            as the first line of dataflow.toml
///   imflow schema --tests > tests.schema.json  for dataflow.test.toml
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct SchemaArgs {
    /// The schema of files of tests
    #[arg(long)]
    tests: bool,
}

pub fn schema(args: &SchemaArgs) -> Result<(), Failure> {
    let registry = assembly::registry();
    let schema = match args.tests {
        true => imflow_topology::scenario_schema(&registry),
        false => imflow_topology::schema(&registry),
    };
    terminal::print(&format!("{schema:#}\n"))
}
