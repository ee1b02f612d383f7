//! Compiled expressions: a closure for each node, of one of five types.
//!
//! Texts and lists are borrowed from the record or from the code itself; only what makes a new one
//! allocates.

use std::borrow::Cow;
use std::sync::Arc;

use imflow_kind::fields::row_slot;
use imflow_proto::Record;
use imflow_proto::record::{FieldType, Scalar};

use super::Fault;

/// What an expression is evaluated over.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) record: &'a Record,
    /// The item at hand of `exists` and `all`.
    pub(super) item: &'a str,
}

pub(super) type Compute<T> = Box<dyn Fn(&Input<'_>) -> Result<T, Fault>>;

/// An expression of known type.
pub(super) enum Code {
    Bool(Compute<bool>),
    Int(Compute<i64>),
    Double(Compute<f64>),
    Text(TextCode),
    List(ListCode),
}

pub(super) enum TextCode {
    Literal(Arc<str>),
    Field(fn(&Record) -> &str),
    /// A slot of a row, which its schema says is a string.
    Slot(usize),
    /// The item at hand of `exists` and `all`.
    Item,
    Choice(Box<(Compute<bool>, TextCode, TextCode)>),
    Computed(Compute<String>),
}

pub(super) enum ListCode {
    Literal(Arc<[Arc<str>]>),
    Field(fn(&Record) -> &[Arc<str>]),
    /// A slot of a row, which its schema says is a list.
    Slot(usize),
    Computed(Compute<Vec<Arc<str>>>),
}

impl Code {
    pub(super) fn field_type(&self) -> FieldType {
        match self {
            Self::Bool(_) => FieldType::Bool,
            Self::Int(_) => FieldType::Int,
            Self::Double(_) => FieldType::Double,
            Self::Text(_) => FieldType::String,
            Self::List(_) => FieldType::Strings,
        }
    }

    pub(super) fn value(&self, input: &Input<'_>) -> Result<Scalar, Fault> {
        Ok(match self {
            Self::Bool(code) => Scalar::Bool(code(input)?),
            Self::Int(code) => Scalar::Int(code(input)?),
            Self::Double(code) => Scalar::Double(code(input)?),
            Self::Text(code) => Scalar::String(code.shared(input)?),
            Self::List(code) => Scalar::Strings(code.shared(input)?),
        })
    }
}

impl TextCode {
    pub(super) fn get<'a>(&'a self, input: &Input<'a>) -> Result<Cow<'a, str>, Fault> {
        Ok(match self {
            Self::Literal(text) => Cow::Borrowed(text),
            Self::Field(field) => Cow::Borrowed(field(input.record)),
            Self::Slot(slot) => match row_slot(input.record, *slot) {
                Scalar::String(text) => Cow::Borrowed(text),
                other => mistyped(other),
            },
            Self::Item => Cow::Borrowed(input.item),
            Self::Choice(choice) => {
                let (condition, then, otherwise) = &**choice;
                return if condition(input)? { then.get(input) } else { otherwise.get(input) };
            }
            Self::Computed(code) => Cow::Owned(code(input)?),
        })
    }

    /// The text to be kept; what is shared already is not copied.
    fn shared(&self, input: &Input<'_>) -> Result<Arc<str>, Fault> {
        Ok(match self {
            Self::Literal(text) => Arc::clone(text),
            Self::Slot(slot) => match row_slot(input.record, *slot) {
                Scalar::String(text) => Arc::clone(text),
                other => mistyped(other),
            },
            _ => self.get(input)?.into(),
        })
    }
}

impl ListCode {
    pub(super) fn get<'a>(&'a self, input: &Input<'a>) -> Result<Cow<'a, [Arc<str>]>, Fault> {
        Ok(match self {
            Self::Literal(list) => Cow::Borrowed(list),
            Self::Field(field) => Cow::Borrowed(field(input.record)),
            Self::Slot(slot) => match row_slot(input.record, *slot) {
                Scalar::Strings(list) => Cow::Borrowed(list),
                other => mistyped(other),
            },
            Self::Computed(code) => Cow::Owned(code(input)?),
        })
    }

    fn shared(&self, input: &Input<'_>) -> Result<Arc<[Arc<str>]>, Fault> {
        Ok(match self {
            Self::Literal(list) => Arc::clone(list),
            Self::Slot(slot) => match row_slot(input.record, *slot) {
                Scalar::Strings(list) => Arc::clone(list),
                other => mistyped(other),
            },
            _ => self.get(input)?.into(),
        })
    }
}

#[cold]
pub(super) fn mistyped<T>(found: &Scalar) -> T {
    panic!("a row holds a {} where its schema says otherwise", found.field_type())
}

pub(super) fn boolean(code: impl Fn(&Input<'_>) -> Result<bool, Fault> + 'static) -> Code {
    Code::Bool(Box::new(code))
}

pub(super) fn int(code: impl Fn(&Input<'_>) -> Result<i64, Fault> + 'static) -> Code {
    Code::Int(Box::new(code))
}

pub(super) fn double(code: impl Fn(&Input<'_>) -> Result<f64, Fault> + 'static) -> Code {
    Code::Double(Box::new(code))
}

pub(super) fn text(code: impl Fn(&Input<'_>) -> Result<String, Fault> + 'static) -> Code {
    Code::Text(TextCode::Computed(Box::new(code)))
}
