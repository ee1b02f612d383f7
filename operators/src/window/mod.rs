//! Sums up records in windows of time: tumbling, sliding, or sessions.
//!
//! ```text
//! records -> panes -> [partials, where the node is split] -> spans or sessions -> rows
//! ```
//!
//! A record belongs to the time of its epoch, so windows close alike live, in a replay and in virtual time.
//! State is bounded by the groups of the open windows. What the parts of a split node add up to is what
//! one part would have come to, given that their panes come within the grace.

mod accumulator;
mod distinct;
mod panes;
mod rows;
mod sessions;
mod spans;
#[cfg(test)]
mod tests;
mod top;

use std::collections::BTreeMap;
use std::sync::Arc;

use imflow_kind::{
    ANY, Description, Family, Inference, Key, Limit, Mistake, Operator, OperatorContext, Opt,
    OptType, Options, Out, Part, Port, Shape, State, Time,
};
use imflow_proto::record::{Partial, Schema};
use imflow_proto::{Record, RecordType};
use rapidhash::RapidHashMap;

use crate::errors::{self, ERRORS, Errors};
use crate::expression::Selection;
use crate::fields::at_text;
use crate::groups::{BY, By};
use crate::typed::{self, Typed, mistake};
use panes::{Pane, Panes};
use rows::Rows;
use sessions::Sessions;
use spans::{Closed, Spans};

const DAY: u64 = 86_400_000;
/// A sliding window is made of at most so many panes.
const MOST_PANES: u64 = 1_000;
/// Panes of a session are this much shorter than its gap.
const PANES_OF_A_GAP: u64 = 10;

/// any → `rows: Row`, `errors: Row`
///
/// Errors: an expression without a value, too many groups, a late part. Source: SPEC T2, T4.
pub const DESCRIPTION: Description = Description {
    name: "window",
    family: Family::Operator,
    summary: "sums up records in windows of time, in groups: count, sum, avg, quantiles, distinct, top",
    doc: "Windows: `every = \"1m\"` one after the other, begun at whole multiples; with `slide = \"10s\"` one ends \
          every ten seconds; `gap = \"5m\"` instead makes sessions, which end when a group has been silent for so \
          long (so a session's end tells that a conversation fell silent). A window without records makes no row.\n\n\
          `select` names fields and what they hold: `count()`, `count(predicate)`, `sum(x)`, `avg(x)`, `min(x)`, \
          `max(x)`, `p50(x)`, `p90(x)`, `p95(x)`, `p99(x)`, `quantile(x, 0.75)` (within 1 % of the value), \
          `distinct(x)` (exact up to 512, then with a standard error of 1.6 %), `top(x, n)` (the n most frequent \
          values; exact up to 20 n different ones, at least 200), and anything that expressions make of these, of \
          the fields of `by`, and of `windowStart` and `windowEnd`: `double(sum(bytes)) / double(count())`.\n\n\
          A row holds `windowStart`, `windowEnd` (in milliseconds; a session ends one gap after its last record), \
          the fields of `by` and those of `select`. A record for which an expression has no value counts in no \
          aggregate and leaves as a row on `errors`. Rows that take back earlier ones are not counted.",
    key: Key::Grouped("by"),
    state: State::Volatile,
    inputs: &[Port::of("records", ANY, "records of any type")],
    outputs: &[
        Port::of("rows", &[RecordType::Row], "one row for each group of each window"),
        ERRORS,
    ],
    options: &[
        Opt::new("every", OptType::Duration(0, 7 * DAY), "0ms", "the length of a window")
            .also(&["size", "window", "width", "interval"])
            .shaping_state(),
        Opt::new(
            "slide",
            OptType::Duration(0, 7 * DAY),
            "0ms",
            "how often a window ends; default: `every`",
        )
        .shaping_state(),
        Opt::new("gap", OptType::Duration(0, 7 * DAY), "0ms", "the silence that ends a session")
            .shaping_state(),
        BY,
        Opt::required("select", OptType::Expressions, "fields, e.g. `{ messages = \"count()\" }`")
            .also(&["aggregates", "compute"])
            .shaping_state(),
        Opt::new("groups", OptType::Integer(1, 1_000_000), "10000", "the most groups of a window"),
        Opt::new(
            "grace",
            OptType::Duration(0, 60_000),
            "500ms",
            "how long to wait after a window's end for workers that have not told",
        )
        .also(&["group_by", "key"]),
    ],
    limits: &[
        Limit {
            what: "groups of a window",
            bound: "groups",
            policy: "records of further groups are not counted; a row on `errors` says so",
        },
        Limit { what: "errors of a pane", bound: "100", policy: "of more the number is told" },
    ],
    example: r#"[operators.fanout_rate]
kind = "window"
inputs = ["fanout.stats"]
every = "1s"
by = ["conversationType"]
select = { messages = "count()", recipients = "sum(recipients)", p99_ms = "p99(costMs)" }
"#,
    also: &["reduce", "aggregate", "tumble", "hop", "group_by"],
    ..Description::EMPTY
};

