//! The file as a tree of values with their places.

use std::fmt::Write as _;

use crate::diagnostic::Span;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Item {
    pub span: Span,
    pub value: Tree,
    /// The text before variables were replaced in it. The value of a variable may stand for a number or
    /// a boolean.
    pub original: Option<String>,
}

impl Item {
    pub(crate) fn new(span: Span, value: Tree) -> Self {
        Self { span, value, original: None }
    }

    /// The value as the file has it, if a variable stands anywhere in it.
    pub(crate) fn with_variables(&self) -> Option<Tree> {
        let mut item = self.clone();
        item.put_variables_back().then_some(item.value)
    }

    fn put_variables_back(&mut self) -> bool {
        if let Some(original) = self.original.take() {
            self.value = Tree::Text(original);
            return true;
        }
        let back = |any: bool, item: &mut Self| item.put_variables_back() | any;
        match &mut self.value {
            Tree::List(items) => items.iter_mut().fold(false, back),
            Tree::Table(entries) => entries.iter_mut().map(|(_, item)| item).fold(false, back),
            _ => false,
        }
    }

    /// The entries, if it is a table.
    pub(crate) fn table(&self) -> Option<&Document> {
        match &self.value {
            Tree::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number or boolean that a text with a variable in it has become: variables hold texts, and the file
    /// has no other way to give a number from outside.
    pub(crate) fn plain_from_variable(&self) -> Option<Tree> {
        let (Some(_), Tree::Text(text)) = (&self.original, &self.value) else { return None };
        let integer = text.parse().map(Tree::Integer).ok();
        let boolean = || text.parse().map(Tree::Bool).ok();
        let number =
            || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Tree::Number);
        integer.or_else(boolean).or_else(number)
    }

    /// Changes every place in it.
    pub(crate) fn respan(&mut self, change: &dyn Fn(&mut Span)) {
        change(&mut self.span);
        match &mut self.value {
            Tree::List(items) => items.iter_mut().for_each(|item| item.respan(change)),
            Tree::Table(entries) => entries.iter_mut().for_each(|(key, item)| {
                change(&mut key.span);
                item.respan(change);
            }),
            _ => {}
        }
    }
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    pub span: Span,
    pub name: String,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Tree {
    Text(String),
    Integer(i64),
    Bool(bool),
    Number(f64),
    /// A date, or a number beyond what fits: no option takes one.
    Other(&'static str),
    List(Vec<Item>),
    Table(Vec<(Key, Item)>),
}

impl Tree {
    /// As in "expected a text, found ...".
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Other(name) => name,
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The entries of a table, in the order of the file; the whole file is one.
pub type Document = Vec<(Key, Item)>;

/// The value of a key.
pub(crate) fn find<'a>(table: &'a Document, name: &str) -> Option<&'a (Key, Item)> {
    table.iter().find(|(key, _)| key.name == name)
}

/// Takes a key out.
pub(crate) fn take(table: &mut Document, name: &str) -> Option<(Key, Item)> {
    table.iter().position(|(key, _)| key.name == name).map(|at| table.remove(at))
}

/// A document as TOML: tables of nodes under headers, everything below them inline.
pub(crate) fn to_toml(document: &Document) -> String {
    let mut text = String::new();
    let (tables, values): (Vec<_>, Vec<_>) =
        document.iter().partition(|(_, item)| item.table().is_some());
    for (key, item) in values {
        let _ = writeln!(text, "{} = {}", key_text(&key.name), inline(&item.value));
    }
    for (key, item) in tables {
        let entries = item.table().expect("just parted");
        let named = entries.iter().all(|(_, item)| item.table().is_some());
        if named {
            for (name, item) in entries {
                header(&mut text, &[&key.name, &name.name], item.table().expect("just seen"));
            }
        } else {
            header(&mut text, &[&key.name], entries);
        }
    }
    text
}

fn header(text: &mut String, path: &[&String], entries: &Document) {
    let path: Vec<_> = path.iter().map(|name| key_text(name)).collect();
    let _ = writeln!(text, "\n[{}]", path.join("."));
    for (key, item) in entries {
        let _ = writeln!(text, "{} = {}", key_text(&key.name), inline(&item.value));
    }
}

fn key_text(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let bare = !name.is_empty() && name.chars().all(is_bare);
    if bare { name.to_owned() } else { quote(name) }
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(crate) fn inline(value: &Tree) -> String {
    match value {
        Tree::Text(text) => quote(text),
        Tree::Integer(integer) => integer.to_string(),
        Tree::Bool(value) => value.to_string(),
        Tree::Number(number) => toml::Value::Float(*number).to_string(),
        Tree::Other(name) => format!("\"({name})\""),
        Tree::List(items) => {
            let items: Vec<_> = items.iter().map(|item| inline(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Tree::Table(entries) if entries.is_empty() => "{}".to_owned(),
        Tree::Table(entries) => {
            let entry = |(key, item): &(Key, Item)| {
                format!("{} = {}", key_text(&key.name), inline(&item.value))
            };
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_can_come_from_a_variable_and_only_from_there() {
        let plain = |text: &str, original: Option<&str>| {
            let mut item = Item::new(Span::default(), Tree::Text(text.to_owned()));
            item.original = original.map(str::to_owned);
            item.plain_from_variable().map(|tree| tree.type_name())
        };
        assert_eq!(plain("64", Some("${N}")), Some("an integer"));
        assert_eq!(plain("true", Some("${N}")), Some("a boolean"));
        assert_eq!(plain("0.5", Some("${N}")), Some("a number"));
        assert_eq!((plain("64", None), plain("NaN", Some("${N}"))), (None, None));
    }
}
