//! Text to a tree of values with their places; `${VAR}` and `--set` are applied to the tree.
//!
//! Variables are replaced in values after parsing, never in the text, so a value can never change the
//! structure of the file.

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostics, Span};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Item {
    pub span: Span,
    pub value: Tree,
    /// The text before `${VAR}` was replaced in it.
    pub template: Option<String>,
}

impl Item {
    /// The number or boolean that a text with a variable in it has become: variables hold texts, and the file
    /// has no other way to give a number from outside.
    pub(crate) fn plain_from_variable(&self) -> Option<Tree> {
        let (Some(_), Tree::Text(text)) = (&self.template, &self.value) else { return None };
        let integer = text.parse().map(Tree::Integer).ok();
        let boolean = || text.parse().map(Tree::Bool).ok();
        let number =
            || text.parse().ok().filter(|number: &f64| number.is_finite()).map(Tree::Number);
        integer.or_else(boolean).or_else(number)
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

/// The whole file.
pub type Document = Vec<(Key, Item)>;

/// Parses the first of the diagnostics' sources and applies the overrides.
pub(crate) fn parse(overrides: &[String], diagnostics: &mut Diagnostics) -> Document {
    let text = diagnostics.sources.text(0).to_owned();
    let mut document = parse_table(0, &text, diagnostics);
    for argument in overrides {
        apply_override(&mut document, argument, diagnostics);
    }
    for (_, item) in &mut document {
        interpolate(item, &|name| std::env::var(name).ok(), diagnostics);
    }
    document
}

/// The syntax alone: neither variables nor overrides.
pub(crate) fn parse_table(source: usize, text: &str, diagnostics: &mut Diagnostics) -> Document {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        diagnostics.error(
            "E001",
            &Span { source, range },
            format!("not TOML: {}", error.message()),
            "here",
        );
    }
    convert_table(source, table.get_ref())
}

fn convert_table(source: usize, table: &DeTable<'_>) -> Document {
    let entry =
        |(key, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
            let key =
                Key { span: Span { source, range: key.span() }, name: key.get_ref().to_string() };
            (key, convert(source, value))
        };
    table.iter().map(entry).collect()
}

fn convert(source: usize, value: &toml::Spanned<DeValue<'_>>) -> Item {
    let tree = match value.get_ref() {
        DeValue::String(text) => Tree::Text(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Tree::Other("an integer beyond 64 bits"), Tree::Integer),
        DeValue::Boolean(value) => Tree::Bool(*value),
        DeValue::Float(float) => match float.as_str().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Tree::Number(number),
            _ => Tree::Other("a number that is not finite"),
        },
        DeValue::Datetime(_) => Tree::Other("a date"),
        DeValue::Array(items) => {
            Tree::List(items.iter().map(|item| convert(source, item)).collect())
        }
        DeValue::Table(table) => Tree::Table(convert_table(source, table)),
    };
    Item { span: Span { source, range: value.span() }, value: tree, template: None }
}

/// `a.b.c=value`: the value as TOML if it is, else as text.
fn apply_override(document: &mut Document, argument: &str, diagnostics: &mut Diagnostics) {
    let source = diagnostics.sources.add("--set", argument);
    let whole = Span { source, range: 0..argument.len() };
    let Some((path, value)) = argument.split_once('=') else {
        diagnostics
            .error("E001", &whole, format!("`--set {argument}` has no `=`"), "expected KEY=VALUE")
            .help("for example: --set listeners.main.address=127.0.0.1:9000");
        return;
    };
    let value_span = Span { source, range: path.len() + 1..argument.len() };
    let parsed = format!("v = {value}");
    let tree = match DeTable::parse(&parsed) {
        Ok(table) => table.get_ref().iter().next().map(|(_, item)| convert(source, item).value),
        Err(_) => None,
    };
    let mut item = Item {
        span: value_span.clone(),
        value: tree.unwrap_or_else(|| Tree::Text(value.to_owned())),
        template: None,
    };
    respan(&mut item, &value_span);
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        diagnostics.error(
            "E001",
            &whole,
            format!("`{path}` is not a path of keys"),
            "expected KEY.KEY.KEY=VALUE",
        );
        return;
    }
    insert(document, &keys, &Span { source, range: 0..path.len() }, item);
}

fn respan(item: &mut Item, span: &Span) {
    item.span = span.clone();
    match &mut item.value {
        Tree::List(items) => items.iter_mut().for_each(|item| respan(item, span)),
        Tree::Table(entries) => entries.iter_mut().for_each(|(key, item)| {
            key.span = span.clone();
            respan(item, span);
        }),
        _ => {}
    }
}

