//! Verdicts for people: one line a test, and below a failed one what differs.

use std::fmt::Write as _;

use super::judge::{Failure, Line, Mark, Verdict};
use super::value::offset;

/// Lines of one kind after which the rest is only counted.
const MOST_LINES: usize = 12;
/// Longest text of a line.
const MOST_CHARS: usize = 120;

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// One test, coloured for a terminal or plain.
pub fn report(verdict: &Verdict, colour: bool) -> String {
    let paint = Paint(colour);
    let (word, style) = if verdict.failures.is_empty() { ("ok  ", GREEN) } else { ("FAIL", RED) };
    let times =
        format!("{} in {:.1} ms", offset(verdict.virtual_ms), verdict.took.as_secs_f64() * 1_000.0);
    let mut text = format!("{}  {}", paint.with(style, word), verdict.name);
    let _ = writeln!(text, "  {}", paint.with(DIM, &times));
    for failure in &verdict.failures {
        describe(failure, &paint, &mut text);
    }
    if !verdict.failures.is_empty() {
        text.push('\n');
    }
    text
}

/// The last line: how many passed.
pub fn summary(verdicts: &[Verdict], colour: bool) -> String {
    let failed = verdicts.iter().filter(|verdict| !verdict.failures.is_empty()).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let all = verdicts.len();
    let (text, style) = match failed {
        0 => (format!("{all} test{} passed", plural(all)), GREEN),
        failed => (format!("{failed} of {all} test{} failed", plural(all)), RED),
    };
    Paint(colour).with(style, &text)
}

fn describe(failure: &Failure, paint: &Paint, text: &mut String) {
    let _ = writeln!(text, "\n    {}", paint.with(BOLD, &failure.what));
    let _ = writeln!(text, "    {}", paint.with(DIM, &format!("--> {}", failure.place)));
    let mut others = 0;
    for line in &failure.lines {
        others += usize::from(line.mark == Mark::Other);
        if line.mark != Mark::Other || others <= MOST_LINES {
            let _ = writeln!(text, "      {}", line_of(line, paint));
        }
    }
    if others > MOST_LINES {
        let _ = writeln!(text, "      +          {} more came", others - MOST_LINES);
    }
    for note in &failure.notes {
        let _ = writeln!(text, "    note: {note}");
    }
}

fn line_of(line: &Line, paint: &Paint) -> String {
    let at = line.at_ms.map(offset).unwrap_or_default();
    let (mark, style) = match line.mark {
        Mark::Met => ('=', GREEN),
        Mark::Missing => ('-', RED),
        Mark::Other => ('+', DIM),
    };
    let mut text: String = line.text.chars().take(MOST_CHARS).collect();
    if text.len() < line.text.len() {
        text += " ..";
    }
    paint.with(style, &format!("{mark} {at:>7}  {text}"))
}

/// Colours, or none.
struct Paint(bool);

impl Paint {
    fn with(&self, style: &str, text: &str) -> String {
        if self.0 { format!("{style}{text}{PLAIN}") } else { text.to_owned() }
    }
}
