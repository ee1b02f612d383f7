//! Types of ports that depend on the file: what a kind makes of its inputs.

use std::ops::Range;

use crate::{Options, Shape};

/// Derives the shapes of a kind's outputs from those of its inputs. Runs in the compiler; the same code
/// compiles the expressions again when the node is built, so what it accepts can be built.
pub type Infer = fn(&Inference<'_>) -> Result<Vec<Shape>, Vec<Mistake>>;

/// Reads one expression without knowing of any field, so that what is wrong with it in any case is told
/// although the node cannot be typed. The mistake's option is left open.
pub type ReadExpression = fn(&str) -> Result<(), Mistake>;

/// What is known of a node when its types are derived.
pub struct Inference<'a> {
    /// By input port: what its wires carry, each shape once. Empty: not wired, or its producers have
    /// mistakes of their own.
    pub inputs: &'a [Vec<Shape>],
    pub options: &'a Options,
    /// How many outputs the node has: those of the description, then those that the file names.
    pub outputs: usize,
}

impl Inference<'_> {
    /// Every output carries what the main input carries.
    pub fn all_like_input(&self) -> Vec<Shape> {
        let main = self.inputs.first().and_then(|shapes| shapes.first());
        main.map_or_else(Vec::new, |shape| vec![shape.clone(); self.outputs])
    }
}

/// A mistake in an option that types show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistake {
    pub option: &'static str,
    /// The key inside the option's table, or the text inside its list.
    pub within: Option<String>,
    /// In bytes of the text; empty: all of it.
    pub range: Range<usize>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}