const ROWS: usize = 0;
const FAULTS: usize = 1;

/// How time is cut, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Spans { every: u64, slide: u64 },
    Sessions { gap: u64 },
}

impl Cut {
    fn of(options: &Options) -> Result<Self, Mistake> {
        let ms = |name| options.duration(name).as_millis() as u64;
        match (ms("every"), ms("slide"), ms("gap")) {
            (0, 0, 0) => Err(mistake(
                "every",
                "a window needs a length (`every`) or a silence that ends it (`gap`)",
            )),
            (0, 0, gap) => Ok(Self::Sessions { gap }),
            (_, _, 1..) => {
                Err(mistake("gap", "a session has no length: give `gap`, or `every` and `slide`"))
            }
            (0, _, _) => {
                Err(mistake("slide", "`slide` says how often a window ends; its length is `every`"))
            }
            (every, 0, 0) => Ok(Self::Spans { every, slide: every }),
            (every, slide, 0) if !every.is_multiple_of(slide) => Err(mistake(
                "slide",
                format!("{every} ms are no multiple of {slide} ms: `slide` must divide `every`"),
            )),
            (every, slide, 0) if every / slide > MOST_PANES => Err(mistake(
                "slide",
                format!("`every` is {} times as long; at most {MOST_PANES} times", every / slide),
            )),
            (every, slide, 0) => Ok(Self::Spans { every, slide }),
        }
    }

    /// The length of a pane.
    fn step(self) -> u64 {
        match self {
            Self::Spans { slide, .. } => slide,
            Self::Sessions { gap } => (gap / PANES_OF_A_GAP).max(1),
        }
    }
}

pub(crate) struct Window {
    cut: Cut,
    by: By,
    selection: Selection,
    schema: Arc<Schema>,
    limit: usize,
    grace_ms: u64,
}

impl Typed for Window {
    fn compile(node: &Inference<'_>) -> Result<Self, Vec<Mistake>> {
        let input = typed::input(node, 0)?;
        let cut = Cut::of(node.options).map_err(|mistake| vec![mistake]);
        let by = By::compile("by", input, node.options.texts("by"));
        let by = match (&cut, by) {
            (Ok(_), Ok(by)) => by,
            (cut, by) => {
                let both = [cut.as_ref().err().cloned(), by.err()];
                return Err(both.into_iter().flatten().flatten().collect());
            }
        };
        let group = rows::group_shape(&by);
        let entries = node.options.entries("select");
        let taken = entries.iter().filter(|(name, _)| group.field(name).is_some());
        let taken: Vec<_> = taken
            .map(|(name, _)| {
                at_text("select", name, format!("every row has a field `{name}` already"))
            })
            .collect();
        if !taken.is_empty() {
            return Err(taken);
        }
        if entries.is_empty() {
            return Err(vec![mistake(
                "select",
                "nothing is selected; e.g. `{ records = \"count()\" }`",
            )]);
        }
        let selection = Selection::compile("select", entries, &group, input)?;
        let schema = Arc::new(rows::row_schema(&by, &selection.fields));
        let limit = node.options.integer("groups") as usize;
        let grace_ms = node.options.duration("grace").as_millis() as u64;
        Ok(Self { cut: cut?, by, selection, schema, limit, grace_ms })
    }

    fn outputs(&self, _node: &Inference<'_>) -> Vec<Shape> {
        vec![Shape::Row(Arc::clone(&self.schema)), errors::shape()]
    }

    fn operator(self, context: &OperatorContext<'_>) -> Box<dyn Operator> {
        let (workers, grace_ms) = match context.part {
            Part::Merge => (context.workers, self.grace_ms),
            Part::Whole | Part::Local => (1, 0),
        };
        let windows = self.windows(workers, grace_ms);
        let Self { cut, by, selection, schema, limit, .. } = self;
        let Selection { calls, fields } = selection;
        let errors = || Errors::new(context.name);
        let panes = Panes::new(by, calls, cut.step(), limit, errors());
        let rows = Rows { schema, fields, limit, errors: errors() };
        match context.part {
            Part::Whole => Box::new(Whole { panes, windows, rows }),
            Part::Local => Box::new(Local { panes }),
            Part::Merge => Box::new(Merge { windows, rows }),
        }
    }
}

