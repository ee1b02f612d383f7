//! Puts the concrete kinds into a registry: the only place that knows both the kinds and the compiler.

use std::io::IsTerminal as _;

use imflow_topology::{Plan, Registry, compile};

use crate::{Failure, FileArgs};

/// Every kind of this build.
pub fn registry() -> Registry {
    let kinds = imflow_sources::kinds()
        .into_iter()
        .chain(imflow_operators::kinds())
        .chain(imflow_sinks::kinds());
    Registry::new(kinds)
}

/// Reads the topology of the command line.
pub fn read(file: &FileArgs) -> Result<String, Failure> {
    std::fs::read_to_string(&file.config).map_err(|e| {
        let path = &file.config;
        Failure::Config(format!(
            "imflow: the topology `{path}` cannot be read: {e}; name one with --config FILE"
        ))
    })
}

/// Reads and compiles the topology of the command line.
pub fn load(file: &FileArgs) -> Result<Plan, Failure> {
    let compiled = compile(&file.config, &read(file)?, &file.changes(), &registry());
    compiled.map_err(|mistakes| Failure::Config(mistakes.render(std::io::stderr().is_terminal())))
}
