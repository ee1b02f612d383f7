//! Moves segments whose messages are old to a folder of their own, which may be on a slower disk.
//!
//! Nothing else changes: the index points into them as before, and whoever reads finds them under their names.
//! It follows the sealed segments from the oldest on, a few after each that was moved into the tables, as
//! [`super::Retention`] does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Index;
use super::age::Age;
use crate::log::LogError;

/// Segments moved in a step: more than one, so that what was left behind is caught up with.
const STEP: usize = 2;

pub(crate) struct Cool {
    pub index: Arc<Index>,
    pub age: Age,
    /// Where to; none: they stay.
    pub folder: Option<PathBuf>,
    pub hot: Duration,
    /// The last segment that was moved.
    pub moved: u32,
}

impl Cool {
    /// Moves the oldest segments that are due, a few at most.
    pub(crate) fn step(&mut self) -> Result<(), LogError> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let index = Arc::clone(&self.index);
        let _cutting = index.cutting.lock();
        let mut left = STEP;
        while left > 0 {
            let Some(number) = self.next()? else { return Ok(()) };
            left -= usize::from(self.index.segments.move_out(number, &folder)?);
            self.moved = number;
        }
        Ok(())
    }

    /// The next segment to move.
    fn next(&mut self) -> Result<Option<u32>, LogError> {
        let (applied, _) = self.index.directory.applied()?;
        let segments = &self.index.segments;
        let numbers = segments.numbers().into_iter();
        let next = numbers.filter(|number| (self.moved + 1..=applied).contains(number)).min();
        let Some(number) = next else { return Ok(None) };
        Ok(self.age.is_past(self.hot, segments, number)?.then_some(number))
    }
}
