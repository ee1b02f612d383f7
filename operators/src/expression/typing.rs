//! From the syntax tree to code: every node gets a type, or the expression is refused at its place.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators};
use imflow_kind::Shape;
use imflow_kind::fields::{Slot, row_slot};
use imflow_proto::record::{FieldType, Scalar};

use super::aggregates::{AGGREGATES, Aggregates};
use super::code::{Code, ListCode, TextCode, boolean, double, int, mistyped};
use super::{ExpressionError, functions, hints, lists, no_field};

/// What names mean while one expression is compiled.
#[derive(Clone, Copy)]
pub(super) struct Typing<'a> {
    shape: &'a Shape,
    source: &'a str,
    positions: &'a SourceInfo,
    /// The variable of the `exists` or `all` that surrounds the place.
    variable: Option<&'a str>,
    /// Where `count()`, `sum(x)` and the like go, if the expression may have them.
    aggregates: Option<&'a Aggregates<'a>>,
}

pub(super) type Typed = Result<Code, ExpressionError>;

impl<'a> Typing<'a> {
    pub(super) fn new(shape: &'a Shape, source: &'a str, positions: &'a SourceInfo) -> Self {
        Self { shape, source, positions, variable: None, aggregates: None }
    }

    /// The same, for expressions over what groups add up to.
    pub(super) fn aggregating(self, aggregates: &'a Aggregates<'a>) -> Self {
        Self { aggregates: Some(aggregates), ..self }
    }

    /// The same for the predicate of a loop over texts.
    pub(super) fn binding<'b>(&'b self, variable: &'b str) -> Typing<'b> {
        Typing { variable: Some(variable), ..*self }
    }

    pub(super) fn is_inside_loop(&self) -> bool {
        self.variable.is_some()
    }

    /// The same for what stands inside an aggregate: the records themselves.
    pub(super) fn inside_aggregate(self, input: &'a Shape) -> Self {
        Self { shape: input, aggregates: None, ..self }
    }

    /// The aggregates that may be called here.
    pub(super) fn aggregate_names(&self) -> &'static [&'static str] {
        if self.aggregates.is_some() { &AGGREGATES } else { &[] }
    }

    pub(super) fn code(&self, node: &IdedExpr) -> Typed {
        match &node.expr {
            Expr::Ident(name) => self.name(node, name),
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => lists::literal(self, &list.elements),
            Expr::Comprehension(comprehension) => lists::quantifier(self, node, comprehension),
            Expr::Select(select) => self.select(node, select),
            Expr::Map(_) | Expr::Struct(_) => {
                self.refuse(node, "maps and messages are not supported")
            }
            Expr::Unspecified => self.refuse(node, "an expression is missing here"),
        }
    }

    fn name(&self, node: &IdedExpr, name: &str) -> Typed {
        if self.variable == Some(name) {
            return Ok(Code::Text(TextCode::Item));
        }
        match self.shape.field(name) {
            Some(Slot::Bool(field)) => Ok(boolean(move |it| Ok(field(it.record)))),
            Some(Slot::Int(field)) => Ok(int(move |it| Ok(field(it.record)))),
            Some(Slot::String(field)) => Ok(Code::Text(TextCode::Field(field))),
            Some(Slot::Strings(field)) => Ok(Code::List(ListCode::Field(field))),
            Some(Slot::Row(slot, kind)) => Ok(slot_code(slot, kind)),
            None => {
                let hint = self.aggregates.and_then(|aggregates| aggregates.hint(name));
                let (message, help) = hint.unwrap_or_else(|| no_field(self.shape, name));
                self.refuse_with(node, message, help)
            }
        }
    }

    /// `of.name`, which no type has.
    fn select(&self, node: &IdedExpr, select: &SelectExpr) -> Typed {
        let name = select.field.as_str();
        let message =
            format!("`.{name}` is no field: the fields of a record have no fields of their own");
        match hints::meant(name) {
            _ if self.shape.field(name).is_some() => {
                self.refuse_with(node, message, format!("write `{name}` alone"))
            }
            Some(hint) => self.refuse_with(node, message, hint.to_owned()),
            None => self.refuse(node, message),
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
            LiteralValue::Double(value) => {
                let value = *value.inner();
                Ok(double(move |_| Ok(value)))
            }
            LiteralValue::String(text) => Ok(Code::Text(TextCode::Literal(text.inner().into()))),
            LiteralValue::Bytes(_) | LiteralValue::Null => {
                self.refuse(node, "bytes and null are not supported")
            }
        }
    }

    fn call(&self, node: &IdedExpr, call: &CallExpr) -> Typed {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            return functions::method(self, node, name, target, &call.args);
        }
        if let Some(aggregates) = self.aggregates
            && let Some(code) = aggregates.call(self, node, call)
        {
            return code;
        }
        match (name, call.args.as_slice()) {
            (operators::IN, [item, list]) => lists::within(self, node, item, list),
            (operators::INDEX, [list, index]) => lists::index(self, node, list, index),
            (operators::LOGICAL_NOT, [of]) => self.not(of),
            (operators::NEGATE, [of]) => self.negated(of),
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                self.choice(node, condition, then, otherwise)
            }
            (_, [left, right]) if is_operator(name) => self.binary(node, name, left, right),
            (_, args) => functions::function(self, node, name, args),
        }
    }

    /// A literal text, where nothing else will do.
    pub(super) fn literal_text<'n>(&self, node: &'n IdedExpr) -> Option<&'n str> {
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
            _ => None,
        }
    }

    pub(super) fn refuse<T>(
        &self,
        node: &IdedExpr,
        message: impl Into<String>,
    ) -> Result<T, ExpressionError> {
        let range = hints::token_at(self.source, self.place(node));
        Err(ExpressionError { message: message.into(), help: None, range })
    }

    /// The same, and what to do about it.
    pub(super) fn refuse_with<T>(
        &self,
        node: &IdedExpr,
        message: String,
        help: String,
    ) -> Result<T, ExpressionError> {
        let refused = self.refuse(node, message);
        refused.map_err(|error| ExpressionError { help: Some(help), ..error })
    }

    /// Where a node stands; a call, whose place is its parenthesis, at its name.
    fn place(&self, node: &IdedExpr) -> usize {
        let start = self.positions.offset_for(node.id).map_or(0, |(start, _)| start as usize);
        match (&node.expr, self.source.get(..start)) {
            (Expr::Call(call), Some(before)) if before.ends_with(&call.func_name) => {
                start - call.func_name.len()
            }
            _ => start,
        }
    }
}

fn is_operator(name: &str) -> bool {
    name.starts_with('_') && name.ends_with('_')
}

/// The value in a slot of a row.
pub(super) fn slot_code(slot: usize, kind: FieldType) -> Code {
    match kind {
        FieldType::Bool => boolean(move |it| match row_slot(it.record, slot) {
            Scalar::Bool(value) => Ok(*value),
            other => mistyped(other),
        }),
        FieldType::Int => int(move |it| match row_slot(it.record, slot) {
            Scalar::Int(value) => Ok(*value),
            other => mistyped(other),
        }),
        FieldType::Double => double(move |it| match row_slot(it.record, slot) {
            Scalar::Double(value) => Ok(*value),
            other => mistyped(other),
        }),
        FieldType::String => Code::Text(TextCode::Slot(slot)),
        FieldType::Strings => Code::List(ListCode::Slot(slot)),
    }
}

pub(super) fn constant(value: i64) -> Code {
    int(move |_| Ok(value))
}
