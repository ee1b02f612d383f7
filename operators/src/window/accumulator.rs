//! What one aggregate of one group has come to. Parts made apart merge into what one would have come to.

use imflow_proto::record::{FieldType, Scalar};
use sketches_ddsketch::{Config, DDSketch};

use super::distinct::Distinct;
use super::top::Top;
use crate::expression::{Aggregate, AggregateCall, Fault};
use crate::hash::hash_of;

/// The relative error of a quantile.
const QUANTILE_ERROR: f64 = 0.01;
/// With this error they reach over seventeen orders of magnitude.
const QUANTILE_BINS: u32 = 2_048;
const QUANTILE_LEAST: f64 = 1e-9;

#[derive(Clone)]
pub(super) enum Accumulator {
    Count(i64),
    /// Wide enough for any number of ints.
    Ints(i128),
    Doubles(f64),
    Average {
        sum: f64,
        count: u64,
    },
    Least(Option<Scalar>),
    Greatest(Option<Scalar>),
    Quantile(Box<DDSketch>, f64),
    Distinct(Distinct),
    Top(Top),
}

impl Accumulator {
    pub(super) fn new(call: &AggregateCall) -> Self {
        match (call.function, call.of) {
            (Aggregate::Count | Aggregate::CountIf, _) => Self::Count(0),
            (Aggregate::Sum, FieldType::Int) => Self::Ints(0),
            (Aggregate::Sum, _) => Self::Doubles(0.0),
            (Aggregate::Avg, _) => Self::Average { sum: 0.0, count: 0 },
            (Aggregate::Min, _) => Self::Least(None),
            (Aggregate::Max, _) => Self::Greatest(None),
            (Aggregate::Quantile(share), _) => {
                let config = Config::new(QUANTILE_ERROR, QUANTILE_BINS, QUANTILE_LEAST);
                Self::Quantile(Box::new(DDSketch::new(config)), share)
            }
            (Aggregate::Distinct, _) => Self::Distinct(Distinct::default()),
            (Aggregate::Top(count), _) => Self::Top(Top::new(count)),
        }
    }

    /// Takes the argument of one record; `count()` has none.
    pub(super) fn add(&mut self, argument: Option<Scalar>) {
        match (self, argument) {
            (Self::Count(count), None | Some(Scalar::Bool(true))) => *count += 1,
            (Self::Count(_), Some(_)) => {}
            (Self::Ints(sum), Some(Scalar::Int(value))) => *sum += i128::from(value),
            (Self::Distinct(distinct), Some(value)) => distinct.add(hash_of(&value)),
            (Self::Top(top), Some(Scalar::String(value))) => top.add(&value, 1),
            (Self::Least(least), Some(value)) => replace(least, value, std::cmp::Ordering::Less),
            (Self::Greatest(greatest), Some(value)) => {
                replace(greatest, value, std::cmp::Ordering::Greater);
            }
            (number, Some(Scalar::Int(value))) => number.add_number(value as f64),
            (number, Some(Scalar::Double(value))) => number.add_number(value),
            (_, other) => unreachable!("the checker has seen the types: {other:?}"),
        }
    }

    fn add_number(&mut self, value: f64) {
        match self {
            Self::Doubles(sum) => *sum += value,
            Self::Average { sum, count } => (*sum, *count) = (*sum + value, *count + 1),
            // What is no number has no place in an order.
            Self::Quantile(sketch, _) if value.is_finite() => sketch.add(value),
            _ => {}
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(mine), Self::Count(others)) => *mine += others,
            (Self::Ints(mine), Self::Ints(others)) => *mine += others,
            (Self::Doubles(mine), Self::Doubles(others)) => *mine += others,
            (Self::Average { sum, count }, Self::Average { sum: sums, count: counts }) => {
                (*sum, *count) = (*sum + sums, *count + counts);
            }
            (Self::Least(mine), Self::Least(Some(other))) => {
                replace(mine, other.clone(), std::cmp::Ordering::Less);
            }
            (Self::Greatest(mine), Self::Greatest(Some(other))) => {
                replace(mine, other.clone(), std::cmp::Ordering::Greater);
            }
            (Self::Quantile(mine, _), Self::Quantile(other, _)) => {
                mine.merge(other).expect("all sketches are made alike");
            }
            (Self::Distinct(mine), Self::Distinct(other)) => mine.merge(other),
            (Self::Top(mine), Self::Top(other)) => mine.merge(other),
            (Self::Least(_) | Self::Greatest(_), _) => {}
            _ => unreachable!("parts of a node are made of the same aggregates"),
        }
    }

    /// The result, of a group that has at least one record.
    pub(super) fn value(&self) -> Result<Scalar, Fault> {
        Ok(match self {
            Self::Count(count) => Scalar::Int(*count),
            Self::Ints(sum) => Scalar::Int(i64::try_from(*sum).map_err(|_| Fault::Overflow)?),
            Self::Doubles(sum) => Scalar::Double(*sum),
            Self::Average { sum, count } => Scalar::Double(sum / *count as f64),
            Self::Least(value) | Self::Greatest(value) => {
                value.clone().expect("a group has at least one record")
            }
            Self::Quantile(sketch, share) => {
                let value = sketch.quantile(*share).expect("the checker has seen the share");
                Scalar::Double(value.ok_or(Fault::NotANumber)?)
            }
            Self::Distinct(distinct) => Scalar::Int(distinct.count()),
            Self::Top(top) => top.values(),
        })
    }
}

fn replace(best: &mut Option<Scalar>, value: Scalar, better: std::cmp::Ordering) {
    let order = best.as_ref().map(|best| match (&value, best) {
        (Scalar::Int(value), Scalar::Int(best)) => value.cmp(best),
        (Scalar::Double(value), Scalar::Double(best)) => value.total_cmp(best),
        (Scalar::String(value), Scalar::String(best)) => value.cmp(best),
        (value, _) => unreachable!("the checker lets no {} through", value.field_type()),
    });
    if order.is_none_or(|order| order == better) {
        *best = Some(value);
    }
}
