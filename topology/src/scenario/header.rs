//! What stands above the tests: the topology, its changes, and the time at which every test starts.

use super::table::{Table, list, text};
use crate::codes::Code;
use crate::diagnostic::{Diagnostics, Span};
use crate::document::{Document, Item, Tree};

/// 2026-01-01T00:00:00Z.
const DEFAULT_START_MS: u64 = 1_767_225_600_000;

/// The head of a test file, and its tests unread.
pub(super) struct Header<'a> {
    /// With its place.
    pub(super) topology: Option<(&'a str, &'a Span)>,
    pub(super) overrides: Vec<String>,
    pub(super) start_ms: u64,
    pub(super) tests: &'a [Item],
}

pub(super) fn read<'a>(
    document: &'a Document,
    span: &'a Span,
    diagnostics: &mut Diagnostics,
) -> Header<'a> {
    let mut table = Table::of_file("a test file", span, document);
    let topology = table.required("topology", "\"dataflow.toml\"", diagnostics);
    let topology =
        topology.and_then(|item| Some((text(item, "`topology`", diagnostics)?, &item.span)));
    // Like everything else, the number of workers does not depend on the machine.
    let mut overrides = vec!["service.workers=1".to_owned()];
    overrides
        .extend(table.get("set").map(|item| read_overrides(item, diagnostics)).unwrap_or_default());
    let start_ms = table.get("now").and_then(|item| read_instant(item, diagnostics));
    let tests = table.required("test", "{ .. }` as `[[test]]", diagnostics);
    let tests = tests.and_then(|item| list(item, "`test`", diagnostics)).unwrap_or_default();
    table.refuse_others(diagnostics);
    Header { topology, overrides, start_ms: start_ms.unwrap_or(DEFAULT_START_MS), tests }
}

/// A list of changes, each as behind `--set`.
pub(super) fn read_overrides(item: &Item, diagnostics: &mut Diagnostics) -> Vec<String> {
    let items = list(item, "`set`", diagnostics).unwrap_or_default();
    let read = |item: &Item| {
        let change = text(item, "a change", diagnostics)?;
        if !change.contains('=') {
            let message = format!("`{change}` has no `=`");
            diagnostics
                .error(Code::BadValue, &item.span, message, "expected KEY=VALUE")
                .help("as behind --set: \"operators.online.debounce=1s\"");
            return None;
        }
        Some(change.to_owned())
    };
    items.iter().filter_map(read).collect()
}

/// Milliseconds of an RFC 3339 time since the Unix epoch.
fn read_instant(item: &Item, diagnostics: &mut Diagnostics) -> Option<u64> {
    let read = match &item.value {
        Tree::Text(text) => instant_ms(text),
        _ => None,
    };
    if read.is_none() {
        diagnostics
            .error(
                Code::BadValue,
                &item.span,
                "`now` is not a time".to_owned(),
                "expected a text with a time",
            )
            .help("for example \"2026-01-01T00:00:00Z\"");
    }
    read
}

fn instant_ms(text: &str) -> Option<u64> {
    let instant: toml::value::Datetime = text.parse().ok()?;
    let (date, time) = (instant.date?, instant.time?);
    let offset_minutes = match instant.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_epoch(date.year.into(), date.month.into(), date.day.into());
    let seconds = i64::from(time.hour) * 3_600
        + i64::from(time.minute) * 60
        + i64::from(time.second.unwrap_or(0));
    let seconds = days * 86_400 + seconds - offset_minutes * 60;
    let ms = seconds * 1_000 + i64::from(time.nanosecond.unwrap_or(0) / 1_000_000);
    u64::try_from(ms).ok()
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_rfc_3339_has_them() {
        assert_eq!(instant_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(instant_ms("2026-01-01T00:00:00Z"), Some(DEFAULT_START_MS));
        assert_eq!(instant_ms("2024-02-29T12:30:00.250+02:00"), Some(1_709_202_600_250));
        for bad in ["soon", "2026-01-01", "2026-01-01T00:00:00", "1960-01-01T00:00:00Z"] {
            assert_eq!(instant_ms(bad), None, "{bad}");
        }
    }
}
