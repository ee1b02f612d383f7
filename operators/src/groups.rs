//! Records in groups: by the values of some of their fields.

use std::sync::Arc;

use imflow_kind::fields::{Slot, row_slot};
use imflow_kind::{Mistake, Opt, OptType, Shape};
use imflow_proto::Record;
use imflow_proto::record::{FieldType, Scalar};

use crate::fields::{self, Fields};

/// A group's values as bytes: equal exactly if the values are, and in one order everywhere.
pub(crate) type GroupKey = Arc<[u8]>;

/// The option that names the fields of a group.
pub(crate) const BY: Opt = Opt::new(
    "by",
    OptType::Texts,
    "",
    "the fields that make a group; default: all records are one",
)
.shaping_state();

/// The fields that make a group. None: all records are one.
pub(crate) struct By {
    fields: Fields,
}

impl By {
    /// The fields that an option names.
    ///
    /// # Errors
    /// Like [`fields::find`]; and lists make no groups.
    pub(crate) fn compile(
        option: &'static str,
        shape: &Shape,
        names: &[String],
    ) -> Result<Self, Vec<Mistake>> {
        let fields = fields::find(option, shape, names)?;
        let list = fields.iter().find(|(_, slot)| slot.field_type() == FieldType::Strings);
        if let Some((name, _)) = list {
            let message = format!("`{name}` is a list; a group is made by single values");
            return Err(vec![fields::at_text(option, name, message)]);
        }
        Ok(Self { fields })
    }

    /// Names and types, for schemas.
    pub(crate) fn schema(&self) -> impl Iterator<Item = (Arc<str>, FieldType)> {
        self.fields.iter().map(|(name, slot)| (Arc::clone(name), slot.field_type()))
    }

    /// Writes the key of a record's group.
    pub(crate) fn write_key(&self, record: &Record, key: &mut Vec<u8>) {
        key.clear();
        for (_, slot) in &self.fields {
            match slot {
                Slot::Bool(field) => key.push(u8::from(field(record))),
                Slot::Int(field) => key.extend(field(record).to_be_bytes()),
                Slot::String(field) => write_text(field(record), key),
                Slot::Row(slot, _) => write_scalar(row_slot(record, *slot), key),
                Slot::Strings(_) => unreachable!("no list makes a group"),
            }
        }
    }

    /// The values of a record's group.
    pub(crate) fn values(&self, record: &Record) -> Box<[Scalar]> {
        self.fields.iter().map(|(_, slot)| slot.value(record)).collect()
    }
}

fn write_scalar(value: &Scalar, key: &mut Vec<u8>) {
    match value {
        Scalar::Bool(value) => key.push(u8::from(*value)),
        Scalar::Int(value) => key.extend(value.to_be_bytes()),
        Scalar::Double(value) => key.extend(value.to_bits().to_be_bytes()),
        Scalar::String(text) => write_text(text, key),
        Scalar::Strings(_) => unreachable!("no list makes a group"),
    }
}

/// With its length, so that ("ab", "c") and ("a", "bc") differ.
fn write_text(text: &str, key: &mut Vec<u8>) {
    key.extend((text.len() as u32).to_be_bytes());
    key.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use imflow_proto::RecordType;

    use super::*;
    use crate::testing::committed;

    #[test]
    fn neighbouring_texts_are_kept_apart() {
        let shape = Shape::Native(RecordType::Committed);
        let by = By::compile("by", &shape, &["conversationId".into(), "senderId".into()]);
        let by = by.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let key = |conversation, sender| {
            let mut key = Vec::new();
            by.write_key(&Record::Committed(committed(conversation, sender, "x", "", 1)), &mut key);
            key
        };
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("a", "bc"), key("a", "bc"));
    }
}
