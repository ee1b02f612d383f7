//! Windows into rows.

use std::sync::Arc;

use imflow_kind::{Shape, Time};
use imflow_proto::Record;
use imflow_proto::record::{FieldType, Row, Scalar, Schema};

use super::panes::Group;
use super::spans::Closed;
use crate::errors::Errors;
use crate::expression::{Expression, Fault};
use crate::groups::By;

/// The fields of a group's row that `select` can name beside those of `by`.
const TIMES: [&str; 2] = ["windowStart", "windowEnd"];

/// The fields that expressions of `select` see outside of aggregates. Aggregates follow them.
pub(super) fn group_shape(by: &By) -> Shape {
    Shape::rows(by.schema().chain(TIMES.map(|name| (name.into(), FieldType::Int))))
}

/// What leaves: the times, the group, what was selected.
pub(super) fn row_schema(by: &By, fields: &[(Arc<str>, Expression)]) -> Schema {
    let times = TIMES.map(|name| (name.into(), FieldType::Int)).into_iter();
    let selected = fields.iter().map(|(name, field)| (Arc::clone(name), field.field_type()));
    Schema { fields: times.chain(by.schema()).chain(selected).collect() }
}

/// Makes the rows of windows.
pub(super) struct Rows {
    pub schema: Arc<Schema>,
    pub fields: Vec<(Arc<str>, Expression)>,
    pub limit: usize,
    pub errors: Errors,
}

impl Rows {
    /// The rows of a window, by group, and its errors.
    pub(super) fn of(
        &self,
        now: Time,
        window: Closed,
        rows: &mut Vec<Record>,
        errors: &mut Vec<Record>,
    ) {
        let Closed { start, end, groups, uncounted } = window;
        // Groups have an order of their own, the same in every run.
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (_, group) in groups {
            match self.row(start, end, &group) {
                Ok(row) => rows.push(row),
                Err((option, fault, row)) => {
                    errors.push(self.errors.of_record(now, &option, fault, &row));
                }
            }
        }
        if uncounted > 0 {
            let message = format!(
                "the window that ends at {end} has more than {} groups; what belongs to others was not counted",
                self.limit
            );
            errors.push(self.errors.of_node(now, "groups", message));
        }
    }

    fn row(&self, start: u64, end: u64, group: &Group) -> Result<Record, (String, Fault, Record)> {
        let times = [Scalar::Int(start as i64), Scalar::Int(end as i64)];
        let known = || times.iter().chain(&*group.values).cloned();
        let failed = |option: String, fault| {
            let fields = self.schema.fields.iter().take(TIMES.len() + group.values.len());
            let schema = Arc::new(Schema { fields: fields.cloned().collect() });
            let row = Row { schema, slots: known().collect(), retracted: false };
            (option, fault, Record::Row(Arc::new(row)))
        };
        let mut slots: Vec<Scalar> = group.values.iter().chain(&times).cloned().collect();
        for accumulator in &group.accumulators {
            slots.push(accumulator.value().map_err(|fault| failed("select".to_owned(), fault))?);
        }
        let row = Row { schema: Arc::clone(&self.schema), slots: slots.into(), retracted: false };
        let aggregated = Record::Row(Arc::new(row));
        let mut slots: Vec<Scalar> = known().collect();
        for (name, field) in &self.fields {
            let value = field.value(&aggregated);
            slots.push(value.map_err(|fault| failed(format!("select.{name}"), fault))?);
        }
        let (schema, slots) = (Arc::clone(&self.schema), slots.into());
        Ok(Record::Row(Arc::new(Row { schema, slots, retracted: false })))
    }
}