fn insert(table: &mut Document, keys: &[&str], span: &Span, item: Item) {
    let (first, rest) = keys.split_first().expect("a path has a key");
    let found = table.iter_mut().find(|(key, _)| key.name == *first);
    match (found, rest.is_empty()) {
        (Some((_, old)), true) => *old = item,
        (Some((_, Item { value: Tree::Table(inner), .. })), false) => {
            insert(inner, rest, span, item)
        }
        (Some((_, old)), false) => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, span, item);
            *old = Item { span: span.clone(), value: Tree::Table(inner), template: None };
        }
        (None, true) => table.push((Key { span: span.clone(), name: (*first).to_owned() }, item)),
        (None, false) => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, span, item);
            let key = Key { span: span.clone(), name: (*first).to_owned() };
            let span = span.clone();
            table.push((key, Item { span, value: Tree::Table(inner), template: None }));
        }
    }
}

fn interpolate(
    item: &mut Item,
    lookup: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
) {
    match &mut item.value {
        Tree::Text(text) if text.contains("${") => match substitute(text, lookup) {
            Ok(replaced) => item.template = Some(std::mem::replace(text, replaced)),
            Err(problem) => {
                diagnostics
                    .error("E016", &item.span, problem, "in this value")
                    .help("set it in the environment, or give a default: ${NAME:-default}");
            }
        },
        Tree::List(items) => {
            items.iter_mut().for_each(|item| interpolate(item, lookup, diagnostics))
        }
        Tree::Table(entries) => {
            entries.iter_mut().for_each(|(_, item)| interpolate(item, lookup, diagnostics))
        }
        _ => {}
    }
}

/// Replaces `${VAR}` and `${VAR:-default}`; `$${` stands for `${`.
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
        result.push_str(
            &value.ok_or_else(|| format!("the environment variable `{name}` is not set"))?,
        );
        rest = &rest[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Sources;

    fn parsed(text: &str, overrides: &[&str]) -> (Document, Diagnostics) {
        let mut diagnostics = Diagnostics::new(Sources::new("dataflow.toml", text));
        let overrides: Vec<_> = overrides.iter().map(|o| (*o).to_owned()).collect();
        (parse(&overrides, &mut diagnostics), diagnostics)
    }

    #[test]
    fn an_override_replaces_or_adds_any_value() {
        let (document, diagnostics) =
            parsed("[a.b]\nc = 1\n", &["a.b.c=127.0.0.1:9000", "a.d.e=[1, 2]", "f=true"]);
        assert!(diagnostics.is_empty());
        let text = format!("{document:?}");
        assert!(
            text.contains(r#"Text("127.0.0.1:9000")"#)
                && text.contains("Integer(2)")
                && text.contains("Bool(true)")
        );
    }

    #[test]
    fn several_syntax_errors_are_found_at_once() {
        let (_, diagnostics) = parsed("a = \nb = 1\nc = [1,\n", &[]);
        assert!(diagnostics.list().len() >= 2, "{diagnostics}");
        let places: Vec<_> =
            diagnostics.list().iter().map(|d| diagnostics.sources.place(&d.span)).collect();
        assert!(places.contains(&"dataflow.toml:1:5".to_owned()), "{places:?}");
    }

    #[test]
    fn a_number_can_come_from_a_variable_and_only_from_there() {
        let plain = |text: &str, template: Option<&str>| {
            let value = Tree::Text(text.to_owned());
            let item = Item { span: Span::default(), value, template: template.map(str::to_owned) };
            item.plain_from_variable().map(|tree| tree.type_name())
        };
        assert_eq!(plain("64", Some("${N}")), Some("an integer"));
        assert_eq!(plain("true", Some("${N}")), Some("a boolean"));
        assert_eq!(plain("0.5", Some("${N}")), Some("a number"));
        assert_eq!((plain("64", None), plain("NaN", Some("${N}"))), (None, None));
    }

    #[test]
    fn variables_are_replaced_in_values_only() {
        let lookup = |name: &str| (name == "HOST").then(|| "h\"]".to_owned());
        assert_eq!(substitute("${HOST}:${PORT:-80} $${X}", &lookup), Ok("h\"]:80 ${X}".to_owned()));
        assert!(substitute("${NONE}", &lookup).is_err());
    }
}
