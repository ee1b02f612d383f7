//! Rows: records whose fields the file defines.
//!
//! A row holds only its slots; names and types stand in the schema, which all rows of a port share. The
//! compiler derives the schema of each port, so a slot is found by its index, never by its name.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The type of a field, in the words of CEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    Bool,
    /// 64 bits, signed. Times are milliseconds since the Unix epoch.
    Int,
    Double,
    String,
    /// A list of strings.
    Strings,
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::Strings => "list of strings",
        })
    }
}

/// The fields of the rows of one port, in order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Schema {
    pub fields: Vec<(Arc<str>, FieldType)>,
}

impl Schema {
    /// The slot and the type of a field.
    pub fn find(&self, name: &str) -> Option<(usize, FieldType)> {
        let slot = self.fields.iter().position(|(field, _)| **field == *name)?;
        Some((slot, self.fields[slot].1))
    }
}

/// A value of a field. In JSON it is the bare value.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Arc<str>),
    Strings(Arc<[Arc<str>]>),
}

impl Scalar {
    /// The type of this value.
    pub fn field_type(&self) -> FieldType {
        match self {
            Self::Bool(_) => FieldType::Bool,
            Self::Int(_) => FieldType::Int,
            Self::Double(_) => FieldType::Double,
            Self::String(_) => FieldType::String,
            Self::Strings(_) => FieldType::Strings,
        }
    }
}

/// One record of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub schema: Arc<Schema>,
    /// One value for each field of the schema, of its type.
    pub slots: Box<[Scalar]>,
    /// Takes back an earlier row of the same slots: the current value that it stated holds no more.
    pub retracted: bool,
}

/// What the halves of a split node exchange: known to their kind alone, opaque to all others.
#[derive(Clone)]
pub struct Partial(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Partial")
    }
}
