//! `${VAR}` and `${VAR:-default}`; `$${` stands for `${`.
//!
//! Variables are replaced in values after parsing, never in the text, so a value can never change the
//! structure of the file. In templates `${params.NAME}` waits for the template's use.

use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::document::{Document, Item, Tree};

/// What begins the name of a template's parameter.
pub(crate) const PARAMS: &str = "params.";

/// Replaces the variables of the whole file.
pub(super) fn interpolate(
    document: &mut Document,
    lookup: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
) {
    for (key, item) in document {
        let in_template = key.name == "templates";
        let lookup = |name: &str| match name.starts_with(PARAMS) && in_template {
            true => Some(format!("${{{name}}}")),
            false => lookup(name),
        };
        replace(item, &lookup, diagnostics);
    }
}

/// Replaces the variables of a value.
pub(crate) fn replace(
    item: &mut Item,
    lookup: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
) {
    match &mut item.value {
        Tree::Text(text) if text.contains("${") => match substitute(text, lookup) {
            Ok(replaced) => item.original = Some(std::mem::replace(text, replaced)),
            Err(problem) => {
                diagnostics
                    .error(Code::UnsetVariable, &item.span, problem, "in this value")
                    .help("set it in the environment, or give a default: ${NAME:-default}");
            }
        },
        Tree::List(items) => items.iter_mut().for_each(|item| replace(item, lookup, diagnostics)),
        Tree::Table(entries) => {
            entries.iter_mut().for_each(|(_, item)| replace(item, lookup, diagnostics));
        }
        _ => {}
    }
}

fn substitute(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            result.push_str(&rest[..at - 1]);
            result.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        result.push_str(&rest[..at]);
        let end = rest[at..].find('}').ok_or_else(|| "`${` without `}`".to_owned())? + at;
        let (name, default) = match rest[at + 2..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&rest[at + 2..end], None),
        };
        let value = lookup(name).or_else(|| default.map(str::to_owned));
        result.push_str(&value.ok_or_else(|| unset(name))?);
        rest = &rest[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

fn unset(name: &str) -> String {
    match name.strip_prefix(PARAMS) {
        Some(param) => format!("no parameter `{param}` is defined here: they belong to templates"),
        None => format!("the environment variable `{name}` is not set"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_in_values_only() {
        let lookup = |name: &str| (name == "HOST").then(|| "h\"]".to_owned());
        assert_eq!(substitute("${HOST}:${PORT:-80} $${X}", &lookup), Ok("h\"]:80 ${X}".to_owned()));
        assert!(substitute("${NONE}", &lookup).is_err());
    }
}
