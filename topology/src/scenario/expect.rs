//! What a test expects: on a port or of a simulated node's outside, in a span of time.

use imflow_kind::{Outside, Shape};
use imflow_proto::RecordType;
use imflow_proto::record::FieldType;
use serde_json::Value;

use super::ground::{Ground, Side};
use super::pattern::Pattern;
use super::steps::read_actor;
use super::table::{Table, list, text, time, wrong_type};
use super::value::report_unfit;
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, did_you_mean, quoted};
use crate::document::{Item, Tree};
use crate::resolve::NodeId;

/// One expectation.
#[derive(Debug)]
pub(super) struct Expect {
    /// `file:line:column`.
    pub(super) place: String,
    /// As the file names it.
    pub(super) on: String,
    pub(super) view: View,
    pub(super) during: During,
    /// The last time that it speaks of.
    pub(super) latest_ms: u64,
    /// These come, in this order; others may come between them.
    pub(super) items: Vec<Pattern>,
    /// These are taken back, likewise.
    pub(super) retracted: Vec<Pattern>,
    /// So many come in all.
    pub(super) count: Option<Pattern>,
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum View {
    Port(NodeId, usize),
    Outside { node: NodeId, actor: String },
}

/// A span of time since the start of the test, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct During {
    pub(super) from_ms: u64,
    /// `None`: to the end of the test.
    pub(super) to_ms: Option<u64>,
}

impl During {
    const WHOLE: Self = Self { from_ms: 0, to_ms: None };

    pub(super) fn holds(self, at_ms: u64) -> bool {
        at_ms >= self.from_ms && self.to_ms.is_none_or(|to| at_ms <= to)
    }
}

/// Reads the expectations of a test.
pub(super) fn read(item: &Item, ground: &Ground<'_>, diagnostics: &mut Diagnostics) -> Vec<Expect> {
    let items = list(item, "`expect`", diagnostics).unwrap_or_default();
    items.iter().filter_map(|item| read_one(item, ground, diagnostics)).collect()
}

fn read_one(item: &Item, ground: &Ground<'_>, diagnostics: &mut Diagnostics) -> Option<Expect> {
    let mut table = Table::of("an expectation", item, diagnostics)?;
    let place = table.required("on", "\"NODE.PORT\"", diagnostics)?;
    let on = text(place, "`on`", diagnostics)?;
    let node = ground.plan.nodes.iter().position(|node| node.name == on);
    let outside = node.and_then(|node| Some((node, ground.outside(node)?)));
    // A bare name means the outside if what is expected is said in its words.
    let spoken = outside.filter(|(_, outside)| {
        let script = outside.script();
        table.get(script.sees).is_some() || (script.actor.is_some() && table.get("as").is_some())
    });
    let mut expect = Expect {
        place: diagnostics.sources.place(&item.span).to_string(),
        on: format!("`{on}`"),
        view: View::Port(0, 0),
        during: During::WHOLE,
        latest_ms: 0,
        items: Vec::new(),
        retracted: Vec::new(),
        count: None,
    };
    match spoken {
        Some((node, outside)) => {
            read_outside(&mut expect, node, &**outside, &mut table, diagnostics)?;
        }
        None => {
            let port = ground.port(on, Side::Outputs, &place.span, diagnostics)?;
            read_port(&mut expect, port, ground, place, &mut table, diagnostics)?;
        }
    }
    read_bounds(&mut expect, &mut table, diagnostics)?;
    table.refuse_others(diagnostics);
    Some(expect)
}

fn read_outside(
    expect: &mut Expect,
    node: NodeId,
    outside: &dyn Outside,
    table: &mut Table<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let script = outside.script();
    let actor = match script.actor {
        None => String::new(),
        Some(form) => read_actor(table, &form, diagnostics)?,
    };
    if !actor.is_empty() {
        expect.on = format!("{} as {actor}", expect.on);
    }
    expect.view = View::Outside { node, actor };
    let what = format!("`{}`", script.sees);
    let seen = table.get(script.sees).and_then(|item| list(item, &what, diagnostics));
    for item in seen.unwrap_or_default() {
        let pattern = Pattern::read(item, diagnostics);
        let skeleton = pattern.skeleton().unwrap_or_else(|| Value::Object(Default::default()));
        if let Err(sentence) = outside.check_seen(&skeleton.to_string()) {
            report_unfit(item, &sentence, diagnostics);
        }
        expect.items.push(pattern);
    }
    Some(())
}

fn read_port(
    expect: &mut Expect,
    (node, port): (NodeId, usize),
    ground: &Ground<'_>,
    place: &Item,
    table: &mut Table<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let Some(shape) = &ground.plan.outputs[node][port] else {
        let message = format!("{} carries nothing: its node has no input", expect.on);
        diagnostics.error(Code::UnknownPort, &place.span, message, "no record type");
        return None;
    };
    expect.view = View::Port(node, port);
    expect.items = read_records("records", shape, table, diagnostics);
    expect.retracted = read_records("retracted", shape, table, diagnostics);
    if let Some(retracted) = table.get("retracted")
        && !matches!(shape.record_type(), RecordType::Grant | RecordType::Online | RecordType::Row)
    {
        let message = format!("a {:?} is never taken back", shape.record_type());
        diagnostics
            .error(Code::NeverRetracted, &retracted.span, message, "cannot come")
            .help("only records of types Grant, Online and Row are retracted");
    }
    Some(())
}

