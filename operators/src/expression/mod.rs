//! Predicates over records: CEL in its own syntax, checked against a record type, compiled to closures.
//!
//! ```text
//! text --cel parser--> syntax tree --typing--> closures over field slots
//! ```
//!
//! What the checker accepts always evaluates, but for arithmetic that has no result (a division by zero,
//! an overflow). Which field a record type has is said once, in
//! [`imflow_kind::fields`]; the checker of `dataflow.toml` and the operators compile alike.

mod code;
mod typing;

use cel::parser::Parser;
use imflow_kind::Shape;
use imflow_proto::Record;

pub(crate) use code::Fault;
use code::{BoolCode, Code};
use typing::Typing;

/// What is wrong with a predicate, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PredicateError {
    pub message: String,
    /// In bytes from the predicate's start.
    pub offset: usize,
}

/// A compiled predicate over records of one type.
pub(crate) struct Predicate(BoolCode);

impl Predicate {
    /// Compiles an expression of type bool over the fields of `shape`.
    ///
    /// # Errors
    /// The first mistake: of syntax, an unknown field or function, or operands of the wrong types.
    pub(crate) fn compile(shape: &Shape, source: &str) -> Result<Self, PredicateError> {
        let (tree, positions) = Parser::new()
            .parse_with_source_info(source)
            .map_err(|errors| syntax(source, &errors))?;
        match (Typing { shape, positions: &positions }).code(&tree)? {
            Code::Bool(code) => Ok(Self(code)),
            other => {
                let message = format!(
                    "the expression is of type {} and must be a bool; compare it with something",
                    other.type_name()
                );
                Err(PredicateError { message, offset: 0 })
            }
        }
    }

    /// Whether the predicate holds of a record of the type that it was compiled for.
    pub(crate) fn holds(&self, record: &Record) -> Result<bool, Fault> {
        (self.0)(record)
    }
}

/// The first error of the parser, whose lines and columns count from 1 and characters, not bytes.
fn syntax(source: &str, errors: &cel::ParseErrors) -> PredicateError {
    let Some(error) = errors.errors.first() else {
        return PredicateError { message: "the expression cannot be read".into(), offset: 0 };
    };
    let line = usize::try_from(error.pos.0 - 1).unwrap_or(0);
    let column = usize::try_from(error.pos.1 - 1).unwrap_or(0);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.get(start..).unwrap_or_default();
    // The parser goes on to name every token that it would have taken.
    let message = error.msg.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ");
    let found =
        message.split(" expecting").next().unwrap_or_default().replace("'<EOF>'", "the end");
    PredicateError {
        message: format!("syntax error: {found}"),
        offset: start + byte_offset(rest, column),
    }
}

/// The byte at which a character begins.
fn byte_offset(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests;
