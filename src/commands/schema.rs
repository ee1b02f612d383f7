//! `imflow schema`: the file's JSON Schema, for editors.

use clap::Args;

use crate::{Failure, assembly, terminal};

/// Print the JSON Schema of the topology file
///
/// With it an editor completes keys and kinds and marks mistakes while you type; `imflow check`
/// finds the rest. Editors that use Taplo (VS Code with "Even Better TOML", Helix, Zed, Neovim)
/// take it from the first line of a file:
///
///   imflow schema > dataflow.schema.json
///   #:schema ./dataflow.schema.json            as the first line of dataflow.toml
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct SchemaArgs {}

pub fn schema(_: &SchemaArgs) -> Result<(), Failure> {
    terminal::print(&format!("{:#}\n", imflow_topology::schema(&assembly::registry())))
}
