//! Expressions over records: CEL in its own syntax, checked against a shape, compiled to closures.
//!
//! ```text
//! text --cel parser--> syntax tree --typing--> closures over field slots
//! ```
//!
//! What the checker accepts always evaluates, but for a value that does not exist (a division by zero, an
//! overflow, a text that is no number, a position outside): a [`Fault`]. Which fields a record has is said
//! once, in [`imflow_kind::fields`]; the checker of `dataflow.toml` and the operators compile alike.

mod aggregates;
mod code;
mod fault;
mod functions;
mod lists;
mod operations;
mod typing;

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::Parser;
use imflow_kind::{Mistake, Shape, did_you_mean};
use imflow_proto::Record;
use imflow_proto::record::{FieldType, Scalar};

pub(crate) use aggregates::{Aggregate, AggregateCall, Selection};
pub(crate) use fault::Fault;

use code::{Code, Compute, Input};
use typing::Typing;

/// Longer expressions are refused, so that none can exhaust the compiler.
const LONGEST: usize = 4_096;

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpressionError {
    pub message: String,
    /// In bytes from the expression's start.
    pub offset: usize,
}

impl ExpressionError {
    /// The mistake for the compiler, in this option.
    pub(crate) fn in_option(self, option: &'static str) -> Mistake {
        Mistake { option, within: None, offset: self.offset, message: self.message }
    }

    /// The mistake for the compiler, under this key of an option that is a table.
    pub(crate) fn within(self, option: &'static str, key: &str) -> Mistake {
        Mistake { within: Some(key.to_owned()), ..self.in_option(option) }
    }
}

/// A compiled expression over records of one shape.
pub(crate) struct Expression(Code);

impl Expression {
    /// Compiles an expression over the fields of `shape`.
    ///
    /// # Errors
    /// The first mistake: of syntax, an unknown field or function, or operands of the wrong types.
    pub(crate) fn compile(shape: &Shape, source: &str) -> Result<Self, ExpressionError> {
        let (tree, positions) = parse(source)?;
        Typing::new(shape, source, &positions).code(&tree).map(Self)
    }

    /// The type of its values.
    pub(crate) fn field_type(&self) -> FieldType {
        self.0.field_type()
    }

    /// Its value on a record of the shape that it was compiled for.
    pub(crate) fn value(&self, record: &Record) -> Result<Scalar, Fault> {
        self.0.value(&Input { record, item: "" })
    }
}

/// A compiled expression of type bool.
pub(crate) struct Predicate(Compute<bool>);

impl Predicate {
    /// Compiles an expression of type bool over the fields of `shape`.
    ///
    /// # Errors
    /// Like [`Expression::compile`].
    pub(crate) fn compile(shape: &Shape, source: &str) -> Result<Self, ExpressionError> {
        match Expression::compile(shape, source)?.0 {
            Code::Bool(code) => Ok(Self(code)),
            other => {
                let message = format!(
                    "the expression is of type {} and must be a bool; compare it with something",
                    other.field_type()
                );
                Err(ExpressionError { message, offset: 0 })
            }
        }
    }

    /// Whether the predicate holds of a record of the shape that it was compiled for.
    pub(crate) fn holds(&self, record: &Record) -> Result<bool, Fault> {
        (self.0)(&Input { record, item: "" })
    }
}

/// Reads an expression over fields that are not known: its syntax alone.
///
/// # Errors
/// The first mistake of syntax; the option is left open.
pub(crate) fn read(source: &str) -> Result<(), Mistake> {
    parse(source).map(|_| ()).map_err(|error| error.in_option(""))
}

/// What is said of a field that is not there.
pub(crate) fn no_field(shape: &Shape, name: &str) -> String {
    let known: Vec<_> = shape.fields().into_iter().map(|(field, _)| field).collect();
    let record = shape.record_type();
    match did_you_mean(name, known.iter().copied()) {
        Some(hint) => format!("{record:?} has no field `{name}`; {hint}"),
        None => format!("{record:?} has no field `{name}`; it has {}", known.join(", ")),
    }
}

fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), ExpressionError> {
    if source.len() > LONGEST {
        let message =
            format!("the expression has {} bytes; the longest has {LONGEST}", source.len());
        return Err(ExpressionError { message, offset: LONGEST });
    }
    Parser::new().parse_with_source_info(source).map_err(|errors| syntax(source, &errors))
}

/// The first error of the parser, whose lines and columns count from 1 and characters, not bytes.
fn syntax(source: &str, errors: &cel::ParseErrors) -> ExpressionError {
    let Some(error) = errors.errors.first() else {
        return ExpressionError { message: "the expression cannot be read".into(), offset: 0 };
    };
    let line = usize::try_from(error.pos.0 - 1).unwrap_or(0);
    let column = usize::try_from(error.pos.1 - 1).unwrap_or(0);
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.get(start..).unwrap_or_default();
    // The parser goes on to name every token that it would have taken.
    let message = error.msg.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ");
    let found =
        message.split(" expecting").next().unwrap_or_default().replace("'<EOF>'", "the end");
    ExpressionError {
        message: format!("syntax error: {found}"),
        offset: start + byte_offset(rest, column),
    }
}

/// The byte at which a character begins.
fn byte_offset(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
