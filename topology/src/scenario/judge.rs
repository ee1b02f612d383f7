//! Compares what came with what was expected, and says how they differ.

use std::time::Duration;

use serde_json::Value;

use super::case::Case;
use super::expect::{During, Expect, View};
use super::pattern::Pattern;
use super::play::{Came, Played};
use super::value::{offset, shown, shown_entries};

/// What became of a test.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub file: String,
    pub name: String,
    /// `file:line:column` of the test.
    pub place: String,
    /// How much virtual time it covers.
    pub virtual_ms: u64,
    /// How long it ran.
    pub took: Duration,
    /// Empty: it passed.
    pub failures: Vec<Failure>,
}

/// One expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One sentence.
    pub what: String,
    /// `file:line:column` of the expectation, or of the test.
    pub place: String,
    /// What was expected beside what came, in the order of their times.
    pub lines: Vec<Line>,
    pub notes: Vec<String>,
}

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub mark: Mark,
    /// Since the start of the test; `None`: it did not come.
    pub at_ms: Option<u64>,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Was expected and came.
    Met,
    /// Was expected and did not come.
    Missing,
    /// Came without being expected.
    Other,
}

impl Failure {
    /// A failure that has nothing to compare.
    pub(super) fn of(what: String, place: String) -> Self {
        Self { what, place, lines: Vec::new(), notes: Vec::new() }
    }
}

/// Every expectation that was not met.
pub(super) fn judge(case: &Case, played: &Played) -> Vec<Failure> {
    let mut failures: Vec<Failure> =
        case.expects.iter().filter_map(|expect| judge_one(expect, played)).collect();
    failures.extend(unexpected_refusals(case, played));
    failures
}

/// What came where an expectation looks.
fn came<'p>(expect: &Expect, played: &'p Played) -> &'p [Came] {
    played.came.get(&expect.view).map_or(&[], Vec::as_slice)
}

fn judge_one(expect: &Expect, played: &Played) -> Option<Failure> {
    let all = came(expect, played);
    let within: Vec<&Came> = all.iter().filter(|one| expect.during.holds(one.at_ms)).collect();
    let miscounted = expect.count.as_ref().filter(|count| {
        let number = Value::from(within.len());
        !count.differences(&number).is_empty()
    });
    let items = align(&expect.items, &within, |_| true);
    let taken_back = align(&expect.retracted, &within, |one| one.retracts);
    let what = if !items.complete {
        format!("{}: what was expected did not come", expect.on)
    } else if !taken_back.complete {
        format!("{}: what was expected was not taken back", expect.on)
    } else {
        miscount(expect, miscounted?, within.len())
    };
    let mut failure = Failure::of(what + &when(expect.during), expect.place.clone());
    let back = items.complete && !taken_back.complete;
    let (aligned, expected) =
        if back { (taken_back, &expect.retracted) } else { (items, &expect.items) };
    let scene = Scene { all, within: &within, during: expect.during, end_ms: played.end_ms, back };
    failure.notes = aligned.missing.iter().map(|index| scene.explain(&expected[*index])).collect();
    failure.notes.dedup();
    failure.lines = aligned.lines;
    Some(failure)
}

fn miscount(expect: &Expect, count: &Pattern, came: usize) -> String {
    match count {
        Pattern::Equal(none) if *none == 0 => {
            format!("{}: {came} came, and nothing was expected", expect.on)
        }
        count => format!("{}: {came} came, expected {}", expect.on, count.shown()),
    }
}

fn when(during: During) -> String {
    match during {
        During { from_ms: 0, to_ms: None } => String::new(),
        During { from_ms, to_ms: None } => format!(", from {}", offset(from_ms)),
        During { from_ms, to_ms: Some(to) } if from_ms == to => format!(", at {}", offset(to)),
        During { from_ms, to_ms: Some(to) } => {
            format!(", from {} to {}", offset(from_ms), offset(to))
        }
    }
}

/// Expected items beside what came.
struct Aligned {
    lines: Vec<Line>,
    /// Indices of the items that did not come.
    missing: Vec<usize>,
    complete: bool,
}

