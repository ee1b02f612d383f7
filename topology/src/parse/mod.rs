//! Text to a tree of values: includes joined, the profile laid over it, `--set` and `${VAR}` applied.

mod convert;
mod damage;
mod files;
mod overrides;
mod profile;
mod syntax;
mod variables;

pub(crate) use convert::source;
pub(crate) use damage::forget_consequences;
pub(crate) use variables::{PARAMS, replace};

use crate::diagnostic::Diagnostics;
use crate::document::Document;

/// Parses the first of the diagnostics' sources, and what it includes.
pub(crate) fn parse(arguments: &[String], diagnostics: &mut Diagnostics) -> Document {
    let mut document = files::read(diagnostics);
    let overrides = overrides::read(arguments, diagnostics);
    profile::apply(&mut document, &overrides, diagnostics);
    for change in overrides.into_iter().filter(|change| !change.is_profile()) {
        change.apply(&mut document);
    }
    variables::interpolate(&mut document, &|name| std::env::var(name).ok(), diagnostics);
    document
}

/// The names of the profiles of the first of the diagnostics' sources, and what it includes.
pub(crate) fn profiles(diagnostics: &mut Diagnostics) -> Vec<String> {
    profile::names(&files::read(diagnostics))
}