impl Window {
    fn windows(&self, workers: usize, grace_ms: u64) -> Windows {
        let (step_ms, limit) = (self.cut.step(), self.limit);
        match self.cut {
            Cut::Spans { every, .. } => Windows::Spans(Spans {
                every_ms: every,
                step_ms,
                workers,
                grace_ms,
                limit,
                arrived: BTreeMap::new(),
                left: 0,
            }),
            Cut::Sessions { gap } => Windows::Sessions(Sessions {
                gap_ms: gap,
                step_ms,
                grace_ms,
                limit,
                open: RapidHashMap::default(),
                due: BTreeMap::new(),
            }),
        }
    }
}

/// Panes into windows.
enum Windows {
    Spans(Spans),
    Sessions(Sessions),
}

impl Windows {
    /// Takes a pane; says what is wrong with it.
    fn take(&mut self, end: u64, pane: &Pane) -> Option<String> {
        match self {
            Self::Spans(spans) => (!spans.take(end, pane)).then(|| {
                format!("a worker's part of the window that ended at {end} came after the window had left; raise `grace`")
            }),
            Self::Sessions(sessions) => match sessions.take(pane) {
                0 => None,
                groups => Some(format!("there are more than {} sessions; {groups} groups were not counted", sessions.limit)),
            },
        }
    }

    fn next_due(&self) -> Option<u64> {
        match self {
            Self::Spans(spans) => spans.next_due(),
            Self::Sessions(sessions) => sessions.next_due(),
        }
    }

    fn close(&mut self, now_ms: u64) -> Vec<Closed> {
        match self {
            Self::Spans(spans) => spans.close(now_ms),
            Self::Sessions(sessions) => sessions.close(now_ms),
        }
    }
}

/// Takes a pane and tells its errors.
fn take(now: Time, end: u64, pane: &Pane, windows: &mut Windows, rows: &Rows, out: &mut Out) {
    out.port(FAULTS).extend(pane.errors.iter().cloned());
    if pane.untold > 0 {
        let message = format!("{} more records had an expression without a value", pane.untold);
        out.send(FAULTS, rows.errors.of_node(now, "select", message));
    }
    if let Some(problem) = windows.take(end, pane) {
        out.send(FAULTS, rows.errors.of_node(now, "groups", problem));
    }
}

/// Sends the rows of the windows that are over.
fn leave(now: Time, windows: &mut Windows, rows: &Rows, out: &mut Out) {
    for window in windows.close(now.ms()) {
        let (mut made, mut failed) = (Vec::new(), Vec::new());
        rows.of(now, window, &mut made, &mut failed);
        out.port(ROWS).append(&mut made);
        out.port(FAULTS).append(&mut failed);
    }
}

fn earliest(times: [Option<u64>; 2]) -> Option<Time> {
    times.into_iter().flatten().min().map(Time::from_ms)
}

struct Whole {
    panes: Panes,
    windows: Windows,
    rows: Rows,
}

impl Operator for Whole {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, _out: &mut Out) {
        self.panes.add(now, records);
    }

    fn next_deadline(&self) -> Option<Time> {
        earliest([self.panes.next_end(), self.windows.next_due()])
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        for (end, pane) in self.panes.close(now.ms()) {
            take(now, end, &pane, &mut self.windows, &self.rows, out);
        }
        leave(now, &mut self.windows, &self.rows, out);
    }
}

struct Local {
    panes: Panes,
}

impl Operator for Local {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, _out: &mut Out) {
        self.panes.add(now, records);
    }

    fn next_deadline(&self) -> Option<Time> {
        earliest([self.panes.next_end(), None])
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        for part in self.panes.close(now.ms()) {
            out.send(0, Record::Partial(Partial(Arc::new(part))));
        }
    }
}

struct Merge {
    windows: Windows,
    rows: Rows,
}

impl Operator for Merge {
    fn on_batch(&mut self, now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let Record::Partial(partial) = &record else { crate::misrouted("window", &record) };
            match partial.0.downcast_ref::<(u64, Pane)>() {
                Some((end, pane)) => take(now, *end, pane, &mut self.windows, &self.rows, out),
                None => crate::misrouted("window", &record),
            }
        }
        leave(now, &mut self.windows, &self.rows, out);
    }

    fn next_deadline(&self) -> Option<Time> {
        earliest([self.windows.next_due(), None])
    }

    fn on_time(&mut self, now: Time, out: &mut Out) {
        leave(now, &mut self.windows, &self.rows, out);
    }
}
