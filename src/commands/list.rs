//! `imflow list`: the kinds of this build, from their own descriptions.

use clap::Args;
use imflow_kind::{Description, Family, Opt, Port};

use crate::{Failure, assembly};

/// What to list.
#[derive(Args)]
pub struct ListArgs {
    /// Show the ports, options and limits of this kind only
    kind: Option<String>,
}

pub fn list(args: &ListArgs) -> Result<(), Failure> {
    let registry = assembly::registry();
    if let Some(name) = &args.kind {
        let found: Vec<_> =
            registry.kinds().iter().map(|k| k.description).filter(|d| d.name == name).collect();
        if found.is_empty() {
            return Err(Failure::Other(format!(
                "no kind is named `{name}`; `imflow list` shows all kinds"
            )));
        }
        found.into_iter().for_each(describe);
        return Ok(());
    }
    for (title, family) in
        [("Sources", Family::Source), ("Operators", Family::Operator), ("Sinks", Family::Sink)]
    {
        println!("{title}");
        for kind in registry.kinds().iter().filter(|k| k.description.family == family) {
            println!("  {:<12} {}", kind.description.name, kind.description.summary);
        }
    }
    println!("\n`imflow list KIND` shows ports, options and limits.");
    Ok(())
}

fn describe(kind: &Description) {
    println!("{}: {}\n\n{}", kind.name, kind.summary, kind.doc.trim());
    ports("Inputs", kind.inputs);
    ports("Outputs", kind.outputs);
    if !kind.options.is_empty() {
        println!("\nOptions");
        kind.options.iter().for_each(option);
    }
    if !kind.limits.is_empty() {
        println!("\nLimits");
        for limit in kind.limits {
            println!("  {}: {}; then {}", limit.what, limit.bound, limit.policy);
        }
    }
}

fn ports(title: &str, ports: &[Port]) {
    if ports.is_empty() {
        return;
    }
    println!("\n{title} (the first is the main one)");
    for port in ports {
        let types: Vec<_> = port.types.iter().map(|t| format!("{t:?}")).collect();
        let types = if types.is_empty() { "any".to_owned() } else { types.join(" | ") };
        let marks = match (port.feedback, port.required) {
            (true, _) => " [feedback]",
            (false, false) => " [optional]",
            (false, true) => "",
        };
        println!("  {} ({types}){marks}: {}", port.name, port.doc);
    }
}

fn option(option: &Opt) {
    let default = option.default.map_or("required".to_owned(), |d| format!("default {d:?}"));
    println!(
        "  {} ({}; {default}): {}",
        option.name,
        imflow_topology::expected(option.kind),
        option.doc
    );
}
