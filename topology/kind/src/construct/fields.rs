//! The given fields of one record, taken by name and type.

use imflow_proto::record::{FieldType, Scalar};

use super::{Making, Unfit};

/// The given fields, and what was asked of them.
pub(super) struct Fields<'a> {
    pub(super) given: &'a [(String, Scalar)],
    pub(super) making: Making,
    pub(super) known: Vec<String>,
    pub(super) unfit: Vec<(String, Unfit)>,
}

impl Fields<'_> {
    /// The given value of a field, if it is of its type.
    pub(super) fn take(&mut self, name: &str, kind: FieldType) -> Option<Scalar> {
        self.known.push(name.to_owned());
        let (_, value) = self.given.iter().find(|(given, _)| given == name)?;
        match (kind, value) {
            (FieldType::Double, Scalar::Int(value)) => Some(Scalar::Double(*value as f64)),
            (FieldType::Strings, Scalar::Strings(_)) => Some(value.clone()),
            _ if value.field_type() == kind => Some(value.clone()),
            _ => {
                self.unfit.push((name.to_owned(), Unfit::Type(kind)));
                None
            }
        }
    }

    pub(super) fn bool(&mut self, name: &str, default: bool) -> bool {
        match self.take(name, FieldType::Bool) {
            Some(Scalar::Bool(value)) => value,
            _ => default,
        }
    }

    /// A number; what the record keeps in 32 or 64 bits without a sign is never negative.
    pub(super) fn int(&mut self, name: &str, default: i64) -> i64 {
        match self.take(name, FieldType::Int) {
            Some(Scalar::Int(value)) if value < 0 => {
                let sentence = "expected 0 or more".to_owned();
                self.unfit.push((name.to_owned(), Unfit::Value(sentence)));
                default
            }
            Some(Scalar::Int(value)) => value,
            _ => default,
        }
    }

    /// Milliseconds since the Unix epoch, by default the present.
    pub(super) fn now(&mut self, name: &str) -> i64 {
        self.int(name, self.making.now_ms as i64)
    }

    pub(super) fn string(&mut self, name: &str, default: &str) -> String {
        match self.take(name, FieldType::String) {
            Some(Scalar::String(value)) => value.to_string(),
            _ => default.to_owned(),
        }
    }

    pub(super) fn strings(&mut self, name: &str, default: &[&str]) -> Vec<String> {
        match self.take(name, FieldType::Strings) {
            Some(Scalar::Strings(values)) => values.iter().map(ToString::to_string).collect(),
            _ => default.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    /// A name that stands for something.
    pub(super) fn name<T>(
        &mut self,
        name: &str,
        default: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.string(name, default);
        let value = read(&text);
        if value.is_none() {
            let sentence =
                format!("`{text}` is no value of `{name}`, whose default is `{default}`");
            self.unfit.push((name.to_owned(), Unfit::Value(sentence)));
        }
        value
    }

    pub(super) fn refuse_unknown(&mut self) {
        self.known.dedup();
        for (name, _) in self.given.iter().filter(|(name, _)| !self.known.contains(name)) {
            self.unfit.push((name.clone(), Unfit::Unknown(self.known.clone())));
        }
    }
}
