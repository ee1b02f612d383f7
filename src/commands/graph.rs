//! `imflow graph`: a picture of the topology.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use imflow_topology::Picture;

use crate::{Failure, FileArgs, assembly, terminal};

/// Draw the topology
///
/// Sources, the operators of each stage, and sinks stand in groups. A wire bears the name of its
/// output port unless that is the main one. Dotted: what comes back later, be it from the disk,
/// as an answer, or by declared feedback.
///
///   imflow graph                               in this terminal
///   imflow graph --types                       with the record type of each wire
///   imflow graph --format svg > graph.svg      for a page or a README
///   imflow graph --format dot | dot -Tpdf > graph.pdf
///   imflow graph | less -S                     Mermaid, as it is not a terminal
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct GraphArgs {
    /// How it is drawn; by default terminal, or mermaid where the output is none
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Show the record type of each wire
    #[arg(long)]
    types: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Box-drawing characters, as wide as the terminal
    Terminal,
    /// A flowchart that GitHub and many editors draw
    Mermaid,
    /// For Graphviz
    Dot,
    /// A finished drawing, light and dark
    Svg,
}

pub fn graph(args: &GraphArgs, file: &FileArgs) -> Result<(), Failure> {
    let picture = Picture::of(&assembly::load(file)?, args.types);
    let is_terminal = std::io::stdout().is_terminal();
    let default = if is_terminal { Format::Terminal } else { Format::Mermaid };
    let text = match args.format.unwrap_or(default) {
        Format::Terminal => picture.terminal(terminal::width(), terminal::colour()),
        Format::Mermaid => picture.mermaid(),
        Format::Dot => picture.dot(),
        Format::Svg => picture.svg(),
    };
    terminal::print(&text)
}
