//! From the syntax tree to code: every node gets a type, or the expression is refused at its place.

use std::cmp::Ordering;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators};
use imflow_kind::Shape;
use imflow_kind::fields::{Slot, row_slot};
use imflow_proto::record::{FieldType, Scalar};

use super::PredicateError;
use super::code::{Code, TextCode, arithmetic, boolean, compare, either, int};

pub(super) struct Typing<'a> {
    pub(super) shape: &'a Shape,
    pub(super) positions: &'a SourceInfo,
}

type Typed = Result<Code, PredicateError>;

impl Typing<'_> {
    pub(super) fn code(&self, node: &IdedExpr) -> Typed {
        match &node.expr {
            Expr::Ident(name) => self.field(node, name),
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Call(call) => self.call(node, call),
            Expr::List(_) => self.refuse(node, "a list can only stand on the right of `in`"),
            Expr::Select(select) => self.refuse(
                node,
                format!(
                    "`.{}` is no field: the fields of a record have no fields of their own",
                    select.field
                ),
            ),
            Expr::Comprehension(_) => {
                self.refuse(node, "loops (all, exists, map, filter) are not supported")
            }
            Expr::Map(_) | Expr::Struct(_) => {
                self.refuse(node, "maps and messages are not supported")
            }
            Expr::Unspecified => self.refuse(node, "an expression is missing here"),
        }
    }

    fn field(&self, node: &IdedExpr, name: &str) -> Typed {
        let Some(slot) = self.shape.field(name) else {
            let known: Vec<_> = self.shape.fields().into_iter().map(|(field, _)| field).collect();
            let record = self.shape.record_type();
            return self.refuse(
                node,
                format!("{record:?} has no field `{name}`; it has {}", known.join(", ")),
            );
        };
        match slot {
            Slot::Bool(field) => Ok(boolean(move |it| Ok(field(it)))),
            Slot::Int(field) => Ok(int(move |it| Ok(field(it)))),
            Slot::String(field) => Ok(Code::Text(TextCode::Field(field))),
            Slot::Strings(field) => Ok(Code::Texts(field)),
            Slot::Row(slot, kind) => self.row_field(node, slot, kind),
        }
    }

    fn row_field(&self, node: &IdedExpr, slot: usize, kind: FieldType) -> Typed {
        match kind {
            FieldType::Bool => Ok(boolean(move |it| match row_slot(it, slot) {
                Scalar::Bool(value) => Ok(*value),
                other => mistyped(other),
            })),
            FieldType::Int => Ok(int(move |it| match row_slot(it, slot) {
                Scalar::Int(value) => Ok(*value),
                other => mistyped(other),
            })),
            FieldType::String => Ok(Code::Text(TextCode::Slot(slot))),
            other => self.refuse(node, format!("expressions cannot read a {other} yet")),
        }
    }

    fn literal(&self, node: &IdedExpr, literal: &LiteralValue) -> Typed {
        match literal {
            LiteralValue::Boolean(value) => {
                let value = *value.inner();
                Ok(boolean(move |_| Ok(value)))
            }
            LiteralValue::Int(value) => Ok(constant(*value.inner())),
            LiteralValue::UInt(value) => match i64::try_from(*value.inner()) {
                Ok(value) => Ok(constant(value)),
                Err(_) => {
                    self.refuse(node, "the number is too large; the largest is 9223372036854775807")
                }
            },
            LiteralValue::String(text) => Ok(Code::Text(TextCode::Literal(text.inner().into()))),
            LiteralValue::Double(_) => {
                self.refuse(node, "no field holds a fraction; write a whole number")
            }
            LiteralValue::Bytes(_) | LiteralValue::Null => {
                self.refuse(node, "bytes and null are not supported")
            }
        }
    }

    fn call(&self, node: &IdedExpr, call: &CallExpr) -> Typed {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            return self.method(node, name, target, &call.args);
        }
        match (name, call.args.as_slice()) {
            (operators::IN, [item, list]) => self.within(node, item, list),
            ("size", [of]) => self.size(of),
            (operators::LOGICAL_NOT, [of]) => match self.code(of)? {
                Code::Bool(code) => Ok(boolean(move |it| Ok(!code(it)?))),
                other => self.refuse(
                    of,
                    format!("`!` takes a bool and this is of type {}", other.type_name()),
                ),
            },
            (operators::NEGATE, [of]) => match self.code(of)? {
                Code::Int(code) => {
                    Ok(arithmetic(Box::new(|_| Ok(0)), code, i64::checked_sub, false))
                }
                other => self.refuse(
                    of,
                    format!("`-` takes an int and this is of type {}", other.type_name()),
                ),
            },
            (_, [left, right]) => self.binary(node, name, left, right),
            _ => self.refuse(node, format!("`{}` is not supported; {SUPPORTED}", spelled(name))),
        }
    }

    fn binary(&self, node: &IdedExpr, name: &str, left: &IdedExpr, right: &IdedExpr) -> Typed {
        let holds: Option<fn(Ordering) -> bool> = match name {
            operators::EQUALS => Some(Ordering::is_eq),
            operators::NOT_EQUALS => Some(Ordering::is_ne),
            operators::LESS => Some(Ordering::is_lt),
            operators::LESS_EQUALS => Some(Ordering::is_le),
            operators::GREATER => Some(Ordering::is_gt),
            operators::GREATER_EQUALS => Some(Ordering::is_ge),
            _ => None,
        };
        let calculation: Option<fn(i64, i64) -> Option<i64>> = match name {
            operators::ADD => Some(i64::checked_add),
            operators::SUBSTRACT => Some(i64::checked_sub),
            operators::MULTIPLY => Some(i64::checked_mul),
            operators::DIVIDE => Some(i64::checked_div),
            operators::MODULO => Some(i64::checked_rem),
            _ => None,
        };
        let logical = matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR);
        if holds.is_none() && calculation.is_none() && !logical {
            return self.refuse(node, format!("`{}` is not supported; {SUPPORTED}", spelled(name)));
        }
        let (left, right) = match (self.code(left)?, self.code(right)?, holds, calculation) {
            (left, right, Some(holds), _) => match compare(left, right, holds) {
                Ok(code) => return Ok(code),
                Err(operands) => operands,
            },
            (Code::Int(left), Code::Int(right), _, Some(calculation)) => {
                let divides = matches!(name, operators::DIVIDE | operators::MODULO);
                return Ok(arithmetic(left, right, calculation, divides));
            }
            (Code::Text(left), Code::Text(right), ..) if name == operators::ADD => {
                return Ok(Code::Text(TextCode::Concatenation(Box::new((left, right)))));
            }
            (Code::Bool(left), Code::Bool(right), None, None) => {
                return Ok(either(left, right, name == operators::LOGICAL_OR));
            }
            (left, right, ..) => (left, right),
        };
        let (left, right) = (left.type_name(), right.type_name());
        self.refuse(node, format!("`{}` does not take {left} and {right}", spelled(name)))
    }

    fn method(&self, node: &IdedExpr, name: &str, target: &IdedExpr, args: &[IdedExpr]) -> Typed {
        let test: fn(&str, &str) -> bool = match (name, args.len()) {
            ("size", 0) => return self.size(target),
            ("contains", 1) => |text, part| text.contains(part),
            ("startsWith", 1) => |text, part| text.starts_with(part),
            ("endsWith", 1) => |text, part| text.ends_with(part),
            _ => {
                return self.refuse(
                    node,
                    format!("`{name}` with {} arguments is not supported; {SUPPORTED}", args.len()),
                );
            }
        };
        match (self.code(target)?, self.code(&args[0])?) {
            (Code::Text(text), Code::Text(part)) => {
                Ok(boolean(move |it| Ok(test(&text.get(it), &part.get(it)))))
            }
            (text, part) => {
                let (text, part) = (text.type_name(), part.type_name());
                self.refuse(
                    node,
                    format!("`{name}` takes two strings and is given {text} and {part}"),
                )
            }
        }
    }

    /// The characters of a text, the items of a list.
    fn size(&self, of: &IdedExpr) -> Typed {
        match self.code(of)? {
            Code::Text(text) => Ok(int(move |it| Ok(text.get(it).chars().count() as i64))),
            Code::Texts(list) => Ok(int(move |it| Ok(list(it).len() as i64))),
            other => self.refuse(
                of,
                format!(
                    "`size` takes a string or a list and this is of type {}",
                    other.type_name()
                ),
            ),
        }
    }

    fn within(&self, node: &IdedExpr, item: &IdedExpr, list: &IdedExpr) -> Typed {
        let item = self.code(item)?;
        if let Expr::List(literal) = &list.expr {
            return self.within_literal(item, &literal.elements);
        }
        match (item, self.code(list)?) {
            (Code::Text(text), Code::Texts(list)) => Ok(boolean(move |it| {
                let text = text.get(it);
                Ok(list(it).iter().any(|other| **other == *text))
            })),
            (item, list) => {
                let (item, list) = (item.type_name(), list.type_name());
                self.refuse(
                    node,
                    format!("`in` takes a value and a list and is given {item} and {list}"),
                )
            }
        }
    }

    fn within_literal(&self, item: Code, elements: &[IdedExpr]) -> Typed {
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for element in elements {
            match (&item, &element.expr) {
                (Code::Text(_), Expr::Literal(LiteralValue::String(text))) => {
                    texts.push(Box::<str>::from(text.inner()))
                }
                (Code::Int(_), Expr::Literal(LiteralValue::Int(number))) => {
                    numbers.push(*number.inner())
                }
                _ => {
                    let wanted = item.type_name();
                    return self.refuse(element, format!("the list is compared with a value of type {wanted} and must hold such literals"));
                }
            }
        }
        match item {
            Code::Text(text) => Ok(boolean(move |it| {
                let text = text.get(it);
                Ok(texts.iter().any(|other| **other == *text))
            })),
            Code::Int(number) => Ok(boolean(move |it| Ok(numbers.contains(&number(it)?)))),
            _ => Ok(boolean(|_| Ok(false))), // an empty list: whatever holds any element is refused above
        }
    }

    fn refuse<T>(&self, node: &IdedExpr, message: impl Into<String>) -> Result<T, PredicateError> {
        let offset = self.positions.offset_for(node.id).map_or(0, |(start, _)| start as usize);
        Err(PredicateError { message: message.into(), offset })
    }
}

const SUPPORTED: &str =
    "there are == != < <= > >= && || ! + - * / %, in, size, contains, startsWith and endsWith";

fn constant(value: i64) -> Code {
    int(move |_| Ok(value))
}

#[cold]
fn mistyped<T>(found: &Scalar) -> T {
    panic!("a row holds a {} where its schema says otherwise", found.field_type())
}

/// An operator as people write it.
fn spelled(name: &str) -> &str {
    name.trim_matches(['_', '@'])
}
