//! `imflow fmt`: files in their canonical layout.

use std::fs;
use std::io::{IsTerminal as _, Read as _};

use clap::Args;

use crate::{Failure, terminal};

/// Lay files out: spaces, blank lines, broken lists
///
/// Comments stay, and so does the meaning. `-` reads stdin and writes stdout, for editors.
///
///   imflow fmt                                 lay out ./dataflow.toml
///   imflow fmt examples/*/dataflow.toml
///   imflow fmt --check                         change nothing; exit with 1 if something would change
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FmtArgs {
    /// Name the files that would change, and change none
    #[arg(long)]
    check: bool,
    /// What to lay out
    #[arg(value_name = "FILE", default_value = "./dataflow.toml")]
    files: Vec<String>,
}

pub fn fmt(args: &FmtArgs) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for path in &args.files {
        let text = read(path)?;
        let laid_out = imflow_topology::format(path, &text).map_err(|mistakes| {
            Failure::Config(mistakes.render(std::io::stderr().is_terminal()))
        })?;
        if path == "-" && !args.check {
            terminal::print(&laid_out)?;
        } else if laid_out != text {
            changed.push(path.as_str());
            if !args.check {
                fs::write(path, laid_out)
                    .map_err(|e| Failure::Other(format!("`{path}` cannot be written: {e}")))?;
            }
        }
    }
    if args.check && !changed.is_empty() {
        let them = if changed.len() == 1 { "it" } else { "them" };
        let names = changed.join(", ");
        return Err(Failure::Other(format!(
            "not in the canonical layout: {names}; `imflow fmt {}` mends {them}",
            changed.join(" ")
        )));
    }
    changed.iter().for_each(|path| println!("laid out {path}"));
    Ok(())
}

fn read(path: &str) -> Result<String, Failure> {
    let text = match path {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        path => fs::read_to_string(path),
    };
    text.map_err(|e| Failure::Config(format!("imflow: the file `{path}` cannot be read: {e}")))
}
