//! Functions and methods: of texts, conversions, durations.

use std::sync::Arc;

use cel::IdedExpr;
use imflow_kind::{did_you_mean, units};
use regex::Regex;

use super::aggregates::AGGREGATES;
use super::code::{Code, ListCode, TextCode, boolean, double, int, text};
use super::typing::{Typed, Typing, constant};
use super::{Fault, hints};

const FUNCTIONS: [&str; 7] = ["size", "int", "double", "string", "duration", "min", "max"];
const METHODS: [&str; 13] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "size",
    "lowerAscii",
    "upperAscii",
    "trim",
    "replace",
    "indexOf",
    "substring",
    "split",
    "join",
];

/// `name(args)`
pub(super) fn function(
    typing: &Typing<'_>,
    node: &IdedExpr,
    name: &str,
    args: &[IdedExpr],
) -> Typed {
    match (name, args) {
        ("size", [of]) => size(typing, of),
        ("int", [of]) => to_int(typing, of),
        ("double", [of]) => to_double(typing, of),
        ("string", [of]) => to_string(typing, of),
        ("duration", [of]) => duration(typing, of),
        ("min", [left, right]) => extreme(typing, node, name, left, right),
        ("max", [left, right]) => extreme(typing, node, name, left, right),
        _ => {
            let known: Vec<_> = FUNCTIONS.iter().chain(typing.aggregate_names()).copied().collect();
            unknown(typing, node, "function", name, args.len(), &known)
        }
    }
}

/// `target.name(args)`
pub(super) fn method(
    typing: &Typing<'_>,
    node: &IdedExpr,
    name: &str,
    target: &IdedExpr,
    args: &[IdedExpr],
) -> Typed {
    match (name, args) {
        ("size", []) => size(typing, target),
        ("contains", [part]) => test(typing, name, target, part, |text, part| text.contains(part)),
        ("startsWith", [part]) => {
            test(typing, name, target, part, |text, part| text.starts_with(part))
        }
        ("endsWith", [part]) => test(typing, name, target, part, |text, part| text.ends_with(part)),
        ("matches", [pattern]) => matches(typing, target, pattern),
        ("lowerAscii", []) => changed(typing, name, target, str::to_ascii_lowercase),
        ("upperAscii", []) => changed(typing, name, target, str::to_ascii_uppercase),
        ("trim", []) => changed(typing, name, target, |text| text.trim().to_owned()),
        ("replace", [from, to]) => replace(typing, target, from, to),
        ("indexOf", [part]) => index_of(typing, target, part),
        ("substring", [start]) => substring(typing, target, start, None),
        ("substring", [start, end]) => substring(typing, target, start, Some(end)),
        ("split", [separator]) => split(typing, target, separator),
        ("join", [separator]) => join(typing, target, separator),
        _ => unknown(typing, node, "method", name, args.len(), &METHODS),
    }
}

fn unknown(
    typing: &Typing<'_>,
    node: &IdedExpr,
    what: &str,
    name: &str,
    args: usize,
    known: &[&str],
) -> Typed {
    if known.contains(&name) {
        let plural = if args == 1 { "" } else { "s" };
        return typing.refuse(node, format!("`{name}` does not take {args} argument{plural}"));
    }
    let help = if AGGREGATES.contains(&name) {
        "aggregates stand in the option `select` of a `window`".to_owned()
    } else if let Some(hint) = hints::meant(name) {
        hint.to_owned()
    } else {
        did_you_mean(name, known.iter().copied())
            .unwrap_or_else(|| format!("there are {}", known.join(", ")))
    };
    typing.refuse_with(node, format!("there is no {what} `{name}`"), help)
}

/// A string that a function called `name` takes.
fn string(
    typing: &Typing<'_>,
    name: &str,
    of: &IdedExpr,
) -> Result<TextCode, super::ExpressionError> {
    match typing.code(of)? {
        Code::Text(code) => Ok(code),
        other => typing.refuse(
            of,
            format!("`{name}` takes a string here and is given {}", other.field_type()),
        ),
    }
}

fn position(
    typing: &Typing<'_>,
    of: &IdedExpr,
) -> Result<super::Compute<i64>, super::ExpressionError> {
    match typing.code(of)? {
        Code::Int(code) => Ok(code),
        other => typing
            .refuse(of, format!("a position is an int and this is of type {}", other.field_type())),
    }
}

