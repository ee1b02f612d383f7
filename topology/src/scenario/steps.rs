//! What a test does, and when: acts at simulated nodes, and records into ports.

use imflow_kind::construct::{Making, Unfit, construct};
use imflow_kind::{Act, Action, ActionValue, Outside, Shape};
use imflow_proto::record::Scalar;

use super::ground::{Ground, Side};
use super::table::{Table, list, text, time, wrong_type};
use super::value::{json, report_unfit, scalar};
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, did_you_mean, quoted};
use crate::document::{Item, Key, Tree};
use crate::resolve::NodeId;

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    /// Since the start of the test.
    pub(super) at_ms: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Act { node: NodeId, act: Act },
    Inject { port: (NodeId, usize), records: Vec<Fields> },
}

/// A record as the file writes it.
pub(super) type Fields = Vec<(String, Scalar)>;

/// Reads the steps of a test, whose times never go back.
pub(super) fn read(item: &Item, ground: &Ground<'_>, diagnostics: &mut Diagnostics) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut now = 0;
    for item in list(item, "`steps`", diagnostics).unwrap_or_default() {
        let Some(mut table) = Table::of("a step", item, diagnostics) else { continue };
        let at = table.get("at");
        if let Some(at_ms) = at.and_then(|at| time(at, "`at`", diagnostics)) {
            if at_ms < now {
                let place = at.map_or(&item.span, |at| &at.span);
                let message = "this step is earlier than the one before it".to_owned();
                diagnostics
                    .error(Code::TimeGoesBack, place, message, "time goes back here")
                    .help("put the steps into the order of their times");
            }
            now = now.max(at_ms);
        }
        let into = table.required("into", "\"NODE\"", diagnostics);
        let into = into.and_then(|into| Some((text(into, "`into`", diagnostics)?, into)));
        let what =
            into.and_then(|(name, into)| read_what(&mut table, name, into, ground, diagnostics));
        if let Some(what) = what {
            table.refuse_others(diagnostics);
            steps.push(Step { at_ms: now, what });
        }
    }
    steps
}

/// A node with a world around it is acted at, unless there are records for one of its ports.
fn read_what<'a>(
    table: &mut Table<'a>,
    name: &str,
    into: &Item,
    ground: &Ground<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<What> {
    let records = table.get("records");
    let node = ground.plan.nodes.iter().position(|node| node.name == name);
    if let Some((node, outside)) = node.and_then(|node| Some((node, ground.outside(node)?)))
        && records.is_none()
    {
        return read_act(table, name, &**outside, diagnostics).map(|act| What::Act { node, act });
    }
    let port = ground.port(name, Side::Inputs, &into.span, diagnostics)?;
    let Some(records) = records else {
        table.report_missing("records", "[{ .. }]", diagnostics);
        table.refuse_others(diagnostics);
        return None;
    };
    let shape = ground.plan.input_shape(port);
    let Some(shape) = shape else {
        let message = format!("nothing says what `{name}` takes: it has no input");
        diagnostics.error(Code::UnknownPort, &into.span, message, "no record type");
        return None;
    };
    let records = list(records, "`records`", diagnostics)?;
    let records = records.iter().filter_map(|item| read_record(item, &shape, diagnostics));
    Some(What::Inject { port, records: records.collect() })
}

fn read_act(
    table: &mut Table<'_>,
    node: &str,
    outside: &dyn Outside,
    diagnostics: &mut Diagnostics,
) -> Option<Act> {
    let script = outside.script();
    let actor = match script.actor {
        None => String::new(),
        Some(form) => read_actor(table, &form, diagnostics)?,
    };
    let found: Vec<(&Action, (&Key, &Item))> =
        script.actions.iter().filter_map(|a| Some((a, table.entry(a.name)?))).collect();
    let [(action, (_, value))] = &found[..] else {
        report_actions(&found, node, script.actions, table, diagnostics);
        return None;
    };
    check_value(action, value, diagnostics)?;
    let body = if action.body { table.get("body") } else { None };
    let payload = body.unwrap_or(value);
    let act = Act {
        actor,
        action: action.name,
        value: json(value, diagnostics).to_string(),
        body: body.map(|body| json(body, diagnostics).to_string()),
    };
    if let Err(sentence) = outside.check(&act) {
        // A path is wrong before its body is.
        let place = if action.value == ActionValue::Text { value } else { payload };
        report_unfit(place, &sentence, diagnostics);
        return None;
    }
    Some(act)
}