fn read_records<'a>(
    key: &'a str,
    shape: &Shape,
    table: &mut Table<'a>,
    diagnostics: &mut Diagnostics,
) -> Vec<Pattern> {
    let what = format!("`{key}`");
    let items = table.get(key).and_then(|item| list(item, &what, diagnostics));
    let mut patterns = Vec::new();
    for item in items.unwrap_or_default() {
        check_fields(item, shape, diagnostics);
        patterns.push(Pattern::read(item, diagnostics));
    }
    patterns
}

fn check_fields(item: &Item, shape: &Shape, diagnostics: &mut Diagnostics) {
    let Tree::Table(entries) = &item.value else {
        if !matches!(&item.value, Tree::Text(text) if text == "*") {
            wrong_type(&item.span, "a record", "a table", &item.value, diagnostics);
        }
        return;
    };
    for (key, item) in entries {
        let Some(slot) = shape.field(&key.name) else {
            let known = || shape.fields().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            let help = did_you_mean(&key.name, known())
                .unwrap_or_else(|| format!("its fields are {}", quoted(known())));
            let message = format!("a {:?} has no field `{}`", shape.record_type(), key.name);
            diagnostics.error(Code::UnknownField, &key.span, message, "no such field").help(help);
            continue;
        };
        let kind = slot.field_type();
        let fits = match &item.value {
            Tree::Text(text) => text == "*" || kind == FieldType::String,
            Tree::Integer(_) => matches!(kind, FieldType::Int | FieldType::Double),
            Tree::Number(_) => kind == FieldType::Double,
            Tree::Bool(_) => kind == FieldType::Bool,
            Tree::List(_) => kind == FieldType::Strings,
            // A matcher, which is checked when it is read.
            Tree::Table(_) => true,
            Tree::Other(_) => false,
        };
        if !fits {
            let what = format!("the field `{}` of a {:?}", key.name, shape.record_type());
            wrong_type(&item.span, &what, &format!("of type {kind}"), &item.value, diagnostics);
        }
    }
}

/// When, and how many.
fn read_bounds(
    expect: &mut Expect,
    table: &mut Table<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<()> {
    let bounds = [("at", table.get("at")), ("within", table.get("within"))];
    let until = table.get("nothing_until");
    let given = bounds.iter().filter(|(_, item)| item.is_some()).count();
    if given + usize::from(until.is_some()) > 1 {
        let message = "more than one of `at`, `within` and `nothing_until`".to_owned();
        diagnostics.error(Code::BadValue, table.span, message, "expected at most one");
        return None;
    }
    if let Some(at) = bounds[0].1 {
        let at = time(at, "`at`", diagnostics)?;
        expect.during = During { from_ms: at, to_ms: Some(at) };
    }
    if let Some(within) = bounds[1].1 {
        expect.during = read_within(within, diagnostics)?;
    }
    expect.latest_ms = expect.during.to_ms.unwrap_or(0);
    expect.count = table.get("count").map(|item| Pattern::read(item, diagnostics));
    let says = expect.count.is_some() || !(expect.items.is_empty() && expect.retracted.is_empty());
    match until {
        Some(item) if says => {
            let message = "`nothing_until` and something that is expected".to_owned();
            diagnostics
                .error(Code::BadValue, &item.span, message, "nothing else may stand beside it")
                .help("expect what comes afterwards in an expectation of its own");
        }
        Some(item) => {
            // That instant itself may bring what was waited for.
            let until = time(item, "`nothing_until`", diagnostics)?;
            expect.during = During { from_ms: 0, to_ms: Some(until.saturating_sub(1)) };
            expect.latest_ms = until;
            expect.count = Some(Pattern::Equal(0.into()));
        }
        None if !says => {
            let what = match expect.view {
                View::Port(..) => "`records`, `retracted`, `count` or `nothing_until`",
                View::Outside { .. } => "what is seen, `count` or `nothing_until`",
            };
            let message = format!("nothing is expected on {}", expect.on);
            diagnostics.error(Code::MissingKey, table.span, message, format!("expected {what}"));
        }
        None => {}
    }
    Some(())
}

fn read_within(item: &Item, diagnostics: &mut Diagnostics) -> Option<During> {
    let ends = list(item, "`within`", diagnostics)?;
    let [from, to] = ends else {
        let message = format!("`within` has {} entries", ends.len());
        diagnostics.error(Code::BadValue, &item.span, message, "expected a first and a last time");
        return None;
    };
    let from_ms = time(from, "`within`", diagnostics)?;
    let to_ms = time(to, "`within`", diagnostics)?;
    if to_ms < from_ms {
        let message = "`within` ends before it begins".to_owned();
        diagnostics.error(Code::TimeGoesBack, &to.span, message, "time goes back here");
    }
    Some(During { from_ms, to_ms: Some(to_ms) })
}
