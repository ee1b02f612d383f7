//! Verdicts for continuous integration, in the XML form of JUnit.

use std::fmt::Write as _;

use super::judge::Verdict;
use super::report::report;

/// One document with a suite for each file.
pub fn junit(verdicts: &[Verdict]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(text, "<testsuites {}>", counts(verdicts));
    for suite in verdicts.chunk_by(|a, b| a.file == b.file) {
        let _ =
            writeln!(text, "  <testsuite name=\"{}\" {}>", escape(&suite[0].file), counts(suite));
        suite.iter().for_each(|verdict| test_case(verdict, &mut text));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn counts(verdicts: &[Verdict]) -> String {
    let failed = verdicts.iter().filter(|verdict| !verdict.failures.is_empty()).count();
    let seconds: f64 = verdicts.iter().map(|verdict| verdict.took.as_secs_f64()).sum();
    format!("tests=\"{}\" failures=\"{failed}\" errors=\"0\" time=\"{seconds:.6}\"", verdicts.len())
}

fn test_case(verdict: &Verdict, text: &mut String) {
    let (name, file) = (escape(&verdict.name), escape(&verdict.file));
    let seconds = verdict.took.as_secs_f64();
    let open = format!("    <testcase name=\"{name}\" classname=\"{file}\" time=\"{seconds:.6}\"");
    let Some(first) = verdict.failures.first() else {
        let _ = writeln!(text, "{open}/>");
        return;
    };
    let _ = writeln!(text, "{open}>");
    let _ = write!(text, "      <failure message=\"{}\">", escape(&first.what));
    text.push_str(&escape(&report(verdict, false)));
    text.push_str("</failure>\n    </testcase>\n");
}

/// Text for an attribute or an element; control characters, which XML cannot hold, are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control() || *c == '\n') {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
