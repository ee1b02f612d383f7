//! `imflow check`: every mistake in the topology, without starting anything.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use imflow_topology::{Diagnostics, Format, compile, expanded, profiles};

use crate::{Failure, FileArgs, assembly};

/// Find every mistake in the topology, without starting anything
///
/// Each mistake has a code, its place, what was expected and what to do. Without --profile the file is
/// checked as it is and with each of its profiles. Examples:
///
///   imflow check                                 ./dataflow.toml
///   imflow check --config my.toml --profile prod
///   imflow check --format github                 annotates a change in GitHub Actions
///   imflow check --format sarif > check.sarif    for code scanning and editors
///   imflow check --expanded                      the file as it is after includes and templates
///
/// Exit codes: 0 no mistake, 78 mistakes.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct CheckArgs {
    /// How to tell; lines and columns count from 1, columns in Unicode characters
    #[arg(long, value_enum, default_value_t = Shape::Text)]
    format: Shape,
    /// Print the topology with its includes, profile, variables and templates resolved
    #[arg(long, conflicts_with = "format")]
    expanded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Text,
    Json,
    Sarif,
    Github,
}

impl Shape {
    fn format(self) -> Format {
        match self {
            Self::Text => Format::Text,
            Self::Json => Format::Json,
            Self::Sarif => Format::Sarif,
            Self::Github => Format::Github,
        }
    }
}

pub fn check(args: &CheckArgs, file: &FileArgs) -> Result<(), Failure> {
    let text = assembly::read(file)?;
    let (registry, changes) = (assembly::registry(), file.changes());
    if args.expanded {
        let toml = expanded(&file.config, &text, &changes, &registry);
        let toml = toml.map_err(|mistakes| refuse(args, &mistakes))?;
        print!("{toml}");
        return Ok(());
    }
    let plan = compile(&file.config, &text, &changes, &registry);
    let others = if file.profile.is_none() { profiles(&file.config, &text) } else { Vec::new() };
    let under = |profile: &String| {
        let file = FileArgs { profile: Some(profile.clone()), ..file.clone() };
        let mistakes = compile(&file.config, &text, &file.changes(), &registry).err()?;
        Some((profile.clone(), mistakes))
    };
    let under: Vec<_> = others.iter().filter_map(under).collect();
    let plan = match plan {
        Ok(plan) if under.is_empty() => plan,
        Ok(_) => {
            return Err(refuse(args, &Diagnostics::none(&file.config, &text).with_profiles(under)));
        }
        Err(mistakes) => return Err(refuse(args, &mistakes.with_profiles(under))),
    };
    match args.format {
        Shape::Text => println!(
            "{} is fine: {} nodes, {} wires{}",
            file.config,
            plan.nodes.len(),
            plan.edges.len(),
            if others.is_empty() {
                String::new()
            } else {
                format!(", profiles: {}", others.join(", "))
            }
        ),
        // Tools want a report of no mistakes too.
        shape => print!("{}", Diagnostics::none(&file.config, &text).report(shape.format(), false)),
    }
    Ok(())
}

/// Reports for tools go to the standard output, where they are read from.
fn refuse(args: &CheckArgs, mistakes: &Diagnostics) -> Failure {
    let report = mistakes.report(args.format.format(), std::io::stderr().is_terminal());
    if args.format == Shape::Text {
        return Failure::Config(report);
    }
    println!("{}", report.trim_end());
    Failure::Config(format!("{} mistakes found", mistakes.list().len()))
}
