//! Lists of strings: literals, `in`, `exists`, `all`, positions.

use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr, LiteralValue, operators};

use super::code::{Code, Input, ListCode, boolean, text};
use super::typing::{Typed, Typing};
use super::{ExpressionError, Fault};

/// `["a", "b"]`
pub(super) fn literal(typing: &Typing<'_>, elements: &[IdedExpr]) -> Typed {
    let item = |element: &IdedExpr| match typing.literal_text(element) {
        Some(text) => Ok(Arc::from(text)),
        None => {
            typing.refuse(element, "a list holds literal texts; numbers only on the right of `in`")
        }
    };
    let items: Vec<Arc<str>> = elements.iter().map(item).collect::<Result<_, _>>()?;
    Ok(Code::List(ListCode::Literal(items.into())))
}

/// `item in list`
pub(super) fn within(
    typing: &Typing<'_>,
    node: &IdedExpr,
    item: &IdedExpr,
    list: &IdedExpr,
) -> Typed {
    let item = typing.code(item)?;
    if let (Code::Int(_) | Code::Double(_), Expr::List(numbers)) = (&item, &list.expr) {
        return within_numbers(typing, item, &numbers.elements);
    }
    match (item, typing.code(list)?) {
        (Code::Text(text), Code::List(list)) => Ok(boolean(move |it| {
            let text = text.get(it)?;
            Ok(list.get(it)?.iter().any(|other| **other == *text))
        })),
        (item, list) => {
            let (item, list) = (item.field_type(), list.field_type());
            typing.refuse(node, format!("`in` takes a string and a list of strings, or a number and literal numbers, and is given {item} and {list}"))
        }
    }
}

fn within_numbers(typing: &Typing<'_>, item: Code, elements: &[IdedExpr]) -> Typed {
    match item {
        Code::Int(item) => {
            let numbers = elements.iter().map(|element| int_literal(typing, element));
            let numbers: Vec<i64> = numbers.collect::<Result<_, _>>()?;
            Ok(boolean(move |it| Ok(numbers.contains(&item(it)?))))
        }
        Code::Double(item) => {
            let numbers = elements.iter().map(|element| double_literal(typing, element));
            let numbers: Vec<f64> = numbers.collect::<Result<_, _>>()?;
            Ok(boolean(move |it| Ok(numbers.contains(&item(it)?))))
        }
        Code::Bool(_) | Code::Text(_) | Code::List(_) => {
            unreachable!("the caller asks for numbers")
        }
    }
}

fn int_literal(typing: &Typing<'_>, element: &IdedExpr) -> Result<i64, ExpressionError> {
    match &element.expr {
        Expr::Literal(LiteralValue::Int(number)) => Ok(*number.inner()),
        Expr::Call(call) if call.func_name == operators::NEGATE && call.args.len() == 1 => {
            int_literal(typing, &call.args[0]).map(i64::wrapping_neg)
        }
        _ => typing.refuse(element, "the list is compared with an int and must hold literal ints"),
    }
}

fn double_literal(typing: &Typing<'_>, element: &IdedExpr) -> Result<f64, ExpressionError> {
    match &element.expr {
        Expr::Literal(LiteralValue::Double(number)) => Ok(*number.inner()),
        Expr::Literal(LiteralValue::Int(number)) => Ok(*number.inner() as f64),
        Expr::Call(call) if call.func_name == operators::NEGATE && call.args.len() == 1 => {
            double_literal(typing, &call.args[0]).map(|number| -number)
        }
        _ => typing
            .refuse(element, "the list is compared with a double and must hold literal numbers"),
    }
}

/// `list[position]`
pub(super) fn index(
    typing: &Typing<'_>,
    node: &IdedExpr,
    list: &IdedExpr,
    position: &IdedExpr,
) -> Typed {
    match (typing.code(list)?, typing.code(position)?) {
        (Code::List(list), Code::Int(position)) => Ok(text(move |it| {
            let position = usize::try_from(position(it)?).map_err(|_| Fault::OutOfRange)?;
            let list = list.get(it)?;
            list.get(position).map(|item| item.to_string()).ok_or(Fault::OutOfRange)
        })),
        (list, position) => {
            let (list, position) = (list.field_type(), position.field_type());
            typing.refuse(
                node,
                format!(
                    "`[]` takes a list of strings and an int and is given {list} and {position}"
                ),
            )
        }
    }
}

/// `list.exists(item, predicate)` and `list.all(item, predicate)`, which the parser has turned into loops.
pub(super) fn quantifier(typing: &Typing<'_>, node: &IdedExpr, of: &ComprehensionExpr) -> Typed {
    let unsupported = "of the loops there are list.exists(x, ...) and list.all(x, ...)";
    let (Expr::Call(step), Expr::Literal(LiteralValue::Boolean(_)), None) =
        (&of.loop_step.expr, &of.accu_init.expr, &of.iter_var2)
    else {
        return typing.refuse(node, unsupported);
    };
    let decisive = match step.func_name.as_str() {
        operators::LOGICAL_OR => true,
        operators::LOGICAL_AND => false,
        _ => return typing.refuse(node, unsupported),
    };
    let [_, predicate] = step.args.as_slice() else { return typing.refuse(node, unsupported) };
    if typing.is_inside_loop() {
        return typing.refuse(node, "a loop cannot stand inside another");
    }
    let list = match typing.code(&of.iter_range)? {
        Code::List(list) => list,
        other => {
            let found = other.field_type();
            return typing.refuse(
                &of.iter_range,
                format!("a list of strings is expected here and this is of type {found}"),
            );
        }
    };
    match typing.binding(&of.iter_var).code(predicate)? {
        Code::Bool(test) => Ok(boolean(move |it| {
            let mut result = Ok(!decisive);
            for item in list.get(it)?.iter() {
                match test(&Input { record: it.record, item }) {
                    Ok(value) if value == decisive => return Ok(decisive),
                    Ok(_) => {}
                    // As between the sides of `&&` and `||`, what decides wins over a fault.
                    Err(fault) => result = result.and(Err(fault)),
                }
            }
            result
        })),
        other => {
            let found = other.field_type();
            typing.refuse(
                predicate,
                format!("the predicate of a loop must be a bool and is of type {found}"),
            )
        }
    }
}
