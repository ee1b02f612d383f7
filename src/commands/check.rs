//! `imflow check`: every mistake in the topology, without starting anything.

use crate::{Failure, FileArgs, assembly};

pub fn check(file: &FileArgs) -> Result<(), Failure> {
    let plan = assembly::load(file)?;
    println!("{} is fine: {} nodes, {} wires", file.config, plan.nodes.len(), plan.edges.len());
    Ok(())
}