/// The characters of a text, the items of a list.
fn size(typing: &Typing<'_>, of: &IdedExpr) -> Typed {
    match typing.code(of)? {
        Code::Text(text) => Ok(int(move |it| Ok(text.get(it)?.chars().count() as i64))),
        Code::List(list) => Ok(int(move |it| Ok(list.get(it)?.len() as i64))),
        other => {
            let found = other.field_type();
            typing.refuse(of, format!("`size` takes a string or a list and is given {found}"))
        }
    }
}

fn to_int(typing: &Typing<'_>, of: &IdedExpr) -> Typed {
    match typing.code(of)? {
        Code::Int(code) => Ok(Code::Int(code)),
        Code::Double(code) => Ok(int(move |it| whole(code(it)?))),
        Code::Text(code) => Ok(int(move |it| code.get(it)?.parse().map_err(|_| Fault::NotANumber))),
        other => unconvertible(typing, of, "int", &other),
    }
}

/// The whole part of a double. The ends of the range are no ints after rounding, so they are refused too.
fn whole(value: f64) -> Result<i64, Fault> {
    let fits = value > i64::MIN as f64 && value < i64::MAX as f64;
    if fits { Ok(value as i64) } else { Err(Fault::Overflow) }
}

fn to_double(typing: &Typing<'_>, of: &IdedExpr) -> Typed {
    match typing.code(of)? {
        Code::Double(code) => Ok(Code::Double(code)),
        Code::Int(code) => Ok(double(move |it| Ok(code(it)? as f64))),
        Code::Text(code) => {
            Ok(double(move |it| code.get(it)?.parse().map_err(|_| Fault::NotANumber)))
        }
        other => unconvertible(typing, of, "double", &other),
    }
}

fn to_string(typing: &Typing<'_>, of: &IdedExpr) -> Typed {
    match typing.code(of)? {
        Code::Text(code) => Ok(Code::Text(code)),
        Code::Bool(code) => Ok(text(move |it| Ok(code(it)?.to_string()))),
        Code::Int(code) => Ok(text(move |it| Ok(code(it)?.to_string()))),
        Code::Double(code) => Ok(text(move |it| Ok(code(it)?.to_string()))),
        other @ Code::List(_) => unconvertible(typing, of, "string", &other),
    }
}

fn unconvertible(typing: &Typing<'_>, of: &IdedExpr, name: &str, found: &Code) -> Typed {
    typing.refuse(of, format!("a {} cannot be made a {name}", found.field_type()))
}

/// Milliseconds, as times are.
fn duration(typing: &Typing<'_>, of: &IdedExpr) -> Typed {
    match typing.literal_text(of).map(milliseconds) {
        Some(Some(ms)) => Ok(constant(ms)),
        _ => typing.refuse(of, "a duration is a literal such as \"250ms\", \"3s\", \"1h30m\" or \"7d\", and gives milliseconds"),
    }
}

fn milliseconds(written: &str) -> Option<i64> {
    let (mut total, mut rest) = (0_i64, written);
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let length = rest[unit..].find(|c: char| c.is_ascii_digit());
        let end = length.map_or(rest.len(), |length| unit + length);
        let part = units::duration_ms(&rest[..end]).ok()?;
        total = total.checked_add(i64::try_from(part).ok()?)?;
        rest = &rest[end..];
    }
    (!written.is_empty()).then_some(total)
}

/// `min(a, b)` and `max(a, b)` of two numbers of one type.
fn extreme(
    typing: &Typing<'_>,
    node: &IdedExpr,
    name: &str,
    left: &IdedExpr,
    right: &IdedExpr,
) -> Typed {
    let greatest = name == "max";
    match (typing.code(left)?, typing.code(right)?) {
        (Code::Int(a), Code::Int(b)) => Ok(int(move |it| {
            let (a, b) = (a(it)?, b(it)?);
            Ok(if greatest { a.max(b) } else { a.min(b) })
        })),
        (Code::Double(a), Code::Double(b)) => Ok(double(move |it| {
            let (a, b) = (a(it)?, b(it)?);
            Ok(if greatest { a.max(b) } else { a.min(b) })
        })),
        (a, b) => {
            let (a, b) = (a.field_type(), b.field_type());
            typing.refuse(
                node,
                format!("`{name}` takes two ints or two doubles and is given {a} and {b}"),
            )
        }
    }
}

