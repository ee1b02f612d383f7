//! How things look: one line a message, colours only on a terminal.
//!
//! What others wrote is never let through raw: a control character could move the cursor or worse.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use imflow_proto::wire::{ConversationInfo, ConversationType, MemberCursor};

/// A line to print.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Message(String),
    Note(String),
}

/// Where lines go, and whether they are coloured.
#[derive(Default)]
pub(super) struct Screen {
    terminal: bool,
    coloured: bool,
    /// Keyboard and screen are one terminal: a typed line stands there already.
    echoes: bool,
}

/// One message, as far as it is shown.
pub(super) struct Shown<'a> {
    pub(super) seq: u64,
    pub(super) sender: &'a str,
    pub(super) text: &'a str,
    /// Named when it is not the current conversation.
    pub(super) elsewhere: Option<&'a str>,
}

impl Screen {
    pub(super) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            terminal,
            coloured: terminal && std::env::var_os("NO_COLOR").is_none(),
            echoes: terminal && io::stdin().is_terminal(),
        }
    }

    /// Prints lines. Into a pipe go messages only; remarks take the way of errors then.
    pub(super) fn print(&self, lines: &[Line]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for line in lines {
            match line {
                Line::Message(text) => writeln!(stdout, "{text}")?,
                Line::Note(text) if self.terminal => writeln!(stdout, "{text}")?,
                Line::Note(text) => writeln!(io::stderr(), "{text}")?,
            }
        }
        stdout.flush()
    }

    /// Removes the line that was just typed: it comes back with its seq once it is confirmed.
    pub(super) fn erase_typed(&self) -> io::Result<()> {
        if self.echoes {
            let mut stdout = io::stdout().lock();
            write!(stdout, "\x1b[1A\x1b[2K")?;
            stdout.flush()?;
        }
        Ok(())
    }

    /// `12 alice  hi`
    pub(super) fn message(&self, shown: &Shown<'_>) -> Line {
        let mut line = String::new();
        if let Some(conversation) = shown.elsewhere {
            let _ = write!(line, "[{}] ", visible(conversation));
        }
        let sender = visible(shown.sender);
        let text = visible(shown.text);
        if self.coloured {
            let _ = write!(
                line,
                "\x1b[2m{}\x1b[0m \x1b[1;3{}m{sender}\x1b[0m  {text}",
                shown.seq,
                colour(&sender)
            );
        } else {
            let _ = write!(line, "{} {sender}  {text}", shown.seq);
        }
        Line::Message(line)
    }

    /// A remark of the client itself, or of the server.
    pub(super) fn note(&self, text: &str) -> Line {
        let text = visible(text);
        Line::Note(if self.coloured {
            format!("\x1b[2m· {text}\x1b[0m")
        } else {
            format!("· {text}")
        })
    }
}

/// `bob  read 12, has 14`
pub(super) fn seen(cursor: &MemberCursor) -> String {
    format!("{}  read {}, has {}", cursor.user_id, cursor.read, cursor.delivered)
}

/// `lobby  GROUP  3 members  last 12  2 unread`
pub(super) fn conversation(info: &ConversationInfo) -> String {
    let kind = match info.r#type() {
        ConversationType::Unspecified => "?",
        kind => kind.as_str_name(),
    };
    let mut line = format!(
        "{}  {kind}  {} members  last {}",
        info.conversation_id, info.member_count, info.last_seq
    );
    if info.unread > 0 {
        let _ = write!(line, "  {} unread", info.unread);
    }
    if !info.name.is_empty() {
        let _ = write!(line, "  {}", info.name);
    }
    line
}

/// The same sender always has the same of six readable colours.
fn colour(sender: &str) -> u32 {
    sender.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 6 + 1
}

fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, character| {
        match character {
            '\n' => line.push('⏎'),
            '\t' => line.push(' '),
            // Direction overrides could make a line read as another one.
            control
                if control.is_control()
                    || matches!(control, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                line.extend(control.escape_unicode());
            }
            plain => line.push(plain),
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        let screen = Screen::default();
        let shown =
            Shown { seq: 12, sender: "alice", text: "a\x1b[2Jb\nc 你好", elsewhere: None };
        assert_eq!(screen.message(&shown), Line::Message("12 alice  a\\u{1b}[2Jb⏎c 你好".into()));
        let shown = Shown { elsewhere: Some("ops"), text: "", ..shown };
        assert_eq!(screen.message(&shown), Line::Message("[ops] 12 alice  ".into()));
    }
}