/// Finds each item in its order, others in between. The first fit is as good as any: what comes after it
/// is a superset of what comes after a later one.
fn align(items: &[Pattern], came: &[&Came], counts: impl Fn(&Came) -> bool) -> Aligned {
    let (mut lines, mut missing) = (Vec::new(), Vec::new());
    let mut rest = came.iter();
    let other = |one: &&Came| Line {
        mark: Mark::Other,
        at_ms: Some(one.at_ms),
        text: relevant_first(items, &one.value),
    };
    for (index, item) in items.iter().enumerate() {
        let fits = |one: &&Came| counts(one) && item.differences(&one.value).is_empty();
        match rest.clone().position(fits) {
            Some(position) => {
                lines.extend(rest.by_ref().take(position).map(other));
                let met = rest.next().map(|one| one.at_ms);
                lines.push(Line { mark: Mark::Met, at_ms: met, text: item.shown() });
            }
            None => {
                missing.push(index);
                lines.push(Line { mark: Mark::Missing, at_ms: None, text: item.shown() });
            }
        }
    }
    lines.extend(rest.map(other));
    let complete = missing.is_empty();
    Aligned { lines, missing, complete }
}

/// The value with the fields that are spoken of in front, so that they are seen when it is cut.
fn relevant_first(items: &[Pattern], value: &Value) -> String {
    let Value::Object(entries) = value else { return shown(value) };
    let named = |(key, _): &(&String, &Value)| items.iter().any(|item| item.names(key));
    let (first, last): (Vec<_>, Vec<_>) = entries.iter().partition(named);
    shown_entries(first.into_iter().chain(last))
}

/// Where an item was looked for.
struct Scene<'a> {
    all: &'a [Came],
    within: &'a [&'a Came],
    during: During,
    end_ms: u64,
    /// It should have been taken back.
    back: bool,
}

impl Scene<'_> {
    /// Why an item did not come: out of its time or order, or how the nearest one differs.
    fn explain(&self, item: &Pattern) -> String {
        let fits = |one: &&Came| item.differences(&one.value).is_empty();
        if let Some(one) = self.within.iter().copied().find(fits) {
            let why = match self.back && !one.retracts {
                true => "but it takes nothing back",
                false => "out of its order or only once",
            };
            return format!("{} came at {}, {why}", item.shown(), offset(one.at_ms));
        }
        if let Some(one) = self.all.iter().find(fits) {
            return format!("{} came at {}, out of its time", item.shown(), offset(one.at_ms));
        }
        let nearest = self.within.iter().map(|one| (one.at_ms, item.differences(&one.value)));
        if let Some((at, differences)) = nearest.min_by_key(|(_, differences)| differences.len()) {
            return format!("nearest, at {}: {}", offset(at), differences.join("; "));
        }
        match self.all.first() {
            Some(one) => {
                let at = offset(one.at_ms);
                format!("nothing came in that time; the first thing of all came at {at}")
            }
            None if self.during.to_ms.is_none() => format!(
                "nothing came by {}, when the test ends; `until = \"..\"` lets more time pass",
                offset(self.end_ms)
            ),
            None => "nothing came there in the whole test".to_owned(),
        }
    }
}

/// A test that does not know that it was refused something shows nothing.
fn unexpected_refusals(case: &Case, played: &Played) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (view, all) in &played.came {
        let View::Outside { actor, .. } = view else { continue };
        let is_expected = |one: &Came| {
            let looks = case.expects.iter().filter(|expect| expect.view == *view);
            looks
                .flat_map(|expect| &expect.items)
                .any(|item| item.differences(&one.value).is_empty())
        };
        for one in all.iter().filter(|one| one.refusal && !is_expected(one)) {
            let who = if actor.is_empty() { "a call".to_owned() } else { format!("`{actor}`") };
            let what = format!("{who} was refused, and no expectation says so");
            let mut failure = Failure::of(what, case.place.clone());
            let (at_ms, text) = (Some(one.at_ms), shown(&one.value));
            failure.lines.push(Line { mark: Mark::Other, at_ms, text });
            failures.push(failure);
        }
    }
    failures
}
