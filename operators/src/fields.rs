//! Lists of field names in options: looked up in a shape, or told with what there is.

use std::sync::Arc;

use imflow_kind::fields::Slot;
use imflow_kind::{Mistake, Shape};

use crate::expression::{Expression, no_field};
use crate::typed::mistake;

/// Names and ways of fields.
pub(crate) type Fields = Vec<(Arc<str>, Slot)>;

/// Finds the fields that an option names.
///
/// # Errors
/// One mistake for each name that the shape does not have, and for each that stands twice.
pub(crate) fn find(
    option: &'static str,
    shape: &Shape,
    names: &[String],
) -> Result<Fields, Vec<Mistake>> {
    let (mut fields, mut mistakes) = (Fields::new(), Vec::new());
    for name in names {
        match shape.field(name) {
            Some(_) if fields.iter().any(|(other, _)| **other == **name) => {
                mistakes.push(at_text(option, name, format!("`{name}` stands here twice")));
            }
            Some(slot) => fields.push((name.as_str().into(), slot)),
            None => {
                let (message, help) = no_field(shape, name);
                let mistake = at_text(option, name, message);
                mistakes.push(Mistake { help: Some(help), ..mistake });
            }
        }
    }
    if mistakes.is_empty() { Ok(fields) } else { Err(mistakes) }
}

/// Compiles the expressions of an option that is a table.
///
/// # Errors
/// The first mistake of each entry.
pub(crate) fn compile(
    option: &'static str,
    shape: &Shape,
    entries: &[(String, String)],
) -> Result<Vec<(Arc<str>, Expression)>, Vec<Mistake>> {
    let (mut made, mut mistakes) = (Vec::new(), Vec::new());
    for (name, source) in entries {
        match Expression::compile(shape, source) {
            Ok(expression) => made.push((name.as_str().into(), expression)),
            Err(error) => mistakes.push(error.within(option, name)),
        }
    }
    if mistakes.is_empty() { Ok(made) } else { Err(mistakes) }
}

/// All fields of a shape.
pub(crate) fn all(shape: &Shape) -> Fields {
    shape.fields().into_iter().map(|(name, slot)| (name.into(), slot)).collect()
}

/// A mistake at one text of an option's list.
pub(crate) fn at_text(option: &'static str, text: &str, message: String) -> Mistake {
    Mistake { within: Some(text.to_owned()), ..mistake(option, message) }
}
