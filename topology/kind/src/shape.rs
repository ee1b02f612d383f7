//! What a port carries: a record type, and for rows their schema.

use std::fmt;
use std::sync::Arc;

use imflow_proto::RecordType;
use imflow_proto::record::{FieldType, Schema};

use crate::fields::{Slot, fields_of};

/// The type of the records of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A record type of the path, with the fields that it always has.
    Native(RecordType),
    /// Rows of a schema that the file defines.
    Row(Arc<Schema>),
}

impl Shape {
    /// Rows of these fields.
    pub fn rows(fields: impl IntoIterator<Item = (Arc<str>, FieldType)>) -> Self {
        Self::Row(Arc::new(Schema { fields: fields.into_iter().collect() }))
    }

    /// The record type, by which ports match.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::Native(record) => *record,
            Self::Row(_) => RecordType::Row,
        }
    }

    /// The way to a field.
    pub fn field(&self, name: &str) -> Option<Slot> {
        match self {
            Self::Native(record) => {
                fields_of(*record).iter().find(|(field, _)| *field == name).map(|(_, slot)| *slot)
            }
            Self::Row(schema) => schema.find(name).map(|(slot, kind)| Slot::Row(slot, kind)),
        }
    }

    /// Names and ways of all fields, in order.
    pub fn fields(&self) -> Vec<(&str, Slot)> {
        match self {
            Self::Native(record) => fields_of(*record).to_vec(),
            Self::Row(schema) => {
                let slots = schema.fields.iter().enumerate();
                slots.map(|(slot, (name, kind))| (&**name, Slot::Row(slot, *kind))).collect()
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(record) => write!(f, "{record:?}"),
            Self::Row(schema) => {
                let fields: Vec<_> =
                    schema.fields.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
                write!(f, "Row({})", fields.join(", "))
            }
        }
    }
}
