//! What acts on an earlier message, as the submission that goes down the message path.

use imflow_proto::wire::{Action, Edit, MessageType, React, Revoke, Send};

pub(crate) fn revoke(revoke: Revoke) -> (Send, Action) {
    let Revoke { conversation_id, client_msg_id, seq } = revoke;
    let send = entry(MessageType::Revoke, conversation_id, client_msg_id);
    (send, Action { target_seq: seq, ..Action::default() })
}

pub(crate) fn edit(edit: Edit) -> (Send, Action) {
    let Edit { conversation_id, client_msg_id, seq, text, mentions, mention_all } = edit;
    let send = entry(MessageType::Edit, conversation_id, client_msg_id);
    (Send { text, mentions, mention_all, ..send }, Action { target_seq: seq, ..Action::default() })
}

pub(crate) fn react(react: React) -> (Send, Action) {
    let React { conversation_id, client_msg_id, seq, emoji, remove } = react;
    let send = entry(MessageType::React, conversation_id, client_msg_id);
    (send, Action { target_seq: seq, emoji, remove, ..Action::default() })
}

fn entry(kind: MessageType, conversation_id: String, client_msg_id: String) -> Send {
    Send { conversation_id, client_msg_id, r#type: kind.into(), ..Send::default() }
}
