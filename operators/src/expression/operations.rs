//! Operators between values: comparison, arithmetic, logic and choice.

use std::cmp::Ordering;

use cel::IdedExpr;
use cel::common::ast::operators;

use super::Fault;
use super::code::{Code, Compute, TextCode, boolean, double, int, text};
use super::typing::{Typed, Typing};

type Holds = fn(Option<Ordering>) -> bool;
type OfInts = fn(i64, i64) -> Option<i64>;
type OfDoubles = fn(f64, f64) -> f64;

/// An arithmetic operator.
#[derive(Clone, Copy)]
struct Arithmetic {
    ints: OfInts,
    /// CEL has no remainder of doubles.
    doubles: Option<OfDoubles>,
    divides: bool,
}

impl Typing<'_> {
    pub(super) fn not(&self, of: &IdedExpr) -> Typed {
        match self.code(of)? {
            Code::Bool(code) => Ok(boolean(move |it| Ok(!code(it)?))),
            other => self
                .refuse(of, format!("`!` takes a bool and this is of type {}", other.field_type())),
        }
    }

    pub(super) fn negated(&self, of: &IdedExpr) -> Typed {
        match self.code(of)? {
            Code::Int(code) => Ok(int(move |it| code(it)?.checked_neg().ok_or(Fault::Overflow))),
            Code::Double(code) => Ok(double(move |it| Ok(-code(it)?))),
            other => self.refuse(
                of,
                format!("`-` takes a number and this is of type {}", other.field_type()),
            ),
        }
    }

    pub(super) fn choice(
        &self,
        node: &IdedExpr,
        condition: &IdedExpr,
        then: &IdedExpr,
        otherwise: &IdedExpr,
    ) -> Typed {
        let test = match self.code(condition)? {
            Code::Bool(test) => test,
            other => {
                let found = other.field_type();
                return self.refuse(
                    condition,
                    format!("what stands before `?` must be a bool and is of type {found}"),
                );
            }
        };
        Ok(match (self.code(then)?, self.code(otherwise)?) {
            (Code::Bool(a), Code::Bool(b)) => {
                boolean(move |it| if test(it)? { a(it) } else { b(it) })
            }
            (Code::Int(a), Code::Int(b)) => int(move |it| if test(it)? { a(it) } else { b(it) }),
            (Code::Double(a), Code::Double(b)) => {
                double(move |it| if test(it)? { a(it) } else { b(it) })
            }
            (Code::Text(a), Code::Text(b)) => Code::Text(TextCode::Choice(Box::new((test, a, b)))),
            (a, b) => {
                let (a, b) = (a.field_type(), b.field_type());
                return self.refuse(node, format!("both sides of `:` must be of one type, and not a list; they are {a} and {b}"));
            }
        })
    }

    pub(super) fn binary(
        &self,
        node: &IdedExpr,
        name: &str,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Typed {
        let (left, right) = (self.code(left)?, self.code(right)?);
        let types = (left.field_type(), right.field_type());
        let code = if let Some(holds) = comparison(name) {
            compare(left, right, holds)
        } else if let Some(arithmetic) = arithmetic(name) {
            calculate(left, right, arithmetic, name == operators::ADD)
        } else if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR) {
            logic(left, right, name == operators::LOGICAL_OR)
        } else {
            return self.refuse(node, format!("`{}` is not supported", spelled(name)));
        };
        let Some(code) = code else {
            let hint = match types {
                (a, b) if a != b && is_number(a) && is_number(b) => {
                    Some("write `double(x)` or `int(x)` to convert one")
                }
                (a, b) if a != b && comparison(name).is_some() => {
                    Some("write `string(x)`, `int(x)` or `double(x)` to convert one")
                }
                _ => None,
            };
            let (left, right) = types;
            let message = format!("`{}` does not take {left} and {right}", spelled(name));
            return match hint {
                Some(hint) => self.refuse_with(node, message, hint.to_owned()),
                None => self.refuse(node, message),
            };
        };
        Ok(code)
    }
}

fn is_number(kind: imflow_proto::record::FieldType) -> bool {
    use imflow_proto::record::FieldType::{Double, Int};
    matches!(kind, Int | Double)
}

