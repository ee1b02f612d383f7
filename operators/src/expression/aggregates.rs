//! Expressions over groups: `count()`, `sum(bytes) / count()`, `p99(costMs)`.
//!
//! An aggregate is taken out of its expression and becomes a further slot of the group's row; the rest of
//! the expression is compiled over that row like any other.

use std::cell::RefCell;
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue};
use imflow_kind::{Mistake, Shape};
use imflow_proto::record::FieldType;

use super::syntax::parse;
use super::typing::{Typed, Typing, slot_code};
use super::{Expression, ExpressionError};

/// What a group is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aggregate {
    Count,
    /// Records for which the argument is true.
    CountIf,
    Sum,
    Avg,
    Min,
    Max,
    /// The value below which this share of the values lies.
    Quantile(f64),
    Distinct,
    /// The so many most frequent values.
    Top(usize),
}

/// One aggregate of a selection.
pub(crate) struct AggregateCall {
    pub function: Aggregate,
    pub argument: Option<Expression>,
    /// The type of the argument.
    pub of: FieldType,
}

/// The names, for messages.
pub(super) const AGGREGATES: [&str; 12] = [
    "count", "sum", "avg", "min", "max", "p50", "p90", "p95", "p99", "quantile", "distinct", "top",
];

/// The most values that `top` names.
const LONGEST_TOP: i64 = 100;

/// What each group of a node gives: named expressions over its fields and aggregates.
pub(crate) struct Selection {
    /// In the order of their slots, which follow those of the group's own fields.
    pub calls: Vec<AggregateCall>,
    pub fields: Vec<(Arc<str>, Expression)>,
}

impl Selection {
    /// Compiles the entries of `option`: over the fields of `group`, and inside aggregates over those of
    /// `input`.
    ///
    /// # Errors
    /// The first mistake of each entry.
    pub(crate) fn compile(
        option: &'static str,
        entries: &[(String, String)],
        group: &Shape,
        input: &Shape,
    ) -> Result<Self, Vec<Mistake>> {
        let first_slot = group.fields().len();
        let aggregates = Aggregates { input, first_slot, found: RefCell::default() };
        let (mut fields, mut mistakes) = (Vec::new(), Vec::new());
        for (name, source) in entries {
            match aggregates.compile(group, source) {
                Ok(code) => fields.push((name.as_str().into(), code)),
                Err(error) => mistakes.push(error.within(option, name)),
            }
        }
        let calls = aggregates.found.into_inner();
        if mistakes.is_empty() { Ok(Self { calls, fields }) } else { Err(mistakes) }
    }
}

/// The aggregates found so far.
pub(super) struct Aggregates<'a> {
    input: &'a Shape,
    first_slot: usize,
    found: RefCell<Vec<AggregateCall>>,
}

impl Aggregates<'_> {
    fn compile(&self, group: &Shape, source: &str) -> Result<Expression, ExpressionError> {
        let (tree, positions) = parse(source)?;
        Typing::new(group, source, &positions).aggregating(self).code(&tree).map(Expression)
    }

    /// What to do with a field of the records that is none of the groups.
    pub(super) fn hint(&self, name: &str) -> Option<(String, String)> {
        self.input.field(name)?;
        let help = format!("write an aggregate such as `max({name})`, or name it in `by`");
        Some((format!("`{name}` differs inside a group"), help))
    }

    /// The code for a call, if it is one of an aggregate.
    pub(super) fn call(
        &self,
        typing: &Typing<'_>,
        node: &IdedExpr,
        call: &CallExpr,
    ) -> Option<Typed> {
        let (function, argument) = match (call.func_name.as_str(), call.args.as_slice()) {
            ("count", []) => (Aggregate::Count, None),
            ("count", [of]) => (Aggregate::CountIf, Some(of)),
            ("sum", [of]) => (Aggregate::Sum, Some(of)),
            ("avg", [of]) => (Aggregate::Avg, Some(of)),
            ("min", [of]) => (Aggregate::Min, Some(of)),
            ("max", [of]) => (Aggregate::Max, Some(of)),
            ("p50", [of]) => (Aggregate::Quantile(0.5), Some(of)),
            ("p90", [of]) => (Aggregate::Quantile(0.9), Some(of)),
            ("p95", [of]) => (Aggregate::Quantile(0.95), Some(of)),
            ("p99", [of]) => (Aggregate::Quantile(0.99), Some(of)),
            ("distinct", [of]) => (Aggregate::Distinct, Some(of)),
            ("quantile", [of, share]) => match literal_share(share) {
                Some(share) => (Aggregate::Quantile(share), Some(of)),
                None => return Some(typing.refuse(share, "a share is a literal from 0.0 to 1.0")),
            },
            ("top", [of, count]) => match literal_count(count) {
                Some(count) => (Aggregate::Top(count), Some(of)),
                None => {
                    let message = format!("how many is a literal from 1 to {LONGEST_TOP}");
                    return Some(typing.refuse(count, message));
                }
            },
            _ => return None,
        };
        Some(self.take(typing, node, function, argument))
    }

    /// Gives the aggregate a slot.
    fn take(
        &self,
        typing: &Typing<'_>,
        node: &IdedExpr,
        function: Aggregate,
        argument: Option<&IdedExpr>,
    ) -> Typed {
        let inside = typing.inside_aggregate(self.input);
        let argument = argument.map(|of| inside.code(of).map(Expression)).transpose()?;
        let of = argument.as_ref().map_or(FieldType::Int, Expression::field_type);
        let result = match function.result(of) {
            Ok(result) => result,
            Err(expected) => {
                return typing.refuse(node, format!("this takes {expected} and is given a {of}"));
            }
        };
        let mut found = self.found.borrow_mut();
        let slot = self.first_slot + found.len();
        found.push(AggregateCall { function, argument, of });
        Ok(slot_code(slot, result))
    }
}

impl Aggregate {
    /// The type of the result for an argument of this type, or what is expected instead.
    fn result(self, of: FieldType) -> Result<FieldType, &'static str> {
        use FieldType::{Bool, Double, Int, String, Strings};
        match (self, of) {
            (Self::Count, _) | (Self::CountIf, Bool) => Ok(Int),
            (Self::CountIf, _) => Err("nothing or a bool"),
            (Self::Sum, Int | Double) => Ok(of),
            (Self::Avg | Self::Quantile(_), Int | Double) => Ok(Double),
            (Self::Sum | Self::Avg | Self::Quantile(_), _) => Err("a number"),
            (Self::Min | Self::Max, Int | Double | String) => Ok(of),
            (Self::Min | Self::Max, _) => Err("a number or a string"),
            (Self::Distinct, Int | Double | String | Bool) => Ok(Int),
            (Self::Distinct, Strings) => Err("a single value"),
            (Self::Top(_), String) => Ok(Strings),
            (Self::Top(_), _) => Err("a string; write string(x) to make one"),
        }
    }
}

fn literal_share(node: &IdedExpr) -> Option<f64> {
    let share = match &node.expr {
        Expr::Literal(LiteralValue::Double(share)) => *share.inner(),
        Expr::Literal(LiteralValue::Int(share)) => *share.inner() as f64,
        _ => return None,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

fn literal_count(node: &IdedExpr) -> Option<usize> {
    let Expr::Literal(LiteralValue::Int(count)) = &node.expr else { return None };
    let count = *count.inner();
    (1..=LONGEST_TOP).contains(&count).then_some(count as usize)
}
