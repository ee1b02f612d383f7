//! What commands know of the place they write to.

use std::io::{ErrorKind, IsTerminal, Write as _};

use crate::Failure;

/// Where nobody says how wide a line may be.
const WIDTH: usize = 100;

/// The columns of the terminal, or 100 where there is none.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| usize::from(width.0).max(40))
}

/// Whether to print in colour.
pub fn colour() -> bool {
    takes_colour(&std::io::stdout())
}

/// Whether to write in colour: to a terminal, unless NO_COLOR is set (<https://no-color.org>).
pub fn takes_colour(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused
}

/// Writes to stdout. A reader that has seen enough, such as `head`, is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("the output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
