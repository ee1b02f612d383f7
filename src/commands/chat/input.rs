//! What a typed line means.

use super::entry::Entry;

/// One line from the keyboard or a pipe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A message for the current conversation, or something done to one of it.
    Send(Entry),
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
    /// Find messages by their words, in all conversations.
    Search(String),
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
/reply N text    answer message N
/edit N text     change your message N
/revoke N        take message N back
/react N EMOJI   react to message N
/history [N]     the last N messages again (20)
/seen            who has read how far
/search WORDS    find messages in all your conversations
/quit            leave (or Ctrl-D)
//text           a message that starts with a slash";

/// Reads a line; a message may start with a slash when it is doubled.
pub(super) fn parse(line: &str) -> Input {
    let line = line.trim_end_matches(['\r', '\n']);
    let say = |text: &str| Input::Send(Entry::Say { text: text.to_owned(), reply_to: 0 });
    let Some(command) = line.strip_prefix('/') else {
        return if line.trim().is_empty() { Input::Nothing } else { say(line) };
    };
    if command.starts_with('/') {
        return say(command);
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
        ("search", [_, ..]) => Input::Search(command["search".len()..].trim().to_owned()),
        ("search", []) => Input::Wrong("write `/search WORDS`".to_owned()),
        ("reply" | "edit" | "revoke" | "react", _) => about(command),
        ("help" | "?", _) => Input::Help,
        ("quit" | "exit", _) => Input::Quit,
        _ => Input::Wrong(format!(
            "unknown command `/{name}`; /help shows them (a message that starts with / doubles it)"
        )),
    }
}

/// What is done to a message: `reply 12 the rest is text`.
fn about(command: &str) -> Input {
    let mut parts = command.splitn(3, ' ');
    let (name, seq) = (parts.next().unwrap_or_default(), parts.next().map(str::parse));
    let rest = parts.next().unwrap_or_default().trim();
    match (name, seq, rest) {
        ("revoke", Some(Ok(seq)), "") => Input::Send(Entry::Revoke(seq)),
        ("reply", Some(Ok(reply_to)), text) if !text.is_empty() => {
            Input::Send(Entry::Say { text: text.to_owned(), reply_to })
        }
        ("edit", Some(Ok(seq)), text) if !text.is_empty() => {
            Input::Send(Entry::Edit(seq, text.to_owned()))
        }
        ("react", Some(Ok(seq)), emoji) if !emoji.is_empty() => {
            Input::Send(Entry::React(seq, emoji.to_owned()))
        }
        _ => {
            let usage = HELP.lines().find(|line| line.starts_with(&format!("/{name} ")));
            let usage = usage.unwrap_or_default().split("   ").next().unwrap_or_default();
            Input::Wrong(format!("write `{usage}`; N is the number before the message"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_unless_they_start_with_one_slash() {
        let say = |text: &str| Input::Send(Entry::Say { text: text.into(), reply_to: 0 });
        assert_eq!(parse("hi there"), say("hi there"));
        assert_eq!(parse("//etc is full"), say("/etc is full"));
        let reply = Entry::Say { text: "well,  yes".into(), reply_to: 12 };
        assert_eq!(parse("/reply 12 well,  yes"), Input::Send(reply));
        assert_eq!(parse("/revoke 3"), Input::Send(Entry::Revoke(3)));
        assert_eq!(parse("/edit 3 ho"), Input::Send(Entry::Edit(3, "ho".into())));
        assert_eq!(parse("/react 3 👍"), Input::Send(Entry::React(3, "👍".into())));
        assert_eq!(parse("/search  a \"b c\""), Input::Search("a \"b c\"".into()));
        assert_eq!(parse("  "), Input::Nothing);
        assert_eq!(parse("/switch ops"), Input::Switch("ops".into()));
        let group = Input::NewGroup { id: "ops".into(), members: vec!["a".into(), "b".into()] };
        assert_eq!(parse("/new ops a b\n"), group);
    }

    #[test]
    fn a_wrong_command_says_what_is_right() {
        for line in [
            "/switch",
            "/dm",
            "/new",
            "/history many",
            "/fly",
            "/revoke",
            "/edit 3",
            "/reply x y",
            "/search",
        ] {
            assert!(matches!(parse(line), Input::Wrong(_)), "{line}");
        }
    }
}