fn test(
    typing: &Typing<'_>,
    name: &str,
    target: &IdedExpr,
    part: &IdedExpr,
    holds: fn(&str, &str) -> bool,
) -> Typed {
    let (target, part) = (string(typing, name, target)?, string(typing, name, part)?);
    Ok(boolean(move |it| Ok(holds(&target.get(it)?, &part.get(it)?))))
}

/// The pattern is compiled once, so it must be there when the file is checked.
fn matches(typing: &Typing<'_>, target: &IdedExpr, pattern: &IdedExpr) -> Typed {
    let target = string(typing, "matches", target)?;
    let Some(written) = typing.literal_text(pattern) else {
        return typing.refuse(pattern, "`matches` takes a literal regular expression");
    };
    match Regex::new(written) {
        Ok(regex) => Ok(boolean(move |it| Ok(regex.is_match(&target.get(it)?)))),
        Err(error) => {
            let told = error.to_string();
            let reason = told.lines().last().unwrap_or_default().trim_start_matches("error: ");
            typing.refuse(pattern, format!("not a regular expression: {reason}"))
        }
    }
}

fn changed(
    typing: &Typing<'_>,
    name: &str,
    target: &IdedExpr,
    change: fn(&str) -> String,
) -> Typed {
    let target = string(typing, name, target)?;
    Ok(text(move |it| Ok(change(&target.get(it)?))))
}

fn replace(typing: &Typing<'_>, target: &IdedExpr, from: &IdedExpr, to: &IdedExpr) -> Typed {
    let target = string(typing, "replace", target)?;
    let (from, to) = (string(typing, "replace", from)?, string(typing, "replace", to)?);
    Ok(text(move |it| Ok(target.get(it)?.replace(&*from.get(it)?, &to.get(it)?))))
}

/// In characters; -1 where there is none.
fn index_of(typing: &Typing<'_>, target: &IdedExpr, part: &IdedExpr) -> Typed {
    let (target, part) = (string(typing, "indexOf", target)?, string(typing, "indexOf", part)?);
    Ok(int(move |it| {
        let text = target.get(it)?;
        let at = text.find(&*part.get(it)?);
        Ok(at.map_or(-1, |byte| text[..byte].chars().count() as i64))
    }))
}

/// In characters, `start` inclusive, `end` exclusive.
fn substring(
    typing: &Typing<'_>,
    target: &IdedExpr,
    start: &IdedExpr,
    end: Option<&IdedExpr>,
) -> Typed {
    let target = string(typing, "substring", target)?;
    let start = position(typing, start)?;
    let end = end.map(|end| position(typing, end)).transpose()?;
    Ok(text(move |it| {
        let text = target.get(it)?;
        let from = byte_of(&text, start(it)?)?;
        let to = end.as_ref().map_or(Ok(text.len()), |end| byte_of(&text, end(it)?))?;
        text.get(from..to).map(str::to_owned).ok_or(Fault::OutOfRange)
    }))
}

/// Where the character of this number begins; the end counts as one.
fn byte_of(text: &str, character: i64) -> Result<usize, Fault> {
    let character = usize::try_from(character).map_err(|_| Fault::OutOfRange)?;
    let ends = std::iter::once(text.len());
    let mut begins = text.char_indices().map(|(byte, _)| byte).chain(ends);
    begins.nth(character).ok_or(Fault::OutOfRange)
}

fn split(typing: &Typing<'_>, target: &IdedExpr, separator: &IdedExpr) -> Typed {
    let target = string(typing, "split", target)?;
    let separator = match typing.literal_text(separator) {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => {
            return typing.refuse(separator, "`split` takes a literal separator that is not empty");
        }
    };
    let code = move |it: &super::Input<'_>| {
        Ok(target.get(it)?.split(&*separator).map(Arc::from).collect())
    };
    Ok(Code::List(ListCode::Computed(Box::new(code))))
}

fn join(typing: &Typing<'_>, target: &IdedExpr, separator: &IdedExpr) -> Typed {
    let list = match typing.code(target)? {
        Code::List(list) => list,
        other => {
            return typing.refuse(
                target,
                format!("`join` takes a list of strings and is given {}", other.field_type()),
            );
        }
    };
    let separator = string(typing, "join", separator)?;
    Ok(text(move |it| Ok(list.get(it)?.join(&*separator.get(it)?))))
}
