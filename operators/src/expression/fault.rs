//! What can go wrong when an expression that was accepted meets a record.

use std::fmt;

/// A value that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    DivisionByZero,
    Overflow,
    /// `int("a")`, `double("a")`.
    NotANumber,
    /// `text.substring(9)` of a shorter text, `list[9]` of a shorter list.
    OutOfRange,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DivisionByZero => "division by zero",
            Self::Overflow => "the result does not fit into an int of 64 bits",
            Self::NotANumber => "the text is not a number",
            Self::OutOfRange => "the position is outside of the text or list",
        })
    }
}
