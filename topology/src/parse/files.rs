//! The file and those that it includes, joined into one document.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{convert, replace};
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::{Document, Item, Key, Tree, take};

/// Files of one topology; more is a mistake in a pattern.
const MAX_FILES: usize = 1_000;

/// Reads the first of the diagnostics' sources and what it includes. Included files come after what
/// includes them, in the order of the list, those of one pattern by name.
pub(super) fn read(diagnostics: &mut Diagnostics) -> Document {
    let path = PathBuf::from(diagnostics.sources.name(0));
    let mut reader = Reader { seen: HashSet::new(), open: Vec::new(), document: Vec::new() };
    reader.file(&path, 0, diagnostics);
    reader.document
}

struct Reader {
    /// Every file, by its real path: each is read once.
    seen: HashSet<PathBuf>,
    /// The files whose includes are being followed.
    open: Vec<PathBuf>,
    document: Document,
}

impl Reader {
    fn file(&mut self, path: &Path, source: usize, diagnostics: &mut Diagnostics) {
        let real = real_path(path);
        self.seen.insert(real.clone());
        self.open.push(real);
        let mut document = convert::source(source, diagnostics);
        let include = take(&mut document, "include").map(|(_, item)| item);
        join(&mut self.document, document, diagnostics);
        if let Some(mut include) = include {
            replace(&mut include, &|name| std::env::var(name).ok(), diagnostics);
            let folder = path.parent().unwrap_or(Path::new(""));
            for (pattern, span) in patterns(&include, diagnostics) {
                self.include(folder, &pattern, &span, diagnostics);
            }
        }
        self.open.pop();
    }

    fn include(
        &mut self,
        folder: &Path,
        pattern: &str,
        span: &Span,
        diagnostics: &mut Diagnostics,
    ) {
        let found = match matching(folder, pattern) {
            Ok(found) => found,
            Err((problem, help)) => return refuse(pattern, span, &problem, help, diagnostics),
        };
        for path in found {
            let real = real_path(&path);
            if self.open.contains(&real) {
                let problem = format!("{} includes itself", path.display());
                refuse(pattern, span, &problem, "let one file include the others", diagnostics);
            } else if self.seen.len() >= MAX_FILES {
                let problem = format!("the topology has more than {MAX_FILES} files");
                return refuse(pattern, span, &problem, "name fewer files", diagnostics);
            } else if !self.seen.contains(&real) {
                match std::fs::read_to_string(&path) {
                    Ok(text) => {
                        let source = diagnostics.sources.add(&path.display().to_string(), &text);
                        self.file(&path, source, diagnostics);
                    }
                    Err(error) => {
                        let problem = format!("{} cannot be read: {error}", path.display());
                        refuse(pattern, span, &problem, RELATIVE, diagnostics);
                    }
                }
            }
        }
    }
}

const RELATIVE: &str = "the path is relative to the file that names it";

fn refuse(pattern: &str, span: &Span, problem: &str, help: &str, diagnostics: &mut Diagnostics) {
    let message = format!("cannot include `{pattern}`: {problem}");
    diagnostics.error(Code::BadInclude, span, message, "named here").help(help);
}

/// The path by which files are told apart; one that does not exist is told by its name.
fn real_path(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The patterns of `include`, with their places.
fn patterns(include: &Item, diagnostics: &mut Diagnostics) -> Vec<(String, Span)> {
    let items = match &include.value {
        Tree::List(items) => items.as_slice(),
        _ => std::slice::from_ref(include),
    };
    let mut patterns = Vec::new();
    for item in items {
        match item.text() {
            Some(text) => patterns.push((text.to_owned(), item.span.clone())),
            None => {
                let found = format!("expected a text or a list, found {}", item.value.type_name());
                let message = "`include` names files".to_owned();
                diagnostics.error(Code::WrongType, &item.span, message, found);
            }
        }
    }
    patterns
}

/// The files of a pattern, by name. `*` stands for any part of the file's name.
fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, (String, &'static str)> {
    let path = folder.join(pattern);
    if !pattern.contains('*') {
        return Ok(vec![path]);
    }
    let (parent, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
    let (Some(parent), Some(name)) = (parent, name) else {
        return Err(("it names no file".to_owned(), RELATIVE));
    };
    if parent.to_string_lossy().contains('*') {
        let help = "`*` stands in the name of the file only: streams/*.toml";
        return Err(("a folder has a `*`".to_owned(), help));
    }
    let folder = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let entries = std::fs::read_dir(folder)
        .map_err(|error| (format!("{} cannot be read: {error}", folder.display()), RELATIVE))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<_> = names.filter(|entry| fits(name, entry)).collect();
    found.sort_unstable();
    if found.is_empty() {
        return Err(("no file has such a name".to_owned(), RELATIVE));
    }
    Ok(found.iter().map(|name| parent.join(name)).collect())
}

/// Whether a name fits a pattern with `*`.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

/// Adds a file's tables to those of the files before it. What both define is a mistake: only a profile
/// or `--set` replaces a value.
fn join(document: &mut Document, file: Document, diagnostics: &mut Diagnostics) {
    for (key, item) in file {
        let known = document.iter_mut().find(|(known, _)| known.name == key.name);
        match (known, item.value) {
            (Some((_, Item { value: Tree::Table(known), .. })), Tree::Table(entries)) => {
                join_tables(known, &key.name, entries, diagnostics);
            }
            (Some((known, _)), _) => twice(&key, "", known, diagnostics),
            (None, value) => document.push((key, Item { value, ..item })),
        }
    }
}

fn join_tables(
    known: &mut Document,
    table: &str,
    entries: Document,
    diagnostics: &mut Diagnostics,
) {
    let mut places: HashMap<String, usize> =
        known.iter().enumerate().map(|(at, (key, _))| (key.name.clone(), at)).collect();
    for (key, item) in entries {
        match places.get(&key.name) {
            Some(at) => twice(&key, table, &known[*at].0, diagnostics),
            None => {
                places.insert(key.name.clone(), known.len());
                known.push((key, item));
            }
        }
    }
}

fn twice(second: &Key, table: &str, first: &Key, diagnostics: &mut Diagnostics) {
    let of = if table.is_empty() { String::new() } else { format!("{table}.") };
    let message = format!("`{of}{}` is defined in two files", second.name);
    diagnostics
        .error(Code::DuplicateName, &second.span, message, "second definition")
        .also(&first.span, "first defined here")
        .help("a value for one environment belongs into `[profiles.NAME]`, which replaces");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_part_of_a_name() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.txt", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("*", "anything", true),
            ("a*a", "a", false),
            ("x", "x", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