/// An operator as people write it.
fn spelled(name: &str) -> &str {
    name.trim_matches(['_', '@'])
}

fn comparison(name: &str) -> Option<Holds> {
    Some(match name {
        operators::EQUALS => |order| order == Some(Ordering::Equal),
        operators::NOT_EQUALS => |order| order != Some(Ordering::Equal),
        operators::LESS => |order| order == Some(Ordering::Less),
        operators::LESS_EQUALS => |order| order.is_some_and(Ordering::is_le),
        operators::GREATER => |order| order == Some(Ordering::Greater),
        operators::GREATER_EQUALS => |order| order.is_some_and(Ordering::is_ge),
        _ => return None,
    })
}

fn arithmetic(name: &str) -> Option<Arithmetic> {
    let (ints, doubles): (OfInts, Option<OfDoubles>) = match name {
        operators::ADD => (i64::checked_add, Some(|a, b| a + b)),
        operators::SUBSTRACT => (i64::checked_sub, Some(|a, b| a - b)),
        operators::MULTIPLY => (i64::checked_mul, Some(|a, b| a * b)),
        operators::DIVIDE => (i64::checked_div, Some(|a, b| a / b)),
        operators::MODULO => (i64::checked_rem, None),
        _ => return None,
    };
    let divides = matches!(name, operators::DIVIDE | operators::MODULO);
    Some(Arithmetic { ints, doubles, divides })
}

/// A comparison of two values of one type, or of two numbers.
fn compare(left: Code, right: Code, holds: Holds) -> Option<Code> {
    Some(match (left, right) {
        (Code::Bool(a), Code::Bool(b)) => boolean(move |it| Ok(holds(Some(a(it)?.cmp(&b(it)?))))),
        (Code::Int(a), Code::Int(b)) => boolean(move |it| Ok(holds(Some(a(it)?.cmp(&b(it)?))))),
        (Code::Double(a), Code::Double(b)) => {
            boolean(move |it| Ok(holds(a(it)?.partial_cmp(&b(it)?))))
        }
        (Code::Int(a), Code::Double(b)) => {
            boolean(move |it| Ok(holds((a(it)? as f64).partial_cmp(&b(it)?))))
        }
        (Code::Double(a), Code::Int(b)) => {
            boolean(move |it| Ok(holds(a(it)?.partial_cmp(&(b(it)? as f64)))))
        }
        (Code::Text(a), Code::Text(b)) => {
            boolean(move |it| Ok(holds(Some(a.get(it)?.cmp(&b.get(it)?)))))
        }
        _ => return None,
    })
}

/// `+ - * / %` of two ints or two doubles, and `+` of two texts.
fn calculate(left: Code, right: Code, by: Arithmetic, adds: bool) -> Option<Code> {
    Some(match (left, right, by.doubles) {
        (Code::Int(a), Code::Int(b), _) => int(move |it| {
            let (a, b) = (a(it)?, b(it)?);
            if by.divides && b == 0 {
                return Err(Fault::DivisionByZero);
            }
            (by.ints)(a, b).ok_or(Fault::Overflow)
        }),
        (Code::Double(a), Code::Double(b), Some(operation)) => {
            double(move |it| Ok(operation(a(it)?, b(it)?)))
        }
        (Code::Text(a), Code::Text(b), _) if adds => {
            text(move |it| Ok(a.get(it)?.into_owned() + &b.get(it)?))
        }
        _ => return None,
    })
}

fn logic(left: Code, right: Code, decisive: bool) -> Option<Code> {
    match (left, right) {
        (Code::Bool(left), Code::Bool(right)) => Some(either(left, right, decisive)),
        _ => None,
    }
}

/// `&&` (decisive: false) and `||` (decisive: true): the decisive side wins over a fault of the other.
fn either(left: Compute<bool>, right: Compute<bool>, decisive: bool) -> Code {
    boolean(move |it| match left(it) {
        Ok(value) if value == decisive => Ok(decisive),
        Ok(_) => right(it),
        Err(fault) => match right(it) {
            Ok(value) if value == decisive => Ok(decisive),
            _ => Err(fault),
        },
    })
}