/// A step that does nothing, or more than one thing.
fn report_actions(
    found: &[(&Action, (&Key, &Item))],
    node: &str,
    actions: &[Action],
    table: &Table<'_>,
    diagnostics: &mut Diagnostics,
) {
    match found {
        [(first, _), (_, (key, _)), ..] => {
            let label = format!("`{}` is done already", first.name);
            let message = "a step does one thing".to_owned();
            diagnostics.error(Code::BadValue, &key.span, message, label).help("make it two steps");
        }
        _ => {
            let known = quoted(actions.iter().map(|action| action.name));
            let message = format!("this step does nothing at `{node}`");
            diagnostics.error(
                Code::MissingKey,
                table.span,
                message,
                format!("expected one of {known}"),
            );
            table.refuse_others(diagnostics);
        }
    }
}

fn check_value(action: &Action, value: &Item, diagnostics: &mut Diagnostics) -> Option<()> {
    let (fits, expected) = match (action.value, &value.value) {
        (ActionValue::Text, found) => (matches!(found, Tree::Text(_)), "a text"),
        (ActionValue::Table, found) => (matches!(found, Tree::Table(_)), "a table"),
        (ActionValue::Flag, found) => (matches!(found, Tree::Bool(true)), "true"),
    };
    if !fits {
        let what = format!("`{}`", action.name);
        wrong_type(&value.span, &what, expected, &value.value, diagnostics);
    }
    fits.then_some(())
}

/// Who acts or sees.
pub(super) fn read_actor(
    table: &mut Table<'_>,
    form: &imflow_kind::Actor,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let item = table.required("as", &format!("\"{}\"", form.form), diagnostics)?;
    let actor = text(item, "`as`", diagnostics)?;
    if !(form.is_valid)(actor) {
        let message = format!("`{actor}` is not {}", form.form);
        diagnostics.error(Code::BadValue, &item.span, message, format!("expected {}", form.form));
        return None;
    }
    Some(actor.to_owned())
}

fn read_record(item: &Item, shape: &Shape, diagnostics: &mut Diagnostics) -> Option<Fields> {
    let Tree::Table(entries) = &item.value else {
        wrong_type(&item.span, "a record", "a table", &item.value, diagnostics);
        return None;
    };
    let before = diagnostics.list().len();
    let mut fields = Fields::new();
    for (key, item) in entries {
        match scalar(item) {
            Some(value) => fields.push((key.name.clone(), value)),
            None => {
                let what = format!("the field `{}`", key.name);
                wrong_type(&item.span, &what, "a single value", &item.value, diagnostics);
            }
        }
    }
    if let Err(unfit) = construct(shape, &fields, Making { now_ms: 0, number: 1 }) {
        for (name, why) in unfit {
            let entry = entries.iter().find(|(key, _)| key.name == name);
            if let Some((key, item)) = entry {
                report_field(key, item, &why, shape, diagnostics);
            }
        }
    }
    (diagnostics.list().len() == before).then_some(fields)
}

fn report_field(key: &Key, item: &Item, why: &Unfit, shape: &Shape, diagnostics: &mut Diagnostics) {
    let record = shape.record_type();
    match why {
        Unfit::Unknown(known) => {
            let known = || known.iter().map(String::as_str);
            let help = did_you_mean(&key.name, known())
                .unwrap_or_else(|| format!("what can be set: {}", quoted(known())));
            let message = format!("a {record:?} has no field `{}` that can be set", key.name);
            diagnostics.error(Code::UnknownField, &key.span, message, "no such field").help(help);
        }
        Unfit::Type(kind) => {
            let what = format!("the field `{}` of a {record:?}", key.name);
            wrong_type(&item.span, &what, &format!("of type {kind}"), &item.value, diagnostics);
        }
        Unfit::Value(sentence) => {
            let message = format!("the field `{}` of a {record:?}: {sentence}", key.name);
            diagnostics.error(Code::BadValue, &item.span, message, "this value");
        }
    }
}
