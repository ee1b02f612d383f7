//! What a typed line means.

/// One line from the keyboard or a pipe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A message for the current conversation.
    Say(String),
    List,
    Switch(String),
    NewGroup {
        id: String,
        members: Vec<String>,
    },
    Direct(String),
    /// Show the last so many messages again.
    History(u64),
    /// Who has read how far.
    Seen,
    Help,
    Quit,
    /// An empty line.
    Nothing,
    /// A command that cannot be carried out, with what would be right.
    Wrong(String),
}

/// The commands, as `/help` prints them.
pub(super) const HELP: &str = "\
/list            your conversations
/switch ID       talk in another conversation
/new ID a b      make a group with these members and switch to it
/dm USER         talk with one user
/history [N]     the last N messages again (20)
/seen            who has read how far
/quit            leave (or Ctrl-D)
//text           a message that starts with a slash";

/// Reads a line; a message may start with a slash when it is doubled.
pub(super) fn parse(line: &str) -> Input {
    let line = line.trim_end_matches(['\r', '\n']);
    let Some(command) = line.strip_prefix('/') else {
        return if line.trim().is_empty() { Input::Nothing } else { Input::Say(line.to_owned()) };
    };
    if command.starts_with('/') {
        return Input::Say(command.to_owned());
    }
    let mut words = command.split_whitespace().map(str::to_owned);
    let name = words.next().unwrap_or_default();
    let arguments: Vec<String> = words.collect();
    match (name.as_str(), arguments.as_slice()) {
        ("list", []) => Input::List,
        ("switch", [id]) => Input::Switch(id.clone()),
        ("switch", _) => Input::Wrong("write `/switch ID`; /list shows the ids".to_owned()),
        ("new", [id, members @ ..]) => {
            Input::NewGroup { id: id.clone(), members: members.to_vec() }
        }
        ("new", []) => {
            Input::Wrong("write `/new ID USER USER`, for example `/new ops alice bob`".to_owned())
        }
        ("dm", [user]) => Input::Direct(user.clone()),
        ("dm", _) => Input::Wrong("write `/dm USER`".to_owned()),
        ("history", []) => Input::History(super::state::SHOWN_AT_START),
        ("history", [count]) => match count.parse() {
            Ok(count @ 1..=1000) => Input::History(count),
            _ => Input::Wrong(format!("`{count}` is not a number from 1 to 1000")),
        },
        ("seen", []) => Input::Seen,
        ("help" | "?", _) => Input::Help,
        ("quit" | "exit", _) => Input::Quit,
        _ => Input::Wrong(format!(
            "unknown command `/{name}`; /help shows them (a message that starts with / doubles it)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_unless_they_start_with_one_slash() {
        assert_eq!(parse("hi there"), Input::Say("hi there".into()));
        assert_eq!(parse("//etc is full"), Input::Say("/etc is full".into()));
        assert_eq!(parse("  "), Input::Nothing);
        assert_eq!(parse("/switch ops"), Input::Switch("ops".into()));
        let group = Input::NewGroup { id: "ops".into(), members: vec!["a".into(), "b".into()] };
        assert_eq!(parse("/new ops a b\n"), group);
    }

    #[test]
    fn a_wrong_command_says_what_is_right() {
        for line in ["/switch", "/dm", "/new", "/history many", "/fly"] {
            assert!(matches!(parse(line), Input::Wrong(_)), "{line}");
        }
    }
}
