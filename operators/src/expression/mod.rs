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
mod hints;
mod lists;
mod operations;
mod syntax;
mod typing;

use std::ops::Range;

use imflow_kind::{Mistake, Shape, did_you_mean};
use imflow_proto::Record;
use imflow_proto::record::{FieldType, Scalar};

pub(crate) use aggregates::{Aggregate, AggregateCall, Selection};
pub(crate) use fault::Fault;

use code::{Code, Compute, Input};
use syntax::parse;
use typing::Typing;

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpressionError {
    pub message: String,
    pub help: Option<String>,
    /// In bytes of the expression.
    pub range: Range<usize>,
}

impl ExpressionError {
    /// The mistake for the compiler, in this option.
    pub(crate) fn in_option(self, option: &'static str) -> Mistake {
        let Self { message, help, range } = self;
        Mistake { option, within: None, range, message, help }
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
                let found = other.field_type();
                let message = format!("the expression is of type {found} and must be a bool");
                let help = match found {
                    FieldType::Int | FieldType::Double => "compare it, as in `x > 0`",
                    _ => "compare it, as in `x == 'abc'`",
                };
                let range = 0..source.len();
                Err(ExpressionError { message, help: Some(help.to_owned()), range })
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

/// What is said of a field that is not there, and what to do about it.
pub(crate) fn no_field(shape: &Shape, name: &str) -> (String, String) {
    let known: Vec<_> = shape.fields().into_iter().map(|(field, _)| field).collect();
    let help = match (hints::meant(name), did_you_mean(name, known.iter().copied())) {
        (Some(hint), _) => hint.to_owned(),
        _ if hints::is_constant(name) => format!("a text is written in quotes: '{name}'"),
        (_, Some(hint)) => hint,
        (_, None) => format!("it has {}", known.join(", ")),
    };
    (format!("{:?} has no field `{name}`", shape.record_type()), help)
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
