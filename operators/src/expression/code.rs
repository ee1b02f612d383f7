//! Compiled expressions: a closure for each node, of one of four types.
//!
//! Texts are borrowed from the record or from the code itself; only a concatenation allocates.

use std::borrow::Cow;
use std::sync::Arc;

use imflow_kind::fields::row_slot;
use imflow_proto::Record;
use imflow_proto::record::Scalar;

/// Arithmetic that has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    DivisionByZero,
    Overflow,
}

pub(super) type BoolCode = Box<dyn Fn(&Record) -> Result<bool, Fault>>;
pub(super) type IntCode = Box<dyn Fn(&Record) -> Result<i64, Fault>>;

/// An expression of known type.
pub(super) enum Code {
    Bool(BoolCode),
    Int(IntCode),
    Text(TextCode),
    /// A list field of the record.
    Texts(fn(&Record) -> &[Arc<str>]),
}

pub(super) enum TextCode {
    Literal(Box<str>),
    Field(fn(&Record) -> &str),
    /// A slot of a row, which its schema says is a string.
    Slot(usize),
    Concatenation(Box<(TextCode, TextCode)>),
}

impl Code {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Text(_) => "string",
            Self::Texts(_) => "list of strings",
        }
    }
}

impl TextCode {
    pub(super) fn get<'a>(&'a self, record: &'a Record) -> Cow<'a, str> {
        match self {
            Self::Literal(text) => Cow::Borrowed(text),
            Self::Field(field) => Cow::Borrowed(field(record)),
            Self::Slot(slot) => match row_slot(record, *slot) {
                Scalar::String(text) => Cow::Borrowed(text),
                other => panic!("a row holds a {} where a string was promised", other.field_type()),
            },
            Self::Concatenation(both) => {
                Cow::Owned(both.0.get(record).into_owned() + &both.1.get(record))
            }
        }
    }
}

pub(super) fn boolean(code: impl Fn(&Record) -> Result<bool, Fault> + 'static) -> Code {
    Code::Bool(Box::new(code))
}

pub(super) fn int(code: impl Fn(&Record) -> Result<i64, Fault> + 'static) -> Code {
    Code::Int(Box::new(code))
}

/// `&&` (decisive: false) and `||` (decisive: true): the decisive side wins over a fault of the other.
pub(super) fn either(left: BoolCode, right: BoolCode, decisive: bool) -> Code {
    boolean(move |record| match left(record) {
        Ok(value) if value == decisive => Ok(decisive),
        Ok(_) => right(record),
        Err(fault) => match right(record) {
            Ok(value) if value == decisive => Ok(decisive),
            _ => Err(fault),
        },
    })
}

/// A comparison of two values of one type.
pub(super) fn compare(
    left: Code,
    right: Code,
    holds: fn(std::cmp::Ordering) -> bool,
) -> Result<Code, (Code, Code)> {
    Ok(match (left, right) {
        (Code::Bool(left), Code::Bool(right)) => {
            boolean(move |it| Ok(holds(left(it)?.cmp(&right(it)?))))
        }
        (Code::Int(left), Code::Int(right)) => {
            boolean(move |it| Ok(holds(left(it)?.cmp(&right(it)?))))
        }
        (Code::Text(left), Code::Text(right)) => {
            boolean(move |it| Ok(holds(left.get(it).cmp(&right.get(it)))))
        }
        operands => return Err(operands),
    })
}

/// `+ - * / %` of integers.
pub(super) fn arithmetic(
    left: IntCode,
    right: IntCode,
    operation: fn(i64, i64) -> Option<i64>,
    divides: bool,
) -> Code {
    int(move |it| {
        let (left, right) = (left(it)?, right(it)?);
        if divides && right == 0 {
            return Err(Fault::DivisionByZero);
        }
        operation(left, right).ok_or(Fault::Overflow)
    })
}
