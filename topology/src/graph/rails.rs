//! Wires as rails beside a list: each output port is one vertical line that joins the rows of its readers.
//!
//! ```text
//! row 0  ├─╮      where a rail begins
//! row 1  │◄┤      a reader on the way
//! row 2  ├─│─╮    the rail passes over the line of another
//! row 3  │◄╯ │
//! ```

/// One rail, from the row of its output port to the rows that read it.
pub(super) struct Rail {
    pub source: usize,
    /// Row, and whether the wire is dotted.
    pub targets: Vec<(usize, bool)>,
}

impl Rail {
    fn top(&self) -> usize {
        self.rows().min().unwrap_or(self.source)
    }

    fn bottom(&self) -> usize {
        self.rows().max().unwrap_or(self.source)
    }

    fn rows(&self) -> impl Iterator<Item = usize> {
        self.targets.iter().map(|(row, _)| *row).chain([self.source])
    }

    /// Whether the rail joins a row, and if so whether by a dotted line.
    fn joins(&self, row: usize) -> Option<bool> {
        if row == self.source {
            return Some(self.targets.iter().all(|(_, dotted)| *dotted));
        }
        let mut wires = self.targets.iter().filter(|(target, _)| *target == row).peekable();
        wires.peek()?;
        Some(wires.all(|(_, dotted)| *dotted))
    }

    /// How the rail runs between a row and the next one: not at all, dotted or solid.
    fn between(&self, row: usize) -> Option<bool> {
        let over = |target: usize| self.source.min(target) <= row && row < self.source.max(target);
        let mut wires = self.targets.iter().filter(|(target, _)| over(*target)).peekable();
        wires.peek()?;
        Some(wires.all(|(_, dotted)| *dotted))
    }
}

/// The column of each rail; short rails stand next to the list, so that few lines cross.
pub(super) fn columns(rails: &[Rail]) -> Vec<usize> {
    let mut by_length: Vec<usize> = (0..rails.len()).collect();
    by_length.sort_by_key(|rail| rails[*rail].bottom() - rails[*rail].top());
    let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut columns = vec![0; rails.len()];
    for rail in by_length {
        let (top, bottom) = (rails[rail].top(), rails[rail].bottom());
        let free =
            |column: &Vec<(usize, usize)>| column.iter().all(|(t, b)| bottom < *t || *b < top);
        let column = taken.iter().position(free).unwrap_or_else(|| {
            taken.push(Vec::new());
            taken.len() - 1
        });
        taken[column].push((top, bottom));
        columns[rail] = column;
    }
    columns
}

/// One character of the drawing, and the rail that it belongs to.
pub(super) type Cell = (char, Option<usize>);

/// What stands right of the list in one row: two characters for each column of rails.
pub(super) fn row(rails: &[Rail], columns: &[usize], row: usize) -> Vec<Cell> {
    let width = columns.iter().map(|column| column + 1).max().unwrap_or(0);
    let mut at = vec![None; width];
    for (rail, column) in columns.iter().enumerate() {
        if rails[rail].top() <= row && row <= rails[rail].bottom() {
            at[*column] = Some(rail);
        }
    }
    // The line of this row reaches to the last rail that joins it.
    let last =
        at.iter().rposition(|rail| rail.is_some_and(|rail| rails[rail].joins(row).is_some()));
    let mut cells = Vec::with_capacity(2 * width);
    for (column, rail) in at.iter().enumerate() {
        let line = last.filter(|last| column <= *last).map(|_| line_into(rails, &at, column, row));
        cells.push(line.unwrap_or((' ', None)));
        let Some(rail) = *rail else {
            let goes_on = last.filter(|last| column < *last);
            cells.push(goes_on.map_or((' ', None), |_| line_into(rails, &at, column, row)));
            continue;
        };
        cells.push((
            junction(&rails[rail], row, last.is_some_and(|last| column < last)),
            Some(rail),
        ));
    }
    cells
}

/// The piece of a row's line left of a column: it belongs to the nearest rail on the right that joins the row.
fn line_into(rails: &[Rail], at: &[Option<usize>], column: usize, row: usize) -> Cell {
    let joined = at[column..].iter().flatten().find_map(|rail| {
        let dotted = rails[*rail].joins(row)?;
        Some((*rail, dotted))
    });
    match joined {
        Some((rail, true)) => ('┄', Some(rail)),
        Some((rail, false)) => ('─', Some(rail)),
        None => (' ', None),
    }
}

/// Where a rail meets a row. A rail that passes covers the row's line.
fn junction(rail: &Rail, row: usize, goes_right: bool) -> char {
    let above = row.checked_sub(1).and_then(|row| rail.between(row));
    let below = rail.between(row);
    match (rail.joins(row), above, below) {
        (None, Some(true), _) => '┊',
        (None, ..) => '│',
        (Some(_), Some(_), Some(_)) if goes_right => '┼',
        (Some(_), Some(_), Some(_)) => '┤',
        (Some(_), Some(_), None) if goes_right => '┴',
        (Some(_), Some(_), None) => '╯',
        (Some(_), None, Some(_)) if goes_right => '┬',
        (Some(_), None, Some(_)) => '╮',
        (Some(_), None, None) => '─',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rails: &[Rail], rows: usize) -> Vec<String> {
        let columns = columns(rails);
        let text = |index| row(rails, &columns, index).iter().map(|(c, _)| c).collect::<String>();
        (0..rows).map(|index| text(index).trim_end().to_owned()).collect()
    }

    #[test]
    fn rails_join_their_rows_and_pass_over_others() {
        let long = Rail { source: 0, targets: vec![(1, false), (4, false)] };
        let short = Rail { source: 2, targets: vec![(3, false)] };
        assert_eq!(drawn(&[long, short], 5), ["───╮", "───┤", "─╮ │", "─╯ │", "───╯"]);
    }

    #[test]
    fn a_row_that_reads_two_rails_joins_both_and_a_passing_rail_covers_its_line() {
        let first = Rail { source: 0, targets: vec![(2, false)] };
        let second = Rail { source: 1, targets: vec![(2, true)] };
        assert_eq!(drawn(&[first, second], 3), ["───╮", "┄╮ │", "┄┴─╯"]);
        let passing = Rail { source: 1, targets: vec![(3, false)] };
        let reader = Rail { source: 0, targets: vec![(2, false), (9, false)] };
        assert_eq!(drawn(&[passing, reader], 4), ["───╮", "─╮ │", "─│─┤", "─╯ │"]);
    }

    #[test]
    fn only_the_part_that_comes_back_is_dotted() {
        let both = Rail { source: 2, targets: vec![(0, true), (4, false)] };
        assert_eq!(drawn(&[both], 5), ["┄╮", " ┊", "─┤", " │", "─╯"]);
    }
}
