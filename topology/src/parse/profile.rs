//! `[profiles.NAME]`: what one environment has otherwise. It is laid over the file before `--set`.
//!
//! A profile is written like the file itself, so nobody learns a second way to say what changes, and the
//! checker sees the merged file with the places of both. Decision 13 tells why not overlay files.

use super::overrides::Override;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, did_you_mean, quoted};
use crate::document::{Document, Item, Tree, find, take};

/// The profiles that a file has.
pub(super) fn names(document: &Document) -> Vec<String> {
    let profiles = find(document, "profiles").and_then(|(_, item)| item.table());
    profiles.map_or_else(Vec::new, |table| table.iter().map(|(k, _)| k.name.clone()).collect())
}

/// Lays the chosen profile over the document, and takes `profile` and `profiles` out of it.
pub(super) fn apply(
    document: &mut Document,
    overrides: &[Override],
    diagnostics: &mut Diagnostics,
) {
    let chosen = take(document, "profile").map(|(_, item)| item);
    let set = overrides.iter().rev().find(|o| o.is_profile());
    let Some(mut chosen) = set.map(|o| o.item.clone()).or(chosen) else {
        check_tables(document, diagnostics);
        return;
    };
    super::replace(&mut chosen, &|name| std::env::var(name).ok(), diagnostics);
    let known = names(document);
    let profile = check_tables(document, diagnostics);
    let Some(name) = chosen.text() else {
        let found = format!("expected a text, found {}", chosen.value.type_name());
        diagnostics.error(Code::WrongType, &chosen.span, "`profile` is a name".to_owned(), found);
        return;
    };
    let profile = profile.into_iter().find(|(key, _)| key.name == name).map(|(_, item)| item.value);
    match profile {
        Some(Tree::Table(changes)) => merge(document, changes),
        _ if name.is_empty() => {}
        _ => {
            let help = did_you_mean(name, known.iter().map(String::as_str)).unwrap_or_else(|| {
                format!("the profiles are {}", quoted(known.iter().map(String::as_str)))
            });
            let message = format!("there is no profile `{name}`");
            diagnostics
                .error(Code::BadProfile, &chosen.span, message, "no such profile")
                .help(help);
        }
    }
}

/// Takes the profiles out; each is a table.
fn check_tables(document: &mut Document, diagnostics: &mut Diagnostics) -> Document {
    let Some((_, item)) = take(document, "profiles") else { return Vec::new() };
    let Tree::Table(profiles) = item.value else {
        let found = format!("expected a table, found {}", item.value.type_name());
        diagnostics.error(
            Code::WrongType,
            &item.span,
            "`profiles` is not a table".to_owned(),
            found,
        );
        return Vec::new();
    };
    for (key, profile) in profiles.iter().filter(|(_, profile)| profile.table().is_none()) {
        let message = format!("profile `{}` is not a table", key.name);
        let found = format!("expected a table, found {}", profile.value.type_name());
        diagnostics.error(Code::WrongType, &profile.span, message, found);
    }
    profiles.into_iter().filter(|(_, profile)| profile.table().is_some()).collect()
}

/// Tables are merged, everything else is replaced.
fn merge(table: &mut Document, changes: Document) {
    for (key, change) in changes {
        let old = table.iter_mut().find(|(old, _)| old.name == key.name);
        match (old, change.value) {
            (Some((_, Item { value: Tree::Table(inner), .. })), Tree::Table(changes)) => {
                merge(inner, changes);
            }
            (Some((old_key, old)), value) => {
                *old_key = key;
                *old = Item { value, ..change };
            }
            (None, value) => table.push((key, Item { value, ..change })),
        }
    }
}
