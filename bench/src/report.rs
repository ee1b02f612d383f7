//! What a benchmark found, and how it is printed.

use std::fmt;

/// The figures of one benchmark.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) title: String,
    figures: Vec<Figure>,
    /// What explains the figures: the raw loop, the CPU, the load, what an ack means.
    notes: Vec<(String, String)>,
    /// Broken promises, in words; none is the only good number.
    pub(crate) broken: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    what: String,
    found: String,
    wanted: Option<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    text: String,
    met: bool,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// A figure without a goal.
    pub(crate) fn figure(&mut self, what: &str, found: impl Into<String>) {
        self.figures.push(Figure { what: what.to_owned(), found: found.into(), wanted: None });
    }

    /// A figure with a goal.
    pub(crate) fn goal(
        &mut self,
        what: &str,
        found: impl Into<String>,
        wanted: impl Into<String>,
        met: bool,
    ) {
        let wanted = Some(Wanted { text: wanted.into(), met });
        self.figures.push(Figure { what: what.to_owned(), found: found.into(), wanted });
    }

    pub(crate) fn note(&mut self, what: &str, text: impl Into<String>) {
        self.notes.push((what.to_owned(), text.into()));
    }

    /// The rows with a goal, for the table of all benchmarks.
    pub(crate) fn rows(&self) -> Vec<[String; 4]> {
        let row = |figure: &Figure| {
            let wanted = figure.wanted.as_ref()?;
            let name =
                format!("{}: {}", self.title.split(':').next().unwrap_or_default(), figure.what);
            Some([name, figure.found.clone(), wanted.text.clone(), verdict(wanted.met).to_owned()])
        };
        self.figures.iter().filter_map(row).collect()
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for Figure { what, found, wanted } in &self.figures {
            match wanted {
                Some(wanted) => writeln!(
                    f,
                    "  {what:<34} {found}   (wanted {}: {})",
                    wanted.text,
                    verdict(wanted.met)
                )?,
                None => writeln!(f, "  {what:<34} {found}")?,
            }
        }
        for (what, text) in &self.notes {
            writeln!(f, "    {what:<32} {text}")?;
        }
        for broken in &self.broken {
            writeln!(f, "  BROKEN: {broken}")?;
        }
        Ok(())
    }
}

/// A table with columns as wide as they must be.
pub(crate) fn table(rows: &[[String; 4]]) -> String {
    let head = ["figure", "found", "wanted", ""].map(str::to_owned);
    let all: Vec<&[String; 4]> = std::iter::once(&head).chain(rows).collect();
    let width =
        |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let line = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown = [7, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(shown, ["7", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn only_figures_with_a_goal_reach_the_table() {
        let mut report = Report::new("acks: a title");
        report.figure("all", "1");
        report.goal("p99", "2 ms", "<= 10 ms", true);
        assert_eq!(report.rows(), [["acks: p99", "2 ms", "<= 10 ms", "met"].map(str::to_owned)]);
        assert!(table(&report.rows()).lines().count() == 2);
    }
}
