//! `imflow graph`: a picture of the topology.

use crate::{Failure, FileArgs, assembly};

pub fn graph(file: &FileArgs) -> Result<(), Failure> {
    print!("{}", imflow_topology::mermaid(&assembly::load(file)?));
    Ok(())
}
