//! What a line becomes: a message, or something done to one; and how either reads.

use std::fmt::Write as _;

use imflow_proto::wire::{Action, Edit, Message, MessageType, React, Revoke, Send, envelope::Body};

/// What was typed, without the conversation and the id that it is sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Say { text: String, reply_to: u64 },
    Revoke(u64),
    Edit(u64, String),
    React(u64, String),
}

impl Entry {
    /// The command.
    pub(super) fn command(&self, conversation_id: String, client_msg_id: String) -> Body {
        match self.clone() {
            Self::Say { text, reply_to } => Body::Send(Send {
                conversation_id,
                client_msg_id,
                r#type: MessageType::Text.into(),
                text,
                reply_to,
                ..Send::default()
            }),
            Self::Revoke(seq) => Body::Revoke(Revoke { conversation_id, client_msg_id, seq }),
            Self::Edit(seq, text) => {
                Body::Edit(Edit { conversation_id, client_msg_id, seq, text, ..Edit::default() })
            }
            Self::React(seq, emoji) => {
                Body::React(React { conversation_id, client_msg_id, seq, emoji, remove: false })
            }
        }
    }

    /// The message that it is once it has a place.
    pub(super) fn message(self, conversation_id: String, sender: &str, seq: u64) -> Message {
        let action = |target_seq| Some(Action { target_seq, ..Action::default() }.into());
        let (kind, text, reply_to, action) = match self {
            Self::Say { text, reply_to } => (MessageType::Text, text, reply_to, None),
            Self::Revoke(target) => (MessageType::Revoke, String::new(), 0, action(target)),
            Self::Edit(target, text) => (MessageType::Edit, text, 0, action(target)),
            Self::React(target_seq, emoji) => {
                let action = Action { target_seq, emoji, ..Action::default() };
                (MessageType::React, String::new(), 0, Some(action.into()))
            }
        };
        Message {
            conversation_id,
            seq,
            sender_id: sender.to_owned(),
            r#type: kind.into(),
            text,
            reply_to,
            action,
            ..Message::default()
        }
    }
}

/// What a message says, on one line.
pub(super) fn said(message: &Message) -> String {
    let text = if message.is_revoked() { "(revoked)" } else { &message.text };
    if let Some(action) = &message.action {
        let Action { target_seq, emoji, remove, .. } = &**action;
        return match (message.r#type(), remove) {
            (MessageType::Revoke, _) => format!("revoked {target_seq}"),
            (MessageType::Edit, _) => format!("edited {target_seq}: {text}"),
            (_, false) => format!("{emoji} to {target_seq}"),
            (_, true) => format!("took {emoji} from {target_seq}"),
        };
    }
    let mut line = String::new();
    if message.reply_to != 0 {
        let _ = write!(line, "(to {}) ", message.reply_to);
    }
    if let Some(origin) = &message.forward_of {
        let _ = write!(line, "(from {}) ", origin.sender_id);
    }
    match message.r#type() {
        MessageType::Text | MessageType::Unspecified => {}
        kind => drop(write!(line, "({}) ", kind.as_str_name())),
    }
    line.push_str(text);
    if let Some(amended) = &message.amended {
        if amended.edits > 0 {
            line.push_str(" (edited)");
        }
        for reaction in &amended.reactions {
            let _ = write!(line, " {}{}", reaction.emoji, reaction.count);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use imflow_proto::wire::{Amended, Reaction};

    use super::*;

    #[test]
    fn what_became_of_a_message_is_told_with_it() {
        let reply = Entry::Say { text: "hi".into(), reply_to: 3 }.message("c".into(), "bob", 4);
        assert_eq!(said(&reply), "(to 3) hi");
        let reactions = vec![Reaction { emoji: "👍".into(), count: 2, user_ids: vec![] }];
        let amended = Amended { edits: 1, reactions, ..Amended::default() };
        let edited = Message { amended: Some(amended.into()), ..reply.clone() };
        assert_eq!(said(&edited), "(to 3) hi (edited) 👍2");
        let amended = Amended { revoked_at: 1, ..Amended::default() };
        let revoked = Message { amended: Some(amended.into()), text: String::new(), ..reply };
        assert_eq!(said(&revoked), "(to 3) (revoked)");
        for (entry, expected) in [
            (Entry::Revoke(3), "revoked 3"),
            (Entry::Edit(3, "ho".into()), "edited 3: ho"),
            (Entry::React(3, "👍".into()), "👍 to 3"),
        ] {
            assert_eq!(said(&entry.message("c".into(), "bob", 5)), expected);
        }
    }
}
