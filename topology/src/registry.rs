//! The kinds that a build holds, by family and name.

use imflow_kind::{Family, Kind};

/// All kinds of a build.
#[derive(Clone)]
pub struct Registry {
    kinds: Vec<Kind>,
}

impl Registry {
    /// A registry of these kinds. A later kind replaces an earlier one of the same family and name, so
    /// that a simulation can stand in for a real source or sink.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let mut registry = Self { kinds: Vec::new() };
        for kind in kinds {
            registry.replace(kind);
        }
        registry
    }

    /// Adds a kind, or replaces the one of the same family and name.
    pub fn replace(&mut self, kind: Kind) {
        let same = |k: &Kind| {
            k.description.family == kind.description.family
                && k.description.name == kind.description.name
        };
        match self.kinds.iter_mut().find(|k| same(k)) {
            Some(known) => *known = kind,
            None => self.kinds.push(kind),
        }
    }

    /// The kind of this name in a family.
    pub fn find(&self, family: Family, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|k| k.description.family == family && k.description.name == name)
    }

    /// All kinds, in the order in which they were registered.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }
}
